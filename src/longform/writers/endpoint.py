"""A writer that generates responses with the model of an endpoint."""

from typing import Any

from longform.endpoints.client import Endpoint
from longform.endpoints.errors import EndpointError
from longform.endpoints.failures import quote
from longform.endpoints.request import ChatRequest
from longform.records.schemas import PromptRow, Response
from longform.writers.think import AS_ASKED, ThinkPrompt, build_response

NEUTRAL_SAMPLING = {"top_k": -1, "min_p": 0.0}
"""Sent to servers on this machine (vLLM, SGLang, llama.cpp). Their own defaults would otherwise apply, and a comparison
with a local folder would measure the sampler. Hosted APIs refuse these parameters."""


class EndpointWriter:
    """Generates responses with an endpoint. The endpoint's name in models.yaml becomes the responses' `model`.

    Args:
        endpoint: The endpoint.
        max_tokens: Maximum response length in tokens.
        temperature: Sampling temperature.
        top_p: Nucleus sampling probability.
        think_prompt: Think prompt added to the requests.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        max_tokens: int,
        temperature: float,
        top_p: float = 1.0,
        think_prompt: ThinkPrompt = AS_ASKED,
    ) -> None:
        self.endpoint = endpoint
        self._max_tokens = max_tokens
        self._temperature = temperature
        self._top_p = top_p
        self._think_prompt = think_prompt

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that decides its responses, except for the prompt."""
        spec, think = self.endpoint.spec, self._think_prompt
        request = ChatRequest.build(
            spec, [], temperature=self._temperature, max_tokens=self._max_tokens, top_p=self._top_p
        )
        return {
            "model": spec.model,
            "system": spec.system,
            "parameters": [request.temperature, request.max_tokens, request.top_p, dict(request.extra)],
            "think": [think.thinking, think.template, think.wording.version if think.thinking != "off" else None],
        }

    async def write(self, prompt: PromptRow, *, sample: int = 0) -> Response:
        """Generate one response; `sample` numbers several responses to the same prompt.

        Raises:
            EndpointError: all attempts failed.
            BadInputError: the endpoint is misconfigured, or the prompt has no user message for the think prompt.
            StoppedError: the budget is exhausted.
        """
        messages = self._think_prompt.messages(prompt)
        too_long = await self.endpoint.check_length(messages, max_tokens=self._max_tokens)
        try:
            if too_long is not None:
                raise EndpointError("too_long", too_long, request_hash="")
            answer = await self.endpoint.chat(
                messages,
                temperature=self._temperature,
                max_tokens=self._max_tokens,
                top_p=self._top_p,
                sends_top_p=self.endpoint.spec.is_local,
                extra=NEUTRAL_SAMPLING if self.endpoint.spec.is_local else None,
                sample=sample,
            )
        except EndpointError as error:
            self.endpoint.failures.fail(error.cause, quote(error.said))
            raise
        self.endpoint.failures.succeed()
        return build_response(
            prompt,
            answer.text,
            thinking=self._think_prompt.thinking,
            model=self.endpoint.name,
            sample=sample,
            finish_reason=answer.finish_reason,
            thoughts=answer.thoughts,
            thought_tokens=answer.thought_tokens,
        )
