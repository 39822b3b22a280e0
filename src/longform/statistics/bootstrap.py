"""Confidence intervals by a cluster bootstrap that resamples prompts rather than single outcomes.

Outcomes of the same prompt are correlated, so intervals over single outcomes would be too narrow. Whole clusters are drawn
(percentile interval; Davison & Hinkley 1997, section 3.8). A statistic that is a function of sums over items (ratios,
correlations, kappa, alpha) is resampled by one matrix product of counts and sums instead of a pass over the items.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np

_NUMBERS_AT_ONCE = 4_000_000


class Interval(NamedTuple):
    """An estimate with its interval; bounds are NaN if the variance is unknown."""

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
    """Return the mean of `values` with its interval.

    Args:
        values: [outcomes] numbers.
        clusters: [outcomes] cluster of each outcome (its prompt's id).
        level: Confidence level.
        resamples: Number of bootstrap samples.
        seed: Random seed; the same input gives the same interval.

    Raises:
        ValueError: no values, unequal lengths, a value that is not finite, or a level outside (0, 1).
    """
    numbers = np.asarray(values, dtype=np.float64)
    _check(len(numbers), clusters)
    if not np.isfinite(numbers).all() or not 0 < level < 1:
        raise ValueError("needs finite values and a level between 0 and 1")
    index, count = number_clusters(clusters)
    sums, sizes = np.bincount(index, weights=numbers), np.bincount(index)

    def means(drawn: np.ndarray) -> np.ndarray:
        return sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)

    samples = _samples(means, count, resamples=resamples, seed=seed, draw="indices")
    return percentile_interval(float(numbers.mean()), samples, level)


def clustered_median(
    values: Sequence[float], clusters: Sequence[Hashable], *, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Interval:
    """Return the median of `values` with its interval; arguments and errors as in `clustered_interval`."""
    _check(len(values), clusters)
    index, count = number_clusters(clusters)
    numbers = np.asarray(values, dtype=np.float64)
    parts = [numbers[index == cluster] for cluster in range(count)]

    def medians(drawn: np.ndarray) -> np.ndarray:
        return np.array([np.median(np.concatenate([parts[cluster] for cluster in row])) for row in drawn])

    samples = _samples(medians, count, resamples=resamples, seed=seed, draw="indices")
    return percentile_interval(float(np.median(numbers)), samples, level)


def interval_of_sums(
    parts: np.ndarray,
    clusters: Sequence[Hashable],
    statistic: Callable[[np.ndarray], np.ndarray],
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Return a statistic of the sum of `parts` with its interval.

    Resamples in which the statistic is undefined (NaN) are left out. Bounds are NaN with a single cluster, or if the
    statistic is undefined in all resamples.

    Args:
        parts: [items, ...] contribution of each item.
        clusters: [items] cluster of each item (its prompt).
        statistic: Function from sums [draws, ...] to values [draws].
        level: Confidence level.
        resamples: Number of bootstrap samples.
        seed: Random seed; the same input gives the same interval.

    Raises:
        ValueError: no items, or unequal lengths.
    """
    _check(len(parts), clusters)
    index, count = number_clusters(clusters)
    sums = np.zeros((count, *parts.shape[1:]))
    np.add.at(sums, index, parts)
    estimate = float(statistic(sums.sum(axis=0)[None])[0])

    def of_counts(drawn: np.ndarray) -> np.ndarray:
        return statistic(np.tensordot(drawn.astype(np.float64), sums, axes=1))

    samples = _samples(of_counts, count, resamples=resamples, seed=seed, draw="counts")
    return percentile_interval(estimate, samples, level)


def number_clusters(clusters: Sequence[Hashable]) -> tuple[np.ndarray, int]:
    """Number clusters in order of first occurrence; return each item's number, [items], and the number of clusters."""
    numbers: dict[Hashable, int] = {}
    index = np.array([numbers.setdefault(cluster, len(numbers)) for cluster in clusters])
    return index, len(numbers)


def resample_clusters(
    clusters: int, resamples: int, *, seed: int, draw: Literal["indices", "counts"], batch: int | None = None
) -> Iterator[np.ndarray]:
    """Resample clusters with replacement, `resamples` times; yields batches to bound memory.

    Args:
        clusters: Number of clusters.
        resamples: Number of resamples.
        seed: Random seed.
        draw: `indices`: [batch, clusters] indices of the drawn clusters; `counts`: [batch, clusters] count of each cluster.
            The two use different random streams.
        batch: Resamples per batch.
    """
    rng = np.random.default_rng(seed)
    batch = batch or max(1, _NUMBERS_AT_ONCE // clusters)
    for start in range(0, resamples, batch):
        size = min(batch, resamples - start)
        if draw == "indices":
            yield rng.integers(clusters, size=(size, clusters))
        else:
            yield rng.multinomial(clusters, np.full(clusters, 1 / clusters), size=size)


def percentile_interval(estimate: float, samples: np.ndarray, level: float, *, min_finite: float = 0.0) -> Interval:
    """Return the percentile interval of the finite samples; bounds are NaN if fewer than `min_finite` of them are finite."""
    finite = samples[np.isfinite(samples)]
    if not len(finite) or len(finite) < min_finite * len(samples):
        return Interval(estimate, float("nan"), float("nan"))
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return Interval(estimate, float(low), float(high))


def _samples(
    statistic: Callable[[np.ndarray], np.ndarray],
    clusters: int,
    *,
    resamples: int,
    seed: int,
    draw: Literal["indices", "counts"],
) -> np.ndarray:
    """Compute the statistic of each resample, [resamples]; empty with a single cluster, which has no variance."""
    if clusters == 1:
        return np.empty(0)
    return np.concatenate([statistic(it) for it in resample_clusters(clusters, resamples, seed=seed, draw=draw)])


def _check(items: int, clusters: Sequence[Hashable]) -> None:
    if not items or items != len(clusters):
        raise ValueError(f"needs a cluster for each of at least one value, got {len(clusters)} for {items}")
