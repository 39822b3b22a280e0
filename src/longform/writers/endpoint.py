"""A writer behind an endpoint: prompts to responses over HTTP."""

from longform.endpoints.client import Endpoint
from longform.records.schemas import PromptRow, Response
from longform.writers.think import AS_ASKED, ThinkPrompt, build_response


class EndpointWriter:
    """Writes with the model of an endpoint, whose name in models.yaml is the responses' `model`.

    Args:
        endpoint: the model.
        max_tokens: longest response.
        temperature: of the draw.
        top_p: share of the probability to draw from.
        think_prompt: how requests are put to it.
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

    async def write(self, prompt: PromptRow, *, sample: int = 0) -> Response:
        """One response; `sample` numbers several to the same prompt.

        Raises:
            EndpointError: no response after all tries.
            BadInputError: the endpoint needs mending, or the think prompt finds no user message in the prompt.
            StoppedError: the budget is spent.
        """
        answer = await self.endpoint.chat(
            self._think_prompt.messages(prompt),
            temperature=self._temperature,
            max_tokens=self._max_tokens,
            top_p=self._top_p,
            sample=sample,
        )
        return build_response(
            prompt,
            answer.text,
            thinking=self._think_prompt.thinking,
            model=self.endpoint.name,
            sample=sample,
            finish_reason=answer.finish_reason,
        )
