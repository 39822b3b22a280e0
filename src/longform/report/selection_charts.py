"""Charts of a selection: learning potential against the policy's score, and the distribution of learning potential.

Twenty thousand prompts, many with equal scores, would overlap. So a dot is all prompts of one outcome in one cell of a grid,
at their mean, and its area grows with their number. A single prompt in its cell is drawn at its exact position.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from longform.report.svg import GREY, INK, Axis, Chart, Dots, Line, Sizes, draw, stack

CELLS = 40
"""Cells along each side of the grid."""
BARS = 40
"""Maximum number of bars of the histogram."""
_WIDTH, _HEIGHT, _BAR_HEIGHT = 560, 400, 290


class Point(NamedTuple):
    """One prompt with scores."""

    score: float
    """The policy's score."""
    potential: float
    fate: str


class Dot(NamedTuple):
    """Prompts of one outcome in one cell of the grid, at their mean."""

    score: float
    potential: float
    fate: str
    prompts: int


def draw_potential(points: Sequence[Point], *, title: str, colours: Mapping[str, str], floor: float = -math.inf) -> str:
    """Draw learning potential against the policy's score, as SVG.

    Args:
        points: At least one point.
        title: Title of the chart.
        colours: Colour of each outcome; dots of later outcomes are drawn over those of earlier ones.
        floor: Minimum score of the best competitor, drawn as the line potential = floor - score.
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
        Axis("the policy's score (low: difficult prompt)", across, ticks=8),
        Axis("learning potential", up, ticks=8),
        _WIDTH,
        _HEIGHT,
        sizes=Sizes("prompts", counts) if most > 1 else None,
    )
    return draw(chart)


def draw_spread(points: Sequence[Point], *, title: str, colours: Mapping[str, str]) -> str:
    """Draw a histogram of learning potential, stacked by outcome, as SVG.

    Args:
        points: At least one point.
        title: Title of the chart.
        colours: Colour of each outcome, from the top of the stack down.
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
    """Return a dot per outcome and cell of a grid of `CELLS` x `CELLS` over the points; their order does not matter."""
    numbers = np.array([(point.score, point.potential) for point in points])
    low, high = numbers.min(axis=0), numbers.max(axis=0)
    cells = np.floor((numbers - low) / np.where(high > low, high - low, 1.0) * (CELLS - 1) + 0.5).astype(int)
    members: dict[tuple[str, int, int], list[int]] = {}
    for index, (point, (column, row)) in enumerate(zip(points, cells.tolist(), strict=True)):
        members.setdefault((point.fate, column, row), []).append(index)
    dots = []
    for (fate, _, _), indices in sorted(members.items()):
        score, potential = (math.fsum(numbers[indices, axis]) / len(indices) for axis in (0, 1))
        dots.append(Dot(score, potential, fate, len(indices)))
    return dots


def _area(prompts: int, most: int) -> float:
    """Return the area of a dot in square pixels; the largest of a chart has 16 to 160, about the size of its cell."""
    return 16.0 + 12.0 * min(most, 12) * (prompts - 1) / max(most - 1, 1)


def _some_counts(most: int) -> list[int]:
    return sorted({1, max(1, round(most / 4)), most})


def _edges(values: np.ndarray) -> np.ndarray:
    """Return the edges of the bars. If all scores are multiples of a step, such as whole numbers, every bar spans the same
    number of steps.
    """
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
