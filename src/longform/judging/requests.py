"""Judging a request alone: does it need long-form writing, and how many words would a good answer have?

LongWriter-Zero keeps only requests that need long, high-quality writing (its criteria are not published; these are
ours), and needs a length range for each. Questions are asked in Chinese if the request has a Chinese character, else in
English.

The request is fenced, so it can neither speak to the judge nor lend it an answer: a judge that repeats the request repeats
nothing that could be parsed.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from longform.endpoints.client import Endpoint
from longform.judging.answers import fence, last_values
from longform.judging.judge import AnswerShape, BaseJudge, JudgeReply
from longform.records.schemas import PromptRow
from longform.text.length_rules import Range, Rule, rule_violations
from longform.wording import Language, Wording, load_wording

CRITERIA = ("writing", "long", "complete", "safe")
"""What a request must satisfy to be kept, by the names under which a judge answers."""
ALSO = "also"
"""The name of the criterion that a user may add."""

RequestCriteria = dict[str, bool]
"""Whether each criterion holds."""

_NUMBER = r"(-?(?:0|[1-9][0-9]{0,8}))"
_RANGE = re.compile(rf'"range"\s*+:\s*+\[\s*+"?{_NUMBER}"?\s*+,\s*+"?{_NUMBER}"?\s*+,?\s*+\]')
_RANGE_SHAPE: AnswerShape[Range] = AnswerShape(
    {"range": {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2}}
)


class RequestJudge(BaseJudge):
    """Asks a model which criteria a request satisfies; it is kept if all of them hold.

    Args:
        endpoint: the judge.
        secret: the run's secret, from which the tags of the fences are derived.
        also: one more criterion, in words.
        retries: how often to ask again after an answer that cannot be parsed.

    Raises:
        BadInputError: the judge's own template cannot be read, lacks a slot, or cannot ask this question.
    """

    def __init__(self, endpoint: Endpoint, *, secret: bytes, also: str | None = None, retries: int = 1) -> None:
        super().__init__(endpoint, secret=secret, retries=retries)
        self._also = None if also is None else " ".join(also.split())
        self.criteria = CRITERIA if also is None else (*CRITERIA, ALSO)

    def meanings(self) -> dict[str, str]:
        """What each criterion means, in English."""
        return self._wording.table("needs.criteria") | ({} if self._also is None else {ALSO: self._also})

    async def judge(self, prompt: PromptRow) -> JudgeReply[RequestCriteria]:
        """Which criteria the request satisfies; the cause of an answer that cannot be parsed is `no_verdict`.

        Raises:
            BadInputError: the endpoint is misconfigured.
            StoppedError: the budget is spent.
        """
        question = ask_request_criteria(prompt, tag=self._tag(prompt.id), also=self._also, wording=self._wording)
        parse = partial(parse_request_criteria, criteria=self.criteria)
        shape: AnswerShape[RequestCriteria] = AnswerShape({name: {"type": "boolean"} for name in self.criteria})
        return await self._query(question, parse, unparsed="no_verdict", shape=shape)


@dataclass(frozen=True, slots=True)
class PredictedLength:
    """A judge's length range for one request."""

    range: Range | None
    """None: no range that obeys the rules; [0, 0]: none can be given."""
    cause: str | None = None
    """Why there is none: a cause of `EndpointError`, `no_range`, `cut_off`, `too_long` or `broken_rules`."""
    broken: tuple[Rule, ...] = ()
    """The rules that the last answer broke."""
    repetitions: int = 0
    """How often it was asked again because of a broken rule."""


class LengthJudge(BaseJudge):
    """Asks a model how long the answer to a request will be.

    The answer is checked against the rules of `text.length_rules`. One that breaks a rule is asked again with the rule
    named: the reward would otherwise teach a length that the request forbids.

    Args:
        endpoint: the judge.
        secret: the run's secret, from which the tags of the fences are derived.
        retries: how often to ask again after an answer that breaks a rule.
        unread: how often to ask again after an answer that cannot be parsed.

    Raises:
        BadInputError: the judge's own template cannot be read, lacks a slot, or cannot ask this question.
    """

    def __init__(self, endpoint: Endpoint, *, secret: bytes, retries: int = 2, unread: int = 1) -> None:
        super().__init__(endpoint, secret=secret, retries=unread)
        self._repetitions = retries

    async def predict(self, prompt: PromptRow) -> PredictedLength:
        """The range of words of a good answer.

        Raises:
            BadInputError: the endpoint is misconfigured.
            StoppedError: the budget is spent.
        """
        message = question = ask_length_range(prompt, tag=self._tag(prompt.id), wording=self._wording)
        broken: list[Rule] = []
        for repetition in range(self._repetitions + 1):
            # A sample of its own: the same wrong answer would make the same question, whose answer is on record.
            reply = await self._query(message, parse_range, unparsed="no_range", sample=repetition, shape=_RANGE_SHAPE)
            if reply.value is None:
                return PredictedLength(None, reply.cause, repetitions=repetition)
            broken = rule_violations(prompt.request, reply.value)
            if not broken:
                return PredictedLength(reply.value, repetitions=repetition)
            message = f"{question}\n\n{name_broken_rules(prompt, reply.value, broken, self._wording)}"
        return PredictedLength(None, "broken_rules", tuple(broken), self._repetitions)


def ask_request_criteria(
    prompt: PromptRow, *, tag: str, also: str | None = None, wording: Wording | None = None
) -> str:
    """The message that asks a judge which criteria a request satisfies."""
    wording = wording or load_wording()
    language = wording.language_of(prompt.request)
    meanings: Mapping[str, str] = wording.table("needs.criteria", language) | ({} if also is None else {ALSO: also})
    criteria = "\n".join(f"- {name}: {meaning}" for name, meaning in meanings.items())
    shape = "{" + ", ".join(f'"{name}": V' for name in meanings) + "}"
    task = wording.text("needs.task", language).format(criteria=criteria, shape=shape)
    return _ask_about_request(prompt, "needs", task, tag=tag, wording=wording, language=language)


def parse_request_criteria(text: str, criteria: Collection[str]) -> RequestCriteria | None:
    """The last JSON object of `text` that has true or false for exactly `criteria`, in their order; else None."""

    def boolean(value: Any) -> bool | None:
        return value if type(value) is bool else None

    return last_values(text, criteria, boolean, wrapped=False)


def ask_length_range(prompt: PromptRow, *, tag: str, wording: Wording | None = None) -> str:
    """The message that asks a judge for the range of words of a good answer."""
    wording = wording or load_wording()
    language = wording.language_of(prompt.request)
    task = wording.text("length_range.task", language)
    return _ask_about_request(prompt, "length_range", task, tag=tag, wording=wording, language=language)


def name_broken_rules(
    prompt: PromptRow, predicted: Range, broken: Iterable[Rule], wording: Wording | None = None
) -> str:
    """What to add to the question after an answer that broke rules."""
    wording = wording or load_wording()
    language = wording.language_of(prompt.request)
    texts = wording.table("length_range.rules", language)
    rules = ("；" if language == "zh" else "; ").join(texts[rule.name.lower()] for rule in broken)
    return wording.text("length_range.broken", language).format(low=predicted[0], high=predicted[1], rules=rules)


def parse_range(text: str) -> Range | None:
    """The last `{"range": [lo, hi]}` with two whole numbers; None if there is none."""
    matches = list(_RANGE.finditer(text))
    return (int(matches[-1][1]), int(matches[-1][2])) if matches else None


def _ask_about_request(
    prompt: PromptRow, section: str, task: str, *, tag: str, wording: Wording, language: Language
) -> str:
    role, fenced = (wording.text(f"{section}.{part}", language) for part in ("role", "fenced"))
    return "\n\n".join([role, fence("REQUEST", prompt.request, tag=tag), fenced, task])
