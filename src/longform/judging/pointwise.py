"""Pointwise judging: how good is one text, by several dimensions?"""

from collections.abc import Sequence
from functools import partial
from statistics import fmean, pstdev
from typing import NamedTuple

from longform.judging.answers import MAX_SCORE, MIN_SCORE, fence, fence_prompt, one_line, parse_scores
from longform.judging.judge import BaseJudge, JudgeReply, ask_all, combine_replies
from longform.records.schemas import PromptRow
from longform.wording import Wording, load_wording

DIMENSIONS = ("relevance", "coherence", "clarity", "depth", "style", "originality")
"""What a text is scored by if its prompt has no criteria."""

_KEY_SIGNS = str.maketrans({"{": "(", "}": ")", '"': "'", "\\": "/"})


class GradeResult(NamedTuple):
    """A judge's score of one text."""

    score: float
    """Mean of the dimensions, 1 to 10."""
    dimensions: dict[str, float]


Graded = JudgeReply[GradeResult]


class PointwiseQuestion(NamedTuple):
    """A request for a grade, and the dimensions its answer must have."""

    message: str
    dimensions: tuple[str, ...]


class PointwiseJudge(BaseJudge):
    """Asks a model to score a text."""

    async def grade(self, prompt: PromptRow, text: str, *, step: int = 0, sample: int = 0) -> Graded:
        """The grade of `text`, written for `prompt`; `sample` numbers several grades of one text.

        Raises:
            BadInputError: the endpoint is misconfigured.
            StoppedError: the budget is spent.
        """
        question = ask_pointwise(prompt, text, tag=self._tag(prompt.id, step), wording=self._wording)
        parse = partial(_parse_grade, dimensions=question.dimensions)
        return await self._query(question.message, parse, unparsed="no_grade", sample=sample)


class PointwisePanel:
    """Grades a text by the mean of several grades: `samples` of each of `judges`."""

    def __init__(self, judges: Sequence[PointwiseJudge], *, samples: int = 1) -> None:
        self.judges = judges
        self.samples = samples

    async def grade(self, prompt: PromptRow, text: str, *, step: int = 0) -> Graded:
        """The panel's grade of `text`, written for `prompt`.

        Raises:
            BadInputError: an endpoint is misconfigured.
            StoppedError: the budget is spent.
        """
        grades = await ask_all(
            judge.grade(prompt, text, step=step, sample=sample)
            for judge in self.judges
            for sample in range(self.samples)
        )
        return combine_replies(grades, mean_grade)


def ask_pointwise(prompt: PromptRow, text: str, *, tag: str, wording: Wording | None = None) -> PointwiseQuestion:
    """The message that asks a judge to score one text, and the dimensions it has to score."""
    wording = wording or load_wording()
    meanings = score_dimensions(prompt, wording)
    listed = "\n".join(f"  - {name}: {meaning}" if meaning else f"  - {name}" for name, meaning in meanings.items())
    shape = ", ".join(f'"{name}": N' for name in meanings)
    task = wording.text("pointwise.task").format(
        dimensions=listed, shape=f'{{"scores": {{{shape}}}}}', lowest=MIN_SCORE, highest=MAX_SCORE
    )
    criteria = prompt.criteria if isinstance(prompt.criteria, str) else ""
    parts = [
        wording.text("pointwise.role"),
        *fence_prompt(prompt, criteria, tag=tag),
        fence("TEXT", text, tag=tag),
        task,
    ]
    return PointwiseQuestion("\n\n".join(parts), tuple(meanings))


def score_dimensions(prompt: PromptRow, wording: Wording | None = None) -> dict[str, str]:
    """Names and meanings of what a text is scored by: the prompt's criteria if these are a list, else `DIMENSIONS`.

    Names are made fit to be JSON keys: one line, without braces, quotes and backslashes.
    """
    if not prompt.criteria or isinstance(prompt.criteria, str):
        return (wording or load_wording()).table("pointwise.dimensions")
    return {
        one_line(criterion.name).translate(_KEY_SIGNS) or "quality": one_line(criterion.description)
        for criterion in prompt.criteria
    }


def mean_grade(grades: Sequence[GradeResult]) -> GradeResult:
    """The means of the scores and of each dimension."""
    dimensions = {name: fmean(grade.dimensions[name] for grade in grades) for name in grades[0].dimensions}
    return GradeResult(fmean(grade.score for grade in grades), dimensions)


def score_spread(grades: Sequence[GradeResult]) -> float | None:
    """Standard deviation of a panel's scores; None for fewer than two."""
    return pstdev(grade.score for grade in grades) if len(grades) > 1 else None


def _parse_grade(answer: str, *, dimensions: Sequence[str]) -> GradeResult | None:
    scores = parse_scores(answer, dimensions)
    return None if scores is None else GradeResult(sum(scores.values()) / len(scores), scores)
