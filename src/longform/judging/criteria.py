"""Scoring a text by one criterion, or by six qualities, as WritingBench and LongBench-Write do, in our own wording.

Kept as published: the scales, the score bands of a criterion, the strictness, and that length is not a quality. The request
and the text come first in the question, so that all criteria of one text share a cached prefix. An answer ends in
`{"scores": ...}`, which `judging.answers` defuses inside the texts; a judge with its own template ends in a plain object.
"""

from collections.abc import Mapping
from typing import Any

from longform.judging.answers import fence, last_values, only_object, parse_scores, read_number
from longform.judging.judge import AnswerShape, object_schema
from longform.records.schemas import Criterion, PromptRow
from longform.wording import Wording, load_wording

CRITERION = "criterion"
"""Key of a criterion's score in an answer."""
MET = "satisfied"
"""Key of the answer about a hard constraint."""
CRITERION_SCALE = (1, 10)
QUALITY_SCALE = (1, 5)

QUALITIES: tuple[str, ...] = (
    "Relevance",
    "Accuracy",
    "Coherence",
    "Clarity",
    "Breadth and Depth",
    "Reading Experience",
)
"""The six dimensions of LongBench-Write, named as published."""


CRITERION_SHAPE: AnswerShape[int] = AnswerShape(
    {
        "scores": object_schema(
            {CRITERION: {"type": "integer", "minimum": CRITERION_SCALE[0], "maximum": CRITERION_SCALE[1]}}
        )
    }
)
"""For a judge with structured output."""


def describe_criterion(criterion: Criterion) -> str:
    """A criterion as a judge reads it by itself: name and description, then a line for each band of scores."""
    bands = [f"{band}: {text}" for band, text in (criterion.bands or {}).items()]
    return "\n".join([f"{criterion.name}: {criterion.description}".rstrip(": "), *bands])


def ask_criterion(*, request: str, text: str, criterion: str, tag: str, wording: Wording | None = None) -> str:
    """The message that asks for the score of a text by one criterion, whose bands are part of `criterion`."""
    return (
        (wording or load_wording())
        .text("criterion.question")
        .format(
            request=fence("REQUEST", request, tag=tag),
            text=fence("TEXT", text, tag=tag),
            criterion=fence("CRITERION", criterion, tag=tag),
            shape=f'{{"scores": {{"{CRITERION}": N}}}}',
        )
    )


def parse_criterion(answer: str) -> int | None:
    """The score of an answer to `ask_criterion`; None without a whole number from 1 to 10."""
    scores = _whole(parse_scores(answer, [CRITERION]), CRITERION_SCALE)
    return None if scores is None else scores[CRITERION]


def ask_constraint(prompt: PromptRow, text: str, constraint: str, *, tag: str, wording: Wording | None = None) -> str:
    """The message that asks whether a text satisfies a hard constraint."""
    wording = wording or load_wording()
    return wording.text("constraints.question", wording.language_of(prompt.request)).format(
        request=fence("REQUEST", prompt.request, tag=tag),
        text=fence("TEXT", text, tag=tag),
        criterion=fence("CONSTRAINT", constraint, tag=tag),
        shape=f'{{"{MET}": V}}',
    )


def parse_constraint(answer: str) -> int | None:
    """The score of an answer to `ask_constraint`: 10 for the last `{"satisfied": true}`, 1 for false; None without one."""
    low, high = CRITERION_SCALE

    def score(value: Any) -> int | None:
        return (high if value else low) if isinstance(value, bool) else None

    found = last_values(answer, (MET,), score, wrapped=False)
    return None if found is None else found[MET]


def parse_tuned_criterion(answer: str) -> int | None:
    """The score in the one `{"score": N, ...}` of a judge with its own template; None where it is not in 1 to 10."""
    found = only_object(answer, ["score"])
    scores = None if found is None else _whole({"score": found["score"]}, CRITERION_SCALE)
    return None if scores is None else scores["score"]


_QUALITY = {"type": "integer", "minimum": QUALITY_SCALE[0], "maximum": QUALITY_SCALE[1]}
QUALITIES_SHAPE: AnswerShape[dict[str, int]] = AnswerShape(
    {"scores": object_schema(dict.fromkeys(QUALITIES, _QUALITY))}
)
"""For a judge with structured output."""


def ask_qualities(*, request: str, text: str, tag: str, wording: Wording | None = None) -> str:
    """The message that asks for the six scores of a text."""
    inner = ", ".join(f'"{name}": N' for name in QUALITIES)
    wording = wording or load_wording()
    return wording.text("qualities.question").format(
        request=fence("REQUEST", request, tag=tag),
        text=fence("TEXT", text, tag=tag),
        qualities=describe_qualities(wording),
        shape=f'{{"scores": {{{inner}}}}}',
    )


def describe_qualities(wording: Wording | None = None) -> str:
    """The six dimensions with what each means, a line each."""
    meanings = (wording or load_wording()).table("qualities.meanings")
    return "\n".join(f"  - {name}: {meaning}" for name, meaning in meanings.items())


def parse_qualities(answer: str) -> dict[str, int] | None:
    """The six scores of an answer to `ask_qualities`; None unless each is a whole number from 1 to 5."""
    return _whole(parse_scores(answer, QUALITIES), QUALITY_SCALE)


def parse_tuned_qualities(answer: str) -> dict[str, int] | None:
    """The six scores of the one JSON object that names them all, from a judge with its own template; else None."""
    found = only_object(answer, QUALITIES)
    return None if found is None else _whole({name: found[name] for name in QUALITIES}, QUALITY_SCALE)


def _whole(scores: Mapping[str, Any] | None, scale: tuple[int, int]) -> dict[str, int] | None:
    """`scores` as whole numbers; None if one is not a whole number or is outside the scale."""
    if scores is None:
        return None
    numbers = {name: read_number(value) for name, value in scores.items()}
    for number in numbers.values():
        if number is None or not scale[0] <= number <= scale[1] or number != int(number):
            return None
    return {name: int(number) for name, number in numbers.items() if number is not None}
