"""What a judge's answer says: strict grammars, of which the last well-formed match counts.

A judge repeats its instructions and quotes the texts before it decides, so the first match may be anybody's. Text
without a match says nothing; nothing is guessed, decoded or evaluated: `［［A］］`, `[ [A] ]` and `&#91;&#91;A&#93;&#93;`
are no verdicts, which is what lets `judging.fences` defuse a text with spaces alone. Linear time on any text.
"""

import json
import re
from collections.abc import Collection
from typing import Any, Literal

Letter = Literal["A", "B", "C"]

LOWEST_SCORE = 1
HIGHEST_SCORE = 10

_LETTERS: tuple[Letter, ...] = ("A", "B", "C")
_SCORES = re.compile(r'\{\s*+"scores"\s*+:\s*+(\{[^{}]*+\})\s*+\}')


def parse_verdict(text: str) -> Letter | None:
    """The letter of the last `[[A]]`, `[[B]]` or `[[C]]` (tie); None where there is none."""
    places = {letter: text.rfind(f"[[{letter}]]") for letter in _LETTERS}
    last = max(_LETTERS, key=lambda letter: places[letter])
    return last if places[last] >= 0 else None


def parse_scores(text: str, dimensions: Collection[str]) -> dict[str, float] | None:
    """The last `{"scores": {"<dimension>": 1..10, ...}}` that holds exactly `dimensions`, in their order; else None."""
    for match in reversed(list(_SCORES.finditer(text))):
        scores = _read_scores(match[1])
        if scores is not None and scores.keys() == set(dimensions):
            return {dimension: scores[dimension] for dimension in dimensions}
    return None


def _read_scores(candidate: str) -> dict[str, float] | None:
    try:
        pairs: list[tuple[str, Any]] = json.loads(candidate, object_pairs_hook=list)
    except (ValueError, RecursionError):  # the latter from thousands of nested brackets
        return None
    scores = {name: float(value) for name, value in pairs if _is_score(value)}
    return scores if len(scores) == len(pairs) else None


def _is_score(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and LOWEST_SCORE <= value <= HIGHEST_SCORE
