"""Parsing judges' answers: strict grammars, of which the last well-formed match counts.

A judge repeats its instructions and quotes the texts before it decides, so the first match may be anyone's. An answer
without a match has no value; nothing is guessed, decoded or evaluated: `［［A］］`, `[ [A] ]` and `&#91;&#91;A&#93;&#93;`
are not verdicts, which is what lets `judging.fences` defuse a text with spaces alone. Linear time on any text.
"""

import json
import re
from collections.abc import Callable, Collection
from typing import Any, Literal, TypeVar

ScoreT = TypeVar("ScoreT")
Letter = Literal["A", "B", "C"]

MIN_SCORE = 1
MAX_SCORE = 10

_LETTERS: tuple[Letter, ...] = ("A", "B", "C")
_SCORES = re.compile(r'\{\s*+"scores"\s*+:\s*+(\{[^{}]*+\})\s*+\}')
_FLAT_OBJECT = re.compile(r"(\{[^{}]*+\})")


def parse_verdict(text: str) -> Letter | None:
    """The letter of the last `[[A]]`, `[[B]]` or `[[C]]` (tie); None if there is none."""
    places = {letter: text.rfind(f"[[{letter}]]") for letter in _LETTERS}
    last = max(_LETTERS, key=lambda letter: places[letter])
    return last if places[last] >= 0 else None


def parse_scores(text: str, dimensions: Collection[str]) -> dict[str, float] | None:
    """The last `{"scores": {"<dimension>": 1..10, ...}}` with exactly `dimensions`, in their order; else None."""

    def score(value: Any) -> float | None:
        return float(value) if is_number(value) and MIN_SCORE <= value <= MAX_SCORE else None

    return last_values(text, dimensions, score)


def last_values(
    text: str,
    names: Collection[str],
    read: Callable[[Any], ScoreT | None],
    *,
    wrapped: bool = True,
    accept: Callable[[dict[str, ScoreT]], bool] = lambda values: True,
) -> dict[str, ScoreT] | None:
    """The last JSON object in `text` that holds exactly `names`, each once, with values that `read` accepts.

    Args:
        text: a judge's answer.
        names: the keys, which give the order of the result.
        read: the value that a JSON value stands for; None refuses the object.
        wrapped: the object is inside `{"scores": ...}`; else it is any object without nested ones.
        accept: a condition on the object as a whole.
    """
    wanted = set(names)
    for match in reversed(list((_SCORES if wrapped else _FLAT_OBJECT).finditer(text))):
        try:
            pairs: list[tuple[str, Any]] = json.loads(match[1], object_pairs_hook=list)
        except (ValueError, RecursionError):  # the latter from thousands of nested brackets
            continue
        values = {name: value for name, given in pairs if (value := read(given)) is not None}
        if len(pairs) == len(values) and values.keys() == wanted and accept(values):
            return {name: values[name] for name in names}
    return None


def last_object(answer: str, names: Collection[str]) -> dict[str, Any] | None:
    """The last JSON object in `answer` that holds all of `names`, nested or not; None if there is none.

    For judges with a template of their own, which do not answer in longform's form.
    """
    decoder = json.JSONDecoder()
    start = answer.rfind("{")
    while start >= 0:
        try:
            found, _ = decoder.raw_decode(answer, start)
        except (ValueError, RecursionError):  # the latter from thousands of nested brackets
            found = None
        if isinstance(found, dict) and all(name in found for name in names):
            return found
        start = answer.rfind("{", 0, start)
    return None


def is_number(value: Any) -> bool:
    """Whether a JSON value is a number; true and false are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)
