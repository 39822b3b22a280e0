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
    last_values,
    one_line,
    only_object,
    read_number,
)
from longform.judging.criteria import (
    CRITERION,
    MET,
    ask_constraint,
    ask_criterion,
    describe_criterion,
    parse_constraint,
    parse_criterion,
    parse_tuned_criterion,
)
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
from longform.wording import Language, Wording, load_wording

DIMENSIONS = ("relevance", "coherence", "clarity", "depth", "style", "originality")
"""What a text is scored by if its prompt has no criteria to score."""
LOWEST_MET = 5
"""A hard constraint that a judge with its own template scores below this is failed: by the bands, the text is weak there."""

_KEY_SIGNS = str.maketrans({"{": "(", "}": ")", '"': "'", "\\": "/"})


class GradeResult(NamedTuple):
    """A judge's score of one text."""

    score: float
    """Mean of the dimensions by the weights of the criteria, 1 to 10; 1 if a hard constraint is failed."""
    dimensions: dict[str, float]
    """By name; a hard constraint has 10 if it is satisfied, else 1, or what a judge with its own template gave it."""
    is_vetoed: bool | None = None
    """Whether a hard constraint is failed; None if there is none."""


Graded = JudgeReply[GradeResult]


class PointwiseQuestion(NamedTuple):
    """A request for a grade, and the dimensions its answer must have."""

    message: str
    dimensions: tuple[str, ...]
    criteria: Mapping[str, Criterion] = {}
    """Those of the prompt among the dimensions, by name."""

    def is_hard(self, name: str) -> bool:
        """Whether a dimension is a hard constraint, to be answered by true or false."""
        return name in self.criteria and self.criteria[name].hard


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
            check_no_constraints(prompt, self.endpoint.name)
            criteria = criteria_text(prompt) or describe_dimensions(score_dimensions(prompt, self._wording))
            message = self._template.fill(request=prompt.request, text=text, criteria=criteria)
            return await self._query(message, _parse_tuned_grade, unparsed="no_grade", sample=sample)
        question = ask_pointwise(prompt, text, tag=self._tag(prompt.id, step), wording=self._wording)
        score = {"type": "number", "minimum": MIN_SCORE, "maximum": MAX_SCORE}
        schemas = {name: {"type": "boolean"} if question.is_hard(name) else score for name in question.dimensions}
        parse = partial(_parse_grade, question=question)
        shape: AnswerShape[GradeResult] = AnswerShape({"scores": object_schema(schemas)})
        return await self._query(question.message, parse, unparsed="no_grade", sample=sample, shape=shape)

    async def _grade_by_criteria(self, prompt: PromptRow, text: str, *, step: int, sample: int) -> Graded:
        """The weighted mean of the scores by each criterion; a missing one makes the grade missing."""
        criteria = listed_criteria(prompt)

        async def score(criterion: Criterion) -> JudgeReply[int]:
            shape: AnswerShape[int]
            described = describe_criterion(criterion)
            if self._template is not None:
                message = self._template.fill(request=prompt.request, text=text, criteria=described)
                return await self._query(message, parse_tuned_criterion, unparsed="no_grade", sample=sample)
            tag = self._tag(prompt.id, step)
            if criterion.hard:
                message = ask_constraint(prompt, text, described, tag=tag, wording=_knowing_constraints(self._wording))
                shape = AnswerShape({MET: {"type": "boolean"}})
                return await self._query(message, parse_constraint, unparsed="no_grade", sample=sample, shape=shape)
            message = ask_criterion(
                request=prompt.request, text=text, criterion=described, tag=tag, wording=self._wording
            )
            number = {"type": "integer", "minimum": MIN_SCORE, "maximum": MAX_SCORE}
            shape = AnswerShape({"scores": object_schema({CRITERION: number})})
            return await self._query(message, parse_criterion, unparsed="no_grade", sample=sample, shape=shape)

        replies = await ask_all(score(criterion) for criterion in criteria)
        calls = tuple(call for reply in replies for call in reply.calls)
        cost = total_cost(reply.cost for reply in replies)
        scores = {it.name: float(reply.value) for it, reply in zip(criteria, replies, strict=True) if reply.value}
        if len(scores) < len(criteria):
            cause = next(reply.cause for reply in replies if reply.value is None)
            return JudgeReply(None, cause, calls, cost)
        return JudgeReply(combine_scores(scores, {it.name: it for it in criteria}), None, calls, cost)


def listed_criteria(prompt: PromptRow) -> list[Criterion]:
    """The criteria of a prompt, to be asked about one by one.

    Raises:
        BadInputError: it has no list of criteria, none but hard constraints, or two of one name.
    """
    if not prompt.criteria or isinstance(prompt.criteria, str):
        raise BadInputError(f"prompt {prompt.id}: has no list of `criteria`, which grading by each criterion needs")
    if all(it.hard for it in prompt.criteria):
        raise BadInputError(f"prompt {prompt.id}: all its criteria are hard constraints; one has to be scored")
    return list(named_criteria(prompt).values())


def check_criteria(prompt: PromptRow, *, per_criterion: bool) -> None:
    """Check that a text can be scored by the criteria of a prompt, all at once or one by one.

    Raises:
        BadInputError: two criteria have the same name. With `per_criterion` also: they are not a list, or all of them are
            hard constraints.
    """
    if per_criterion:
        listed_criteria(prompt)
    else:
        named_criteria(prompt)


def check_no_constraints(prompt: PromptRow, judge: str) -> None:
    """Refuse a prompt with hard constraints for a judge whose own template asks for one score.

    Raises:
        BadInputError: it has some.
    """
    if any(it.hard for it in named_criteria(prompt).values()):
        raise BadInputError(
            f"prompt {prompt.id}: has hard constraints, which {judge} cannot check, since its own template asks for one "
            "score; use per_criterion"
        )


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
    criteria = named_criteria(prompt)
    hard = {name: meanings.pop(name) for name, it in criteria.items() if it.hard}
    shape = ", ".join([*(f'"{name}": N' for name in meanings), *(f'"{name}": V' for name in hard)])
    task = wording.text("pointwise.task", language).format(
        dimensions=describe_dimensions(meanings),
        shape=f'{{"scores": {{{shape}}}}}',
        lowest=MIN_SCORE,
        highest=MAX_SCORE,
    )
    described = prompt.criteria if isinstance(prompt.criteria, str) else ""
    parts = [
        wording.text("pointwise.role", language),
        *fence_prompt(prompt, described, tag=tag),
        fence("TEXT", text, tag=tag),
        *([_say_constraints(hard, wording, language)] if hard else []),
        task,
    ]
    return PointwiseQuestion("\n\n".join(parts), (*meanings, *hard), criteria)


def _say_constraints(hard: Mapping[str, str], wording: Wording, language: Language) -> str:
    wording = _knowing_constraints(wording)
    return wording.text("constraints.task", language).format(constraints=describe_dimensions(hard))


def _knowing_constraints(wording: Wording) -> Wording:
    """The wording, or the current one for a run that began before there were constraints."""
    return wording if wording.has("constraints") else load_wording()


def score_dimensions(prompt: PromptRow, wording: Wording | None = None) -> dict[str, str]:
    """Names and meanings of what a text is scored by: the prompt's criteria if these are a list, else `DIMENSIONS`; both if
    all criteria are hard constraints.
    """
    criteria = named_criteria(prompt)
    meanings = {name: _meaning(it) for name, it in criteria.items()}
    if all(it.hard for it in criteria.values()):
        wording = wording or load_wording()
        return wording.table("pointwise.dimensions", wording.language_of(prompt.request)) | meanings
    return meanings


def named_criteria(prompt: PromptRow) -> dict[str, Criterion]:
    """The criteria of a prompt by the names that an answer scores them under; empty unless they are a list.

    Names are made fit to be JSON keys: one line, without braces, quotes and backslashes.

    Raises:
        BadInputError: two criteria have the same name, so an answer has no place for one of them.
    """
    if not prompt.criteria or isinstance(prompt.criteria, str):
        return {}
    named = {one_line(criterion.name).translate(_KEY_SIGNS) or "quality": criterion for criterion in prompt.criteria}
    if len(named) < len(prompt.criteria):
        raise BadInputError(f"prompt {prompt.id}: two criteria have the same name")
    return named


def _meaning(criterion: Criterion) -> str:
    """A criterion's description on one line, with its bands."""
    bands = "; ".join(f"{band}: {text}" for band, text in (criterion.bands or {}).items())
    return one_line(f"{criterion.description} ({bands})" if bands else criterion.description)


def describe_dimensions(meanings: Mapping[str, str]) -> str:
    """The dimensions with their meanings, a line each."""
    return "\n".join(f"  - {name}: {meaning}" if meaning else f"  - {name}" for name, meaning in meanings.items())


def combine_scores(scores: Mapping[str, float], criteria: Mapping[str, Criterion]) -> GradeResult:
    """The grade that scores by each dimension make: their weighted mean, or the lowest if a hard constraint is failed.

    Args:
        scores: 1 to 10, by name.
        criteria: by name; dimensions that are none weigh 1.
    """
    hard = [name for name in scores if name in criteria and criteria[name].hard]
    scored = {name: score for name, score in scores.items() if name not in hard}
    is_vetoed = any(scores[name] < LOWEST_MET for name in hard)
    weights = [criteria[name].weight if name in criteria else None for name in scored]
    if is_vetoed:
        score = float(MIN_SCORE)
    elif any(weight is not None for weight in weights):
        score = fmean(scored.values(), weights=[1.0 if weight is None else weight for weight in weights])
    else:
        score = sum(scored.values()) / len(scored)
    return GradeResult(score, dict(scores), is_vetoed if hard else None)


def mean_grade(grades: Sequence[GradeResult]) -> GradeResult:
    """The means of the scores, and of each dimension over the grades that have it (judges with their own template have other
    dimensions); vetoed if most of the grades are, else of the grades that are not.
    """
    names = dict.fromkeys(name for grade in grades for name in grade.dimensions)
    dimensions = {name: fmean(grade.dimensions[name] for grade in grades if name in grade.dimensions) for name in names}
    is_vetoed = 2 * sum(bool(grade.is_vetoed) for grade in grades) > len(grades)
    score = fmean(grade.score for grade in grades if is_vetoed or not grade.is_vetoed)
    is_checked = any(grade.is_vetoed is not None for grade in grades)
    return GradeResult(float(MIN_SCORE) if is_vetoed else score, dimensions, is_vetoed if is_checked else None)


def score_spread(grades: Sequence[GradeResult]) -> float | None:
    """Standard deviation of a panel's scores; None for fewer than two."""
    return pstdev(grade.score for grade in grades) if len(grades) > 1 else None


def _parse_grade(answer: str, *, question: PointwiseQuestion) -> GradeResult | None:
    """The grade in the last `{"scores": {...}}` with a number for each dimension, and true or false for each constraint."""

    def read(value: Any) -> float | bool | None:
        if isinstance(value, bool):
            return value
        number = read_number(value)
        return number if number is not None and MIN_SCORE <= number <= MAX_SCORE else None

    def accept(values: Mapping[str, float | bool]) -> bool:
        return all(isinstance(value, bool) == question.is_hard(name) for name, value in values.items())

    found = last_values(answer, question.dimensions, read, accept=accept)
    if found is None:
        return None
    worth = {True: float(MAX_SCORE), False: float(MIN_SCORE)}
    scores = {name: worth[value] if isinstance(value, bool) else value for name, value in found.items()}
    return combine_scores(scores, question.criteria)


def _parse_tuned_grade(answer: str) -> GradeResult | None:
    """The one score in the answer of a judge with its own template."""
    found = only_object(answer, ["score"])
    score = None if found is None else read_number(found["score"])
    if score is None or not MIN_SCORE <= score <= MAX_SCORE:
        return None
    return GradeResult(score, {"score": score})
