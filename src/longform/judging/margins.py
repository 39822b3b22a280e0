"""Which of two texts is better in nine aspects, and by how much: EQ-Bench creative writing's pairwise stage, in our wording.

An aspect has no draw: a margin runs from + (barely) to +++++ (far). For three aspects the published rule takes from the
loser what it gives to the winner, so these count twice. An answer ends in `{"scores": {...}}`, which `judging.answers`
breaks up in every text.
"""

import re
from collections.abc import Mapping
from math import ceil
from typing import Any, NamedTuple

from longform.judging.answers import fence, last_values
from longform.judging.judge import AnswerShape, object_schema
from longform.wording import Wording, load_wording

ASPECTS: tuple[str, ...] = (
    "character authenticity and insight",
    "interesting and original",
    "writing quality",
    "coherence",
    "instruction following",
    "world and atmosphere",
    "avoids cliches",
    "avoids verbosity",
    "avoids poetic overload",
)
"""The nine aspects, named as published."""
TAKEN_FROM_LOSER = frozenset({"coherence", "avoids verbosity", "avoids poetic overload"})
MAX_MARGIN = 5
MAX_POINTS = MAX_MARGIN * len(ASPECTS)
MAX_WINS = 4

_MARGIN = re.compile(rf"([AB])(\+{{1,{MAX_MARGIN}}})")


class MarginPoints(NamedTuple):
    """The points of two texts in one comparison, or summed over several."""

    a: int
    b: int

    @property
    def swapped(self) -> "MarginPoints":
        """The same with the two texts exchanged."""
        return MarginPoints(self.b, self.a)


def ask_margins(*, request: str, text_a: str, text_b: str, tag: str, wording: Wording | None = None) -> str:
    """The message that asks for the margins between two texts."""
    wording = wording or load_wording()
    inner = ", ".join(f'"{name}": "X"' for name in ASPECTS)
    meanings = wording.table("margins.meanings")
    return wording.text("margins.question").format(
        request=fence("REQUEST", request, tag=tag),
        text_a=fence("TEXT A", text_a, tag=tag),
        text_b=fence("TEXT B", text_b, tag=tag),
        respects="\n".join(f"  - {name}: {meaning}" for name, meaning in meanings.items()),
        shape=f'{{"scores": {{{inner}}}}}',
    )


_MARGINS = [letter + "+" * count for letter in "AB" for count in range(1, MAX_MARGIN + 1)]
MARGINS_SHAPE: AnswerShape[dict[str, str]] = AnswerShape(
    {"scores": object_schema({name: {"type": "string", "enum": _MARGINS} for name in ASPECTS})}
)
"""For a judge with structured output."""


def parse_margins(answer: str) -> dict[str, str] | None:
    """The margins of an answer to `ask_margins`, such as {"coherence": "A++", ...}.

    What counts is the last `{"scores": {...}}` that names all nine aspects once and nothing else, each with a letter and one
    to five plus signs; None if there is none.
    """

    def margin(value: Any) -> str | None:
        return value if isinstance(value, str) and _MARGIN.fullmatch(value) else None

    return last_values(answer, ASPECTS, margin)


def count_points(margins: Mapping[str, str]) -> MarginPoints:
    """The points of both texts from the margins of one comparison; negative if more is taken than given."""
    points = {"A": 0, "B": 0}
    for name, margin in margins.items():
        winner, pluses = margin[0], len(margin) - 1
        points[winner] += pluses
        if name in TAKEN_FROM_LOSER:
            points["B" if winner == "A" else "A"] -= pluses
    return MarginPoints(points["A"], points["B"])


def win_fraction(points: MarginPoints) -> float:
    """Fraction of a win that text A gets: 0.5 + (difference / 45) / 2, between 0 and 1.

    The published rule: `points` are those of both orders summed, while 45 is the maximum of one order.
    """
    return min(1.0, max(0.0, 0.5 + (points.a - points.b) / MAX_POINTS / 2))


def pseudo_wins(points: MarginPoints) -> int:
    """How many wins the margin of the better text counts for: ceil(margin / 0.125), 1 to 4; 0 for a draw."""
    margin = abs(win_fraction(points) - 0.5)
    return min(MAX_WINS, ceil(round(margin / (0.5 / MAX_WINS), 9)))
