"""Requirement dropping: a model leaves requirements out of a request, for preference pairs without labels (WRL, arXiv
2604.27453), and a writer revises its text for the reduced request.

The idea is the paper's, the wording and the revision are ours. A reduction is accepted only if it is shorter than the
request: a model that adds, rephrases or repeats instead is asked again.
"""

import re
from typing import ClassVar

from longform.endpoints.client import Endpoint
from longform.judging.answers import fence
from longform.judging.judge import BaseJudge, JudgeReply
from longform.wording import Wording, load_wording

OPENING_TAG, CLOSING_TAG = "<reduced>", "</reduced>"
_WORD = re.compile(r"\w")


class Rewriter(BaseJudge):
    """Asks a model to leave requirements out."""

    temperature: ClassVar = 1.0
    """High, so that not every request loses the same kind of requirement."""
    max_tokens: ClassVar = 4096

    def __init__(self, endpoint: Endpoint, *, secret: bytes, retries: int = 2) -> None:
        super().__init__(endpoint, secret=secret, retries=retries)

    async def reduce(self, request: str, *, prompt_id: str) -> JudgeReply[str]:
        """`request` with requirements left out; the cause of an answer without a reduction is `no_reduction`.

        Raises:
            BadInputError: the endpoint is misconfigured.
            StoppedError: the budget is spent.
        """
        question = ask_reduction(request, tag=self._tag(prompt_id), wording=self._wording)
        return await self._query(
            question, lambda answer: parse_reduction(answer, request=request), unparsed="no_reduction"
        )


def ask_reduction(request: str, *, tag: str, wording: Wording | None = None) -> str:
    """The message that asks for a request with some of its requirements left out."""
    question = (wording or load_wording()).text("reduction.question")
    return question.format(request=fence("REQUEST", request, tag=tag), opening=OPENING_TAG, closing=CLOSING_TAG)


def ask_revision(request: str, text: str, *, tag: str, wording: Wording | None = None) -> str:
    """The message that asks for a revision of `text`, which was written for a longer request, to fit `request`."""
    question = (wording or load_wording()).text("revision.question")
    return question.format(request=fence("REQUEST", request, tag=tag), text=fence("TEXT", text, tag=tag))


def parse_reduction(answer: str, *, request: str) -> str | None:
    """The last text between `<reduced>` and `</reduced>`; None if there is none, or it is not a reduction.

    A reduction holds a word and, white space aside, is shorter than `request`. Linear time.
    """
    for part in reversed(answer.split(OPENING_TAG)[1:]):
        found, closing, _ = part.partition(CLOSING_TAG)
        if closing:
            reduced = found.strip()
            return reduced if _WORD.search(reduced) and _length(reduced) < _length(request) else None
    return None


def _length(text: str) -> int:
    return len(" ".join(text.split()))
