"""Pointwise judging: how good is one text, by several dimensions?"""

from collections.abc import Mapping, Sequence
from functools import partial
from statistics import fmean, pstdev
from typing import Any, NamedTuple

from longform.endpoints.client import Endpoint
from longform.judging.answers import (
    MAX_SCORE,
    MIN_SCORE,
    criteria_text,
    fence,
    fence_prompt,
    one_line,
    only_object,
    parse_scores,
    read_number,
)
from longform.judging.criteria import CRITERION, ask_criterion, parse_criterion, parse_tuned_criterion
from longform.judging.judge import (
    AnswerShape,
    BaseJudge,
    JudgeReply,
    ask_all,
    combine_replies,
    object_schema,
    total_cost,
)
from longform.judging.judge_template import CRITERION_SLOTS, POINTWISE_SLOTS
from longform.records.errors import BadInputError
from longform.records.schemas import Criterion, PromptRow
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
    """Asks a model to score a text.

    Args:
        endpoint: the judge.
        secret: the run's secret, from which the tags of the fences are derived.
        retries: how often to ask again after an answer that cannot be parsed.
        wording: of the questions.
        per_criterion: ask about each of the prompt's criteria in a call of its own, as WritingBench's critic was tuned, and
            average the scores.

    Raises:
        BadInputError: the judge's own template cannot be read, or lacks a slot.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        secret: bytes,
        retries: int = 1,
        wording: Wording | None = None,
        per_criterion: bool = False,
    ) -> None:
        self.slots = CRITERION_SLOTS if per_criterion else POINTWISE_SLOTS
        super().__init__(endpoint, secret=secret, retries=retries, wording=wording)
        self.per_criterion = per_criterion

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that decides its grades, but for prompt and text."""
        return self.endpoint.spec.settings_of_answers | {
            "wording": self._wording.version,
            "per_criterion": self.per_criterion,
        }

    async def grade(self, prompt: PromptRow, text: str, *, step: int = 0, sample: int = 0) -> Graded:
        """The grade of `text`, written for `prompt`; `sample` numbers several grades of one text.

        Raises:
            BadInputError: the endpoint is misconfigured, or the prompt has no list of criteria to ask about one by one.
            StoppedError: the budget is spent.
        """
        if self.per_criterion:
            return await self._grade_by_criteria(prompt, text, step=step, sample=sample)
        if self._template is not None:
            criteria = criteria_text(prompt) or describe_dimensions(score_dimensions(prompt, self._wording))
            message = self._template.fill(request=prompt.request, text=text, criteria=criteria)
            return await self._query(message, _parse_tuned_grade, unparsed="no_grade", sample=sample)
        question = ask_pointwise(prompt, text, tag=self._tag(prompt.id, step), wording=self._wording)
        parse = partial(_parse_grade, dimensions=question.dimensions)
        score = {"type": "number", "minimum": MIN_SCORE, "maximum": MAX_SCORE}
        shape: AnswerShape[GradeResult] = AnswerShape(
            {"scores": object_schema(dict.fromkeys(question.dimensions, score))}
        )
        return await self._query(question.message, parse, unparsed="no_grade", sample=sample, shape=shape)

    async def _grade_by_criteria(self, prompt: PromptRow, text: str, *, step: int, sample: int) -> Graded:
        """The mean of the scores by each criterion; a missing one makes the grade missing."""
        criteria = listed_criteria(prompt)

        async def score(criterion: Criterion) -> JudgeReply[int]:
            described = f"{criterion.name}: {criterion.description}".rstrip(": ")
            if self._template is not None:
                message = self._template.fill(request=prompt.request, text=text, criteria=described)
                return await self._query(message, parse_tuned_criterion, unparsed="no_grade", sample=sample)
            tag = self._tag(prompt.id, step)
            message = ask_criterion(
                request=prompt.request, text=text, criterion=described, tag=tag, wording=self._wording
            )
            number = {"type": "integer", "minimum": MIN_SCORE, "maximum": MAX_SCORE}
            shape: AnswerShape[int] = AnswerShape({"scores": object_schema({CRITERION: number})})
            return await self._query(message, parse_criterion, unparsed="no_grade", sample=sample, shape=shape)

        replies = await ask_all(score(criterion) for criterion in criteria)
        calls = tuple(call for reply in replies for call in reply.calls)
        cost = total_cost(reply.cost for reply in replies)
        scores = {it.name: float(reply.value) for it, reply in zip(criteria, replies, strict=True) if reply.value}
        if len(scores) < len(criteria):
            cause = next(reply.cause for reply in replies if reply.value is None)
            return JudgeReply(None, cause, calls, cost)
        return JudgeReply(GradeResult(fmean(scores.values()), scores), None, calls, cost)


def listed_criteria(prompt: PromptRow) -> list[Criterion]:
    """The criteria of a prompt, to be asked about one by one.

    Raises:
        BadInputError: it has no list of criteria, or two of one name.
    """
    if not prompt.criteria or isinstance(prompt.criteria, str):
        raise BadInputError(f"prompt {prompt.id}: has no list of `criteria`, which grading by each criterion needs")
    if len({it.name for it in prompt.criteria}) < len(prompt.criteria):
        raise BadInputError(f"prompt {prompt.id}: two criteria have the same name")
    return list(prompt.criteria)


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
    language = wording.language_of(prompt.request)
    meanings = score_dimensions(prompt, wording)
    listed = describe_dimensions(meanings)
    shape = ", ".join(f'"{name}": N' for name in meanings)
    task = wording.text("pointwise.task", language).format(
        dimensions=listed, shape=f'{{"scores": {{{shape}}}}}', lowest=MIN_SCORE, highest=MAX_SCORE
    )
    criteria = prompt.criteria if isinstance(prompt.criteria, str) else ""
    parts = [
        wording.text("pointwise.role", language),
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
        wording = wording or load_wording()
        return wording.table("pointwise.dimensions", wording.language_of(prompt.request))
    return {
        one_line(criterion.name).translate(_KEY_SIGNS) or "quality": one_line(criterion.description)
        for criterion in prompt.criteria
    }


def describe_dimensions(meanings: Mapping[str, str]) -> str:
    """The dimensions with their meanings, a line each."""
    return "\n".join(f"  - {name}: {meaning}" if meaning else f"  - {name}" for name, meaning in meanings.items())


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


def _parse_tuned_grade(answer: str) -> GradeResult | None:
    """The one score in the answer of a judge with its own template."""
    found = only_object(answer, ["score"])
    score = None if found is None else read_number(found["score"])
    if score is None or not MIN_SCORE <= score <= MAX_SCORE:
        return None
    return GradeResult(score, {"score": score})
