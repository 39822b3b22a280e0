"""What pairwise, pointwise and other judges share: a model, the secret behind their fences, and how often they ask."""

from collections.abc import Callable
from typing import ClassVar, TypeVar

from longform.endpoints.client import Endpoint
from longform.judging.asking import Asked, ask
from longform.judging.fences import fence_tag
from longform.judging.judge_template import refuse_template

FoundT = TypeVar("FoundT")


class Questioner:
    """Asks a model about texts of others.

    Args:
        endpoint: the model.
        secret: the run's, behind the tags of the fences.
        retries: how often to ask again after an answer that cannot be read.

    Raises:
        BadInputError: the endpoint has a template of its own, which is not used here.
    """

    temperature: ClassVar = 0.1
    max_tokens: ClassVar = 1024
    """Longest answer."""

    def __init__(self, endpoint: Endpoint, *, secret: bytes, retries: int = 1) -> None:
        refuse_template(endpoint)
        self.endpoint = endpoint
        self._secret, self._retries = secret, retries

    def _tag(self, prompt_id: str, step: int = 0) -> str:
        """Of the fences around what belongs to a prompt."""
        return fence_tag(self._secret, prompt_id, step)

    async def _ask(
        self, message: str, parse: Callable[[str], FoundT | None], *, nothing: str, sample: int = 0
    ) -> Asked[FoundT]:
        """See `asking.ask`."""
        return await ask(
            self.endpoint,
            message,
            parse,
            nothing=nothing,
            retries=self._retries,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
            sample=sample,
        )
