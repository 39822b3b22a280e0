"""What signatures look at: the metrics of a run by name, and the window of steps that is large enough to judge.

A step of 32 rollouts gives a win rate with a standard error of 0.09, too much to call anything; so shares are pooled over
at least `MIN_STEPS` steps and `MIN_CASES` verdicts (standard error at most 0.03), and means over tokens, which are
steadier, are medians over the same steps.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import median
from typing import NamedTuple

Points = Sequence[tuple[int, float]]
"""(step, value), ascending."""
Series = Mapping[str, Points]
"""Points of each metric by its name."""

MIN_STEPS = 8
"""A median over eight steps needs five odd ones to move; also long enough for a policy to show where it goes."""
MIN_CASES = 256
"""Verdicts or texts: standard error of a share at most 0.03; eight steps of 32 rollouts."""
MAX_STEPS = 64
"""Where steps are so small that this many hold fewer cases, these must do."""

VERDICTS, TEXTS = "reward/count", "text/count"
"""Metrics that count the rollouts of a step: those that have a reward, and all."""
_MAD_TO_DEVIATION = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""


class Window(NamedTuple):
    """The latest steps that together are enough to judge."""

    first: int
    last: int
    steps: int
    cases: int
    """Verdicts, texts: what was counted."""

    def __str__(self) -> str:
        return f"steps {self.first} to {self.last}"


def latest_window(series: Series, *, count: str = VERDICTS) -> Window | None:
    """The shortest window that ends with the last step and is large enough; None while it is too early.

    Args:
        series: of the run.
        count: the metric that counts the cases of a step.
    """
    counts = series.get(count, ())
    cases = 0.0
    for steps, (first, number) in enumerate(reversed(counts), start=1):
        cases += number
        if steps >= MIN_STEPS and (cases >= MIN_CASES or steps == MAX_STEPS):
            return Window(first, counts[-1][0], steps, int(cases))
    return None


def last_step(series: Series) -> tuple[int, float]:
    """The step that is looked at, and how many of its rollouts have a reward; (0, 0) before the first."""
    counts = series.get(VERDICTS, ())
    return counts[-1] if counts else (0, 0.0)


def first_value(series: Series, name: str) -> float | None:
    """What a metric was when it was measured first."""
    points = series.get(name, ())
    return points[0][1] if points else None


def values(series: Series, name: str, window: Window) -> list[float]:
    """The values of a metric in a window, the last one first; steps without one are passed over."""
    return [value for _, value in _since(series.get(name, ()), window.first)]


def typical(series: Series, name: str, window: Window) -> float | None:
    """The median of a metric over a window; None where it was not measured."""
    found = values(series, name, window)
    return median(found) if found else None


def pooled_share(series: Series, name: str, window: Window, *, count: str = VERDICTS) -> float | None:
    """A share over all verdicts of a window: that of each step, weighted by the metric that counts its verdicts.

    None where there are none.
    """
    weights = dict(_since(series.get(count, ()), window.first))
    shares = list(_since(series.get(name, ()), window.first))
    total = sum(weights.get(step, 0.0) for step, _ in shares)
    return sum(share * weights.get(step, 0.0) for step, share in shares) / total if total else None


def ends(points: Points, count: int) -> tuple[float, float]:
    """Medians of the first and of the last `count` values; zeros where there are none."""
    if not points:
        return 0.0, 0.0
    return median(value for _, value in points[:count]), median(value for _, value in points[-count:])


def lower_bound(share: float, count: float, *, deviations: float) -> float:
    """Where the true share lies at least: the lower end of Wilson's score interval (Wilson 1927).

    Args:
        share: measured on `count` cases.
        count: above 0.
        deviations: of a normal distribution; 3 leaves one chance in 700 that the truth lies below.
    """
    square = deviations**2 / count
    centre = share + square / 2
    width = deviations * sqrt(share * (1 - share) / count + square / (4 * count))
    return (centre - width) / (1 + square)


def deviation(sample: Sequence[float]) -> tuple[float, float]:
    """Median of a sample, and its standard deviation as the median absolute deviation gives it: both robust."""
    middle = median(sample)
    return middle, _MAD_TO_DEVIATION * median(abs(value - middle) for value in sample)


def _since(points: Points, first: int) -> Iterator[tuple[int, float]]:
    """The points from `first` on, the last one first: a window costs what it holds, however long the run."""
    for point in reversed(points):
        if point[0] < first:
            return
        yield point


@dataclass(frozen=True, slots=True)
class Finding:
    """A failure that a run shows, with the figures behind it."""

    name: str
    """Of the signature, such as `never-wins`; the same in every version."""
    first: int
    """First of the steps that show it."""
    last: int
    evidence: str
    """One sentence with figures."""
    advice: str
    """One sentence: what to change in the recipe."""
