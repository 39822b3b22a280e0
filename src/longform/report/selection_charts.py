"""Charts of a selection: learning potential against the policy's score, and the distribution of learning potential.

Twenty thousand prompts, many with equal scores, would overlap. So a dot is all prompts of one fate in one cell of a grid, at
their mean, and its area grows with their number. A single prompt in its cell is drawn at its exact position.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from longform.report.svg import GREY, INK, Axis, Chart, Dots, Line, Sizes, draw, stack

CELLS = 40
"""Of the grid, along each side."""
BARS = 40
"""At most, of the spread."""
_WIDTH, _HEIGHT, _BAR_HEIGHT = 560, 400, 290


class Point(NamedTuple):
    """One prompt with scores."""

    score: float
    """The policy's."""
    potential: float
    fate: str


class Dot(NamedTuple):
    """Prompts of one fate that lie close together, at their mean."""

    score: float
    potential: float
    fate: str
    prompts: int


def draw_potential(points: Sequence[Point], *, title: str, colours: Mapping[str, str], floor: float = -math.inf) -> str:
    """SVG of learning potential against the policy's score.

    Args:
        points: at least one.
        title: of the picture.
        colours: of each fate; those of a later fate are drawn over those of an earlier one.
        floor: the best competitor's lowest score: the falling line potential = floor - score.
    """
    gathered = gather(points)
    most = max(dot.prompts for dot in gathered)
    across, up = _domain([it.score for it in points]), _domain([it.potential for it in points])
    lines = [_guide([(end, 0.0) for end in across], GREY)]
    if math.isfinite(floor):
        lines.append(_guide([(end, floor - end) for end in across], INK, dashed=True))
    dots = [
        Dots([(it.score, it.potential, _area(it.prompts, most)) for it in largest_first], colour, fate)
        for fate, colour in colours.items()
        if (largest_first := sorted((it for it in gathered if it.fate == fate), key=lambda it: -it.prompts))
    ]
    counts = [(_area(count, most), f"{count:,}") for count in _some_counts(most)]
    chart = Chart(
        title,
        [*lines, *dots],
        Axis("the policy's score (left: difficult)", across, ticks=8),
        Axis("learning potential", up, ticks=8),
        _WIDTH,
        _HEIGHT,
        sizes=Sizes("prompts", counts) if most > 1 else None,
    )
    return draw(chart)


def draw_spread(points: Sequence[Point], *, title: str, colours: Mapping[str, str]) -> str:
    """SVG of the number of prompts by learning potential, those of each fate stacked.

    Args:
        points: at least one.
        title: of the picture.
        colours: of each fate, from the top of the stack down.
    """
    edges = _edges(np.array([it.potential for it in points]))
    potentials = {fate: [it.potential for it in points if it.fate == fate] for fate in colours}
    heights = {fate: np.histogram(of_fate, bins=edges)[0].tolist() for fate, of_fate in potentials.items() if of_fate}
    ends = float(edges[0]), float(edges[-1])
    chart = Chart(
        title,
        stack(edges.tolist(), heights, colours),
        Axis("learning potential", ends, ticks=8),
        Axis("prompts", whole=True),
        _WIDTH,
        _BAR_HEIGHT,
    )
    return draw(chart)


def gather(points: Sequence[Point]) -> list[Dot]:
    """A dot for each fate in each cell of a grid of `CELLS` x `CELLS` over the points. Their order does not matter."""
    numbers = np.array([(point.score, point.potential) for point in points])
    low, high = numbers.min(axis=0), numbers.max(axis=0)
    cells = np.floor((numbers - low) / np.where(high > low, high - low, 1.0) * (CELLS - 1) + 0.5).astype(int)
    members: dict[tuple[str, int, int], list[int]] = {}
    for place, (point, (column, row)) in enumerate(zip(points, cells.tolist(), strict=True)):
        members.setdefault((point.fate, column, row), []).append(place)
    dots = []
    for (fate, _, _), places in sorted(members.items()):
        score, potential = (math.fsum(numbers[places, axis]) / len(places) for axis in (0, 1))
        dots.append(Dot(score, potential, fate, len(places)))
    return dots


def _area(prompts: int, most: int) -> float:
    """Of a dot, in square pixels; the largest of a chart is 16 to 160, so that it never fills much more than its cell."""
    return 16.0 + 12.0 * min(most, 12) * (prompts - 1) / max(most - 1, 1)


def _some_counts(most: int) -> list[int]:
    return sorted({1, max(1, round(most / 4)), most})


def _edges(values: np.ndarray) -> np.ndarray:
    """Edges of the bars. Grades are often whole numbers or means of few: every bar then holds as many of their steps."""
    distinct = np.unique(np.round(values, 6))
    step = float(np.diff(distinct).min()) if len(distinct) > 1 else 1.0
    width = step * math.ceil((distinct[-1] - distinct[0] + step) / BARS / step)
    count = math.ceil((distinct[-1] - distinct[0] + step) / width)
    return distinct[0] - step / 2 + width * np.arange(count + 1)


def _domain(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    extra = 0.04 * (high - low) or 0.5
    return low - extra, high + extra


def _guide(ends: list[tuple[float, float]], colour: str, *, dashed: bool = False) -> Line:
    return Line(ends, colour, dashed=dashed, markers=False, fitted=False)
