"""One question about all items of a checklist for a text, as HelloBench asks, in our own wording.

Each item gets one of five values from 0 to 1, in one `{"scores": {...}}` with the numbers of the items as keys, which
`judging.answers` defuses inside the texts.
"""

from collections.abc import Sequence
from typing import Any

from longform.judging.answers import fence, last_values, one_line, only_object, read_number
from longform.judging.judge import AnswerShape, object_schema
from longform.wording import Wording, load_wording

CHECKLIST_VALUES = (0.0, 0.25, 0.5, 0.75, 1.0)


def ask_checklist(
    questions: Sequence[str], *, request: str, text: str, tag: str, wording: Wording | None = None
) -> str:
    """The message that asks for the answers to all questions of a checklist."""
    inner = ", ".join(f'"{name}": N' for name in _names(questions))
    return (
        (wording or load_wording())
        .text("checklist.question")
        .format(
            request=fence("REQUEST", request, tag=tag),
            text=fence("TEXT", text, tag=tag),
            checklist=fence("CHECKLIST", describe_checklist(questions), tag=tag),
            shape=f'{{"scores": {{{inner}}}}}',
        )
    )


def describe_checklist(questions: Sequence[str]) -> str:
    """The numbered questions, a line each."""
    return "\n".join(f"{number}. {one_line(question)}" for number, question in enumerate(questions, 1))


def checklist_shape(questions: Sequence[str]) -> AnswerShape[list[float]]:
    """The shape of an answer to `ask_checklist`, for a judge with structured output."""
    value = {"type": "number", "enum": list(CHECKLIST_VALUES)}
    return AnswerShape({"scores": object_schema(dict.fromkeys(_names(questions), value))})


def parse_checklist(count: int, answer: str) -> list[float] | None:
    """The values of an answer to `ask_checklist` about `count` questions, in their order.

    What counts is the last `{"scores": {...}}` with a value for every number; None without one.
    """
    found = last_values(answer, _names(range(count)), _read_value)
    return None if found is None else list(found.values())


def parse_tuned_checklist(count: int, answer: str) -> list[float] | None:
    """The values in the one `{"1": V, ...}` of a judge with its own template; None if one is missing or invalid."""
    names = _names(range(count))
    found = only_object(answer, names) or {}
    values = [value for name in names if (value := _read_value(found.get(name))) is not None]
    return values if len(values) == count else None


def _names(questions: Sequence[Any]) -> list[str]:
    return [str(number) for number in range(1, len(questions) + 1)]


def _read_value(value: Any) -> float | None:
    number = read_number(value)
    return number if number in CHECKLIST_VALUES else None
