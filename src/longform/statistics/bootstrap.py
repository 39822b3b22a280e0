"""Confidence intervals by a bootstrap that resamples prompts, not single outcomes.

Outcomes of one prompt resemble each other, so an interval over single outcomes is too narrow. Whole clusters are drawn
(cluster bootstrap, percentile interval; Davison & Hinkley 1997, section 3.8).
"""

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np

_DRAWS_AT_ONCE = 4_000_000


class Interval(NamedTuple):
    """An estimate and the interval around it; NaN bounds where nothing is known of the spread."""

    estimate: float
    low: float
    high: float


def clustered_interval(
    values: Sequence[float] | np.ndarray,
    clusters: Sequence[Hashable],
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Mean of `values` with its interval.

    Args:
        values: [outcomes] numbers.
        clusters: [outcomes] what each outcome belongs to (its prompt's id).
        level: confidence.
        resamples: bootstrap samples.
        seed: of the draws; the same input gives the same interval.

    Raises:
        ValueError: no values, unequal lengths, a value that is no finite number, or a level outside (0, 1).
    """
    numbers = np.asarray(values, dtype=np.float64)
    if not len(numbers) or len(numbers) != len(clusters):
        raise ValueError(f"needs a cluster for each of at least one value, got {len(clusters)} for {len(numbers)}")
    if not np.isfinite(numbers).all() or not 0 < level < 1:
        raise ValueError("needs finite values and a level between 0 and 1")
    sums, counts = _cluster_totals(numbers, clusters)
    estimate = float(numbers.mean())
    if len(sums) == 1:
        return Interval(estimate, float("nan"), float("nan"))
    means = _resampled_means(sums, counts, resamples, np.random.default_rng(seed))
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(estimate, float(low), float(high))


def _cluster_totals(numbers: np.ndarray, clusters: Sequence[Hashable]) -> tuple[np.ndarray, np.ndarray]:
    """Sum and number of values of each cluster: ([clusters], [clusters])."""
    places: dict[Hashable, int] = {}
    index = np.array([places.setdefault(cluster, len(places)) for cluster in clusters])
    return np.bincount(index, weights=numbers), np.bincount(index)


def _resampled_means(sums: np.ndarray, counts: np.ndarray, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """[resamples] means of as many clusters drawn with replacement; in parts, to bound the memory."""
    part = max(1, _DRAWS_AT_ONCE // len(sums))
    means = []
    for start in range(0, resamples, part):
        drawn = rng.integers(len(sums), size=(min(part, resamples - start), len(sums)))
        means.append(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1))
    return np.concatenate(means)
