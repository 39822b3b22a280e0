"""A mean over seeds and prompts, with an interval that holds for further seeds and further prompts.

With the same prompts for every seed, values form a two-way table without replication, with seeds and prompts both random:
the variance of the mean is (MS_seeds + MS_prompts - MS_residual) / (seeds x prompts), with degrees of freedom by
Satterthwaite (Searle, Casella & McCulloch, Variance Components, 1992, chapter 4). With other prompts for each seed, the
means of the seeds are independent and include the variance of the prompts, so it is a t interval over them.
"""

import math
from collections.abc import Mapping
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
        variance, freedom = _two_way(table)
        return _with_interval(float(table.mean()), variance, freedom, level, seeds=len(values), prompts=len(common))
    means = np.array([np.mean(list(of_seed.values())) for of_seed in values.values()])
    prompts = round(sum(map(len, values.values())) / len(values))
    return _with_interval(
        float(means.mean()),
        float(means.var(ddof=1)) / len(means),
        len(means) - 1.0,
        level,
        seeds=len(means),
        prompts=prompts,
    )


def _two_way(table: np.ndarray) -> tuple[float, float]:
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
    return variance / table.size, freedom


def _with_interval(mean: float, variance: float, freedom: float, level: float, *, seeds: int, prompts: int) -> SeedMean:
    from scipy.stats import t  # takes a second

    error = math.sqrt(variance) if variance >= 0 else math.nan
    margin = float(t.ppf((1 + level) / 2, freedom)) * error if freedom > 0 else math.nan
    return SeedMean(Interval(mean, mean - margin, mean + margin), error, freedom, seeds, prompts)
