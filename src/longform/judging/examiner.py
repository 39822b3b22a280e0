"""Grading held-out texts: by the criteria of a prompt and, to see what these do, without them."""

from typing import NamedTuple

from longform.endpoints.client import Endpoint
from longform.judging.answers import MIN_SCORE
from longform.judging.judge import ask_all, total_cost
from longform.judging.pointwise import PointwiseJudge
from longform.records.schemas import PromptRow
from longform.wording import Wording


class Examined(NamedTuple):
    """What the examiner said of a text."""

    grade: float | None
    """None if it is missing."""
    bare_grade: float | None
    """Without the prompt's criteria; None if it is missing or not asked for."""
    cost: float | None
    """None if it is unknown."""


class TextExaminer:
    """Grades held-out texts; see `PointwiseJudge` for the arguments.

    Args:
        without_criteria: also grade without the criteria of a prompt, all at once.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        secret: bytes,
        wording: Wording | None = None,
        per_criterion: bool = False,
        without_criteria: bool = False,
    ) -> None:
        self._judge = PointwiseJudge(endpoint, secret=secret, wording=wording, per_criterion=per_criterion)
        self._bare = PointwiseJudge(endpoint, secret=secret, wording=wording) if without_criteria else None

    async def examine(self, prompt: PromptRow, answer: str, *, step: int) -> Examined:
        """The grade of an answer; an empty one gets the lowest without a call.

        Raises:
            BadInputError: the endpoint is misconfigured.
            StoppedError: the budget is spent.
        """
        if not answer:
            return Examined(float(MIN_SCORE), None if self._bare is None else float(MIN_SCORE), 0.0)
        asked = [self._judge.grade(prompt, answer, step=step)]
        if self._bare is not None:
            asked.append(self._bare.grade(prompt.model_copy(update={"criteria": None}), answer, step=step))
        results = await ask_all(asked)
        grades = [None if it.value is None else it.value.score for it in results]
        return Examined(grades[0], grades[1] if len(grades) > 1 else None, total_cost(it.cost for it in results))
