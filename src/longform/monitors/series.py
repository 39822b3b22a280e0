"""The inputs of signatures: a run's metrics by name, and a window of steps that is large enough to evaluate.

A win rate over one step of 32 rollouts has a standard error of 0.09, too large for a conclusion. Shares are therefore pooled
over at least `MIN_STEPS` steps and `MIN_CASES` verdicts (standard error at most 0.03); means over tokens vary less and are
summarized by medians over the same steps.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import median
from typing import NamedTuple

Points = Sequence[tuple[int, float]]
"""(step, value), ascending."""
Series = Mapping[str, Points]
"""Points by metric name."""

MIN_STEPS = 8
"""Minimum number of steps: five outliers are needed to move a median over eight, and eight steps show a policy's trend."""
MIN_CASES = 256
"""Minimum number of verdicts or texts: eight steps of 32 rollouts; a share has a standard error of at most 0.03."""
MAX_STEPS = 64
"""Maximum number of steps in a window, for runs with small steps."""

VERDICTS, TEXTS = "reward/count", "text/count"
"""Metrics with the number of rollouts of a step: those with a reward, and all."""
_MAD_TO_DEVIATION = 1.4826
"""Ratio of the standard deviation to the median absolute deviation of a normal distribution."""


class Window(NamedTuple):
    """The latest steps that together are enough for a conclusion."""

    first: int
    last: int
    steps: int
    cases: int
    """Number of verdicts or texts."""

    def __str__(self) -> str:
        return f"steps {self.first} to {self.last}"


def latest_window(series: Series, *, count: str = VERDICTS) -> Window | None:
    """Return the shortest window that ends with the last step and is large enough; None if there is none yet.

    Args:
        series: Metrics of the run.
        count: Metric with the number of cases of a step.
    """
    counts = series.get(count, ())
    cases = 0.0
    for steps, (first, number) in enumerate(reversed(counts), start=1):
        cases += number
        if steps >= MIN_STEPS and (cases >= MIN_CASES or steps == MAX_STEPS):
            return Window(first, counts[-1][0], steps, int(cases))
    return None


def last_step(series: Series) -> tuple[int, float]:
    """Return the latest step and its number of rollouts with a reward; (0, 0) before the first step."""
    counts = series.get(VERDICTS, ())
    return counts[-1] if counts else (0, 0.0)


def first_value(series: Series, name: str) -> float | None:
    """Return the first recorded value of a metric."""
    points = series.get(name, ())
    return points[0][1] if points else None


def values(series: Series, name: str, window: Window) -> list[float]:
    """Return the values of a metric in a window, latest first; steps without a value are skipped."""
    return [value for _, value in _since(series.get(name, ()), window.first)]


def typical(series: Series, name: str, window: Window) -> float | None:
    """Return the median of a metric over a window; None if it was not recorded."""
    recorded = values(series, name, window)
    return median(recorded) if recorded else None


def pooled_share(series: Series, name: str, window: Window, *, count: str = VERDICTS) -> float | None:
    """Return the mean of a share over a window, weighted by each step's number of verdicts; None without verdicts."""
    weights = dict(_since(series.get(count, ()), window.first))
    shares = list(_since(series.get(name, ()), window.first))
    total = sum(weights.get(step, 0.0) for step, _ in shares)
    return sum(share * weights.get(step, 0.0) for step, share in shares) / total if total else None


def ends(points: Points, count: int) -> tuple[float, float]:
    """Return the medians of the first and of the last `count` values; zeros if there are no values."""
    if not points:
        return 0.0, 0.0
    return median(value for _, value in points[:count]), median(value for _, value in points[-count:])


def lower_bound(share: float, count: float, *, deviations: float) -> float:
    """Return the lower bound of a share: the lower end of Wilson's score interval (Wilson 1927).

    Args:
        share: The share measured on `count` cases.
        count: Number of cases, above 0.
        deviations: Width in standard deviations; with 3, the true share is below the bound once in 700 times.
    """
    square = deviations**2 / count
    centre = share + square / 2
    width = deviations * sqrt(share * (1 - share) / count + square / (4 * count))
    return (centre - width) / (1 + square)


def deviation(sample: Sequence[float]) -> tuple[float, float]:
    """Return robust estimates of location and scale: the median, and the scaled median absolute deviation."""
    middle = median(sample)
    return middle, _MAD_TO_DEVIATION * median(abs(value - middle) for value in sample)


def _since(points: Points, first: int) -> Iterator[tuple[int, float]]:
    """Yield the points from `first` on, latest first: the cost depends on the window, not on the length of the run."""
    for point in reversed(points):
        if point[0] < first:
            return
        yield point


@dataclass(frozen=True, slots=True)
class Finding:
    """A failure found in a run, with its evidence."""

    name: str
    """Name of the signature, such as `never-wins`; stable across versions."""
    first: int
    """First step that shows it."""
    last: int
    evidence: str
    """One sentence with figures."""
    advice: str
    """One sentence: what to change in the recipe."""
