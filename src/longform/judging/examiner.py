"""Grading held-out texts: by the criteria of a prompt and, to see what these do, without them."""

from longform.endpoints.client import Endpoint
from longform.judging.answers import MIN_SCORE
from longform.judging.judge import ask_all
from longform.judging.pointwise import PointwiseJudge
from longform.records.schemas import PromptRow
from longform.wording import Wording


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

    async def examine(self, prompt: PromptRow, answer: str, *, step: int) -> tuple[float | None, float | None]:
        """The score of an answer, and its score without criteria, which is None if it is not asked for. A missing grade is
        None; an empty answer gets the lowest one without a call.

        Raises:
            BadInputError: the endpoint is misconfigured.
            StoppedError: the budget is spent.
        """
        if not answer:
            return float(MIN_SCORE), None if self._bare is None else float(MIN_SCORE)
        asked = [self._judge.grade(prompt, answer, step=step)]
        if self._bare is not None:
            asked.append(self._bare.grade(prompt.model_copy(update={"criteria": None}), answer, step=step))
        scores = [None if it.value is None else it.value.score for it in await ask_all(asked)]
        return scores[0], scores[1] if len(scores) > 1 else None
