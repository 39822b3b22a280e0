"""Krippendorff's alpha: agreement beyond chance of any number of raters, with missing ratings.

Alpha is a function of a coincidence table that is a sum over items, so a bootstrap can resample it cheaply
(`statistics.bootstrap`). Source: K. Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), sections C and D.
"""

from collections.abc import Hashable, Sequence
from typing import Literal

import numpy as np

Metric = Literal["nominal", "ordinal"]
"""Distance metric of disagreements."""


def coincidences(ratings: Sequence[Sequence[Hashable | None]], *, order: Sequence[Hashable]) -> np.ndarray:
    """Return coincidence tables, [items, values, values]: pairs of ratings of each item, divided by its raters minus one.

    Items with fewer than two ratings contribute nothing.

    Raises:
        ValueError: a value is not in `order`.
    """
    place = {value: i for i, value in enumerate(order)}
    counts = np.zeros((len(ratings), len(order)))
    for item, given in enumerate(ratings):
        for value in given:
            if value is None:
                continue
            if value not in place:
                raise ValueError(f"value not in `order`: {value!r}")
            counts[item, place[value]] += 1
    raters = counts.sum(axis=1)
    pairs = counts[:, :, None] * counts[:, None, :] - counts[:, :, None] * np.eye(len(order))
    return np.where(raters > 1, 1 / np.maximum(raters - 1, 1), 0)[:, None, None] * pairs


def alpha_of_coincidences(table: np.ndarray, *, metric: Metric = "nominal") -> np.ndarray:
    """Compute alpha, [...], of coincidence tables, [..., values, values]: 1 is perfect agreement, 0 is chance.

    NaN if fewer than two different values occur.
    """
    given = table.sum(axis=-1)
    total = given.sum(axis=-1)
    distance = _distances(given, metric)
    observed = (table * distance).sum(axis=(-2, -1))
    by_chance = (given[..., :, None] * given[..., None, :] * distance).sum(axis=(-2, -1))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(by_chance > 0, 1 - (total - 1) * observed / by_chance, np.nan)


def _distances(given: np.ndarray, metric: Metric) -> np.ndarray:
    """Return squared distances, [..., values, values]; ordinal ones depend on the counts of the values, [..., values]."""
    if metric == "nominal":
        return 1 - np.eye(given.shape[-1])
    middle = np.cumsum(given, axis=-1) - given / 2  # ratings below a value, and half of its own
    return (middle[..., :, None] - middle[..., None, :]) ** 2
