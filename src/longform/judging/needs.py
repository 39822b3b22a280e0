"""Does a request need long, high-quality writing? LongWriter-Zero keeps only such prompts; its criteria are not published.

These are ours: `prompt_templates.NEEDS`. A request is kept if all of them hold.
"""

import json
import re
from collections.abc import Collection
from functools import partial

from longform.endpoints.client import Endpoint
from longform.judging.asking import Asked
from longform.judging.prompt_templates import NEEDS, Wording, ask_needs
from longform.judging.questioner import Questioner
from longform.records.schemas import PromptRow

ALSO = "also"
"""The name of the criterion that a user may add."""

_OBJECT = re.compile(r"\{[^{}]*+\}")

Needs = dict[str, bool]
"""Whether each criterion holds."""


class NeedsJudge(Questioner):
    """Asks a model what a request needs.

    Args:
        endpoint: the judge.
        secret: the run's, behind the tags of the fences.
        also: one more criterion, in words.
        retries: how often to ask again after an answer that cannot be read.

    Raises:
        BadInputError: the endpoint has a template of its own, which is not used here.
    """

    def __init__(self, endpoint: Endpoint, *, secret: bytes, also: str | None = None, retries: int = 1) -> None:
        super().__init__(endpoint, secret=secret, retries=retries)
        self.criteria = dict(NEEDS)
        if also is not None:
            also = " ".join(also.split())
            self.criteria[ALSO] = Wording(also, also)

    async def judge(self, prompt: PromptRow) -> Asked[Needs]:
        """Which criteria hold of the request; causes of no answer are those of `EndpointError`, `no_verdict`, `cut_off`,
        `too_long`.

        Raises:
            BadInputError: the endpoint needs mending.
            StoppedError: the budget is spent.
        """
        question = ask_needs(prompt, self.criteria, tag=self._tag(prompt.id))
        return await self._ask(question, partial(parse_needs, criteria=self.criteria), nothing="no_verdict")


def parse_needs(text: str, criteria: Collection[str]) -> Needs | None:
    """The last JSON object of `text` that holds true or false for exactly `criteria`, in their order; else None."""
    for match in reversed(list(_OBJECT.finditer(text))):
        try:
            pairs = json.loads(match[0], object_pairs_hook=list)
        except (ValueError, RecursionError):  # the latter from thousands of nested brackets
            continue
        needs = dict(pairs)
        if (
            len(pairs) == len(needs)
            and needs.keys() == set(criteria)
            and all(type(it) is bool for it in needs.values())
        ):
            return {name: needs[name] for name in criteria}
    return None
