"""Which settings of models.yaml an endpoint accepts, found by asking it one small question with each."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import count
from typing import Any, NamedTuple

from longform.endpoints.client import Endpoint
from longform.endpoints.errors import EndpointError
from longform.endpoints.failures import quote
from longform.endpoints.models import ModelSpec
from longform.judging.judge import schema_format
from longform.records.errors import BadInputError

ANSWER_TOKENS = 64
GREETING = "Say hello in one word."
_LETTERS = ("A", "B")
_FIRST_ATTEMPT = 100
"""Numbers the questions asked here, so that none is taken for the answer to a request of a run."""


class KeyChange(NamedTuple):
    """One key of models.yaml with another value."""

    key: str
    value: Any

    @property
    def text(self) -> str:
        """As it is written in models.yaml."""
        return f"`{self.key}: {json.dumps(self.value).strip(chr(34))}`"


CHANGES = (
    KeyChange("token_parameter", "max_completion_tokens"),
    KeyChange("temperature", None),
    KeyChange("top_p", None),
    KeyChange("stream", True),
)
"""What an endpoint that refuses a request may ask for, the most frequent first."""
MAX_QUESTIONS = len(CHANGES) + (len(CHANGES) - 1) + 2
"""Asked here at most: with each change, without each of them, and for what the endpoint offers besides."""


async def find_changes(
    open_endpoint: Callable[[Mapping[str, Any]], Endpoint], spec: ModelSpec
) -> Sequence[KeyChange] | None:
    """The changes to `spec` with which a small question is answered; None if none of them helps.

    They are made one after the other until there is an answer; then each is taken back that is not needed for it.

    Args:
        open_endpoint: the endpoint with other values for some keys of models.yaml.
        spec: the model's entry in models.yaml.
    """
    attempts = count(_FIRST_ATTEMPT)

    async def is_answered(changes: Sequence[KeyChange]) -> bool:
        async with open_endpoint(dict(changes)) as endpoint:
            return await _is_answered(_ask(endpoint, attempt=next(attempts)))

    made: list[KeyChange] = []
    for change in CHANGES:
        if getattr(spec, change.key) == change.value and spec.is_set(change.key):
            continue
        made.append(change)
        if await is_answered(made):
            break
    else:
        return None
    for change in made[:-1]:
        others = [it for it in made if it != change]
        if await is_answered(others):
            made = others
    return made


async def structured_output(endpoint: Endpoint) -> str:
    """Whether the endpoint constrains an answer to a JSON schema, in words."""
    try:
        text = await _ask(
            endpoint, attempt=_FIRST_ATTEMPT, response_format=schema_format({"greeting": {"type": "string"}})
        )
    except (EndpointError, BadInputError) as error:
        return f"{'unknown' if _is_passing(error) else 'refused'}: {quote(error)}"
    try:
        is_followed = list(json.loads(text)) == ["greeting"]
    except (ValueError, TypeError):
        is_followed = False
    if is_followed:
        return "json_schema is followed (`structured: json_schema` uses it)"
    return f"json_schema is accepted, but not followed: {quote(text[:60])}"


async def letter_probabilities(endpoint: Endpoint) -> str:
    """Whether the endpoint states the probabilities of a first token, in words."""
    try:
        await _ask(endpoint, attempt=_FIRST_ATTEMPT, letters=_LETTERS)
    except (EndpointError, BadInputError) as error:
        return f"{'unknown' if _is_passing(error) else 'not given'}: {quote(error)}"
    return "given (`verdict: logprobs` uses them)"


async def _ask(endpoint: Endpoint, *, attempt: int, **how: Any) -> str:
    question = "Answer with one letter, A or B." if "letters" in how else GREETING
    messages = [{"role": "user", "content": question}]
    answer = await endpoint.chat(
        messages, temperature=0.7, max_tokens=ANSWER_TOKENS, sends_top_p=True, attempt=attempt, **how
    )
    return answer.text


def _is_passing(error: Exception) -> bool:
    """Whether the failure says nothing about what was asked for, such as a time-out."""
    return isinstance(error, EndpointError) and error.cause not in ("rejected", "bad_response")


async def _is_answered(asking: Awaitable[str]) -> bool:
    try:
        await asking
    except EndpointError as error:
        return error.cause in ("cut_off", "empty")  # the parameters were accepted
    except BadInputError:
        return False
    return True
