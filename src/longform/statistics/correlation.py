"""Rank correlation of clustered values, with an interval."""

from collections.abc import Hashable, Sequence

import numpy as np
from scipy.stats import rankdata

from longform.statistics.bootstrap import Interval, interval_of_sums, number_clusters


def clustered_rank_correlation(
    one: Sequence[float] | np.ndarray,
    other: Sequence[float] | np.ndarray,
    clusters: Sequence[Hashable],
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Compute Spearman's correlation within clusters, with a bootstrap interval over clusters.

    Ranks are computed over all values and centred within each cluster, so that a prompt whose texts are all long and all
    good does not contribute.

    Args:
        one: [values] numbers.
        other: [values] numbers.
        clusters: [values] cluster of each pair of numbers.
        level: Confidence level.
        resamples: Number of bootstrap samples.
        seed: Random seed.

    Returns:
        The correlation; NaN if either side has no variance within clusters.

    Raises:
        ValueError: no values, or unequal lengths.
    """
    if not len(one) == len(other) == len(clusters) or not len(one):
        raise ValueError(f"needs equally many values and clusters, got {len(one)}, {len(other)} and {len(clusters)}")
    index, _ = number_clusters(clusters)
    x, y = (_without_means(rankdata(side), index) for side in (one, other))
    parts = np.stack([x * y, x * x, y * y], axis=1)
    return interval_of_sums(parts, clusters, _correlation, level=level, resamples=resamples, seed=seed)


def _without_means(values: np.ndarray, index: np.ndarray) -> np.ndarray:
    return values - (np.bincount(index, weights=values) / np.bincount(index))[index]


def _correlation(products: np.ndarray) -> np.ndarray:
    """Compute correlations, [...], from sums of products, [..., 3]: one x other, one x one, other x other."""
    scale = np.sqrt(products[..., 1] * products[..., 2])
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(scale > 0, products[..., 0] / scale, np.nan)
