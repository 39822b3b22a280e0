"""A mean over seeds and prompts, with an interval that holds for further seeds and further prompts.

With the same prompts for every seed, values form a two-way table without replication, with seeds and prompts both random:
the variance of the mean is (MS_seeds + MS_prompts - MS_residual) / (seeds x prompts), with degrees of freedom by
Satterthwaite (Searle, Casella & McCulloch, Variance Components, 1992, chapter 4). With other prompts for each seed, the
means of the seeds are independent and include the variance of the prompts, so it is a t interval over them.

Means of a few seeds or prompts may be equal by chance, most easily if values are coarse. So an interval is at least as wide
as the spread that is left makes it: the residuals of the table, or the prompts within seeds.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from longform.statistics.bootstrap import Interval


class SeedMean(NamedTuple):
    """A mean over seeds and prompts."""

    interval: Interval
    """Bounds are NaN with a single value, whose variance is unknown."""
    standard_error: float
    freedom: float
    """Degrees of freedom of the standard error."""
    seeds: int
    prompts: int
    """Prompts of a seed; where seeds differ in number, their mean, rounded."""


def mean_over_seeds(values: Mapping[int, Mapping[str, float]], *, level: float = 0.95) -> SeedMean:
    """Return the mean, where every seed has the same weight.

    Prompts that some seeds lack are left out, unless the seeds have no prompt in common.

    Args:
        values: Seed -> prompt -> value. With a single seed the interval is over prompts alone; with a single prompt, which
            stands for a figure about all prompts at once, over seeds alone.
        level: Confidence level.

    Raises:
        ValueError: there are no values, or one is not finite.
    """
    if not values or not all(values.values()):
        raise ValueError("needs at least one value for every seed")
    if not all(math.isfinite(value) for of_seed in values.values() for value in of_seed.values()):
        raise ValueError("needs finite values")
    common = set.intersection(*(set(of_seed) for of_seed in values.values()))
    if common:
        table = np.array([[of_seed[prompt] for prompt in sorted(common)] for of_seed in values.values()])
        variance, freedom = _two_way(table, level)
        return _with_interval(float(table.mean()), variance, freedom, level, seeds=len(values), prompts=len(common))
    seeds = [np.array(list(of_seed.values())) for of_seed in values.values()]
    variance, freedom = max(_of_means(seeds), _of_prompts(seeds), key=lambda it: _margin(*it, level))
    mean = float(np.mean([it.mean() for it in seeds]))
    prompts = round(sum(map(len, seeds)) / len(seeds))
    return _with_interval(mean, variance, freedom, level, seeds=len(seeds), prompts=prompts)


def _of_means(seeds: Sequence[np.ndarray]) -> tuple[float, float]:
    """Variance of the mean of all seeds, and its degrees of freedom, by the spread of their means."""
    return float(np.var([it.mean() for it in seeds], ddof=1)) / len(seeds), len(seeds) - 1.0


def _of_prompts(seeds: Sequence[np.ndarray]) -> tuple[float, float]:
    """Variance of the mean of all seeds, and its degrees of freedom (Welch), by the spread of prompts within seeds; 0 if
    that of a seed is unknown.
    """
    if min(map(len, seeds)) < 2:
        return 0.0, 0.0
    parts = [float(it.var(ddof=1)) / len(it) for it in seeds]
    if not any(parts):
        return 0.0, 0.0
    freedom = sum(parts) ** 2 / sum(part**2 / (len(it) - 1) for part, it in zip(parts, seeds, strict=True))
    return sum(parts) / len(seeds) ** 2, freedom


def _two_way(table: np.ndarray, level: float) -> tuple[float, float]:
    """Variance of the mean of a table [seeds, prompts], and its degrees of freedom; NaN and 0 for a single value."""
    seeds, prompts = table.shape
    if table.size == 1:
        return math.nan, 0.0
    if seeds == 1 or prompts == 1:
        return float(table.var(ddof=1)) / table.size, table.size - 1.0
    rows, columns, mean = table.mean(axis=1), table.mean(axis=0), table.mean()
    of_seeds = prompts * float(rows.var(ddof=1))
    of_prompts = seeds * float(columns.var(ddof=1))
    residual = table - rows[:, None] - columns[None, :] + mean
    rest = float((residual**2).sum()) / ((seeds - 1) * (prompts - 1))
    # A component of variance may be estimated as negative; it is then 0, and the larger of the other two remains.
    variance, freedom = max((of_seeds, seeds - 1.0), (of_prompts, prompts - 1.0))
    both = of_seeds + of_prompts - rest
    if both > variance:
        parts = of_seeds**2 / (seeds - 1) + of_prompts**2 / (prompts - 1) + rest**2 / ((seeds - 1) * (prompts - 1))
        variance, freedom = both, both**2 / parts
    estimated, least = (variance / table.size, freedom), (rest / table.size, (seeds - 1.0) * (prompts - 1.0))
    return max(estimated, least, key=lambda it: _margin(*it, level))


def _with_interval(mean: float, variance: float, freedom: float, level: float, *, seeds: int, prompts: int) -> SeedMean:
    error = math.sqrt(variance) if variance >= 0 else math.nan
    margin = _margin(variance, freedom, level) if freedom > 0 else math.nan
    return SeedMean(Interval(mean, mean - margin, mean + margin), error, freedom, seeds, prompts)


def _margin(variance: float, freedom: float, level: float) -> float:
    """Half of the width of an interval; 0 without degrees of freedom."""
    from scipy.stats import t  # takes a second

    return float(t.ppf((1 + level) / 2, freedom)) * math.sqrt(variance) if freedom > 0 else 0.0
