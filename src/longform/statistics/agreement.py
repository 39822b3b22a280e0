"""Agreement of two raters beyond chance: Cohen's kappa, plain or weighted."""

from collections.abc import Hashable, Sequence
from typing import Literal

import numpy as np


def cohen_kappa(
    one: Sequence[Hashable],
    other: Sequence[Hashable],
    *,
    order: Sequence[Hashable] | None = None,
    weights: Literal["linear", "quadratic"] | None = None,
) -> float:
    """Compute Cohen's kappa (Cohen 1960; weighted: Cohen 1968): 1 is perfect agreement, 0 is chance.

    NaN if expected agreement is perfect, that is, if both raters always give the same label.

    Args:
        one: [items] labels of one rater.
        other: [items] labels of the other.
        order: All labels in order, for weights; by default the sorted labels that occur.
        weights: How disagreement grows with distance in `order`; None counts all disagreements equally.

    Raises:
        ValueError: no items, unequal lengths, or a label that is not in `order`.
    """
    _check(one, other)
    labels = list(order) if order is not None else sorted(set(one) | set(other))  # pyright: ignore[reportArgumentType]
    place = {label: i for i, label in enumerate(labels)}
    unknown = (set(one) | set(other)) - place.keys()
    if unknown:
        raise ValueError(f"labels outside the order: {sorted(map(str, unknown))}")
    table = np.zeros((len(labels), len(labels)))
    np.add.at(table, ([place[label] for label in one], [place[label] for label in other]), 1)
    return float(kappa_of_table(table, weights=weights))


def kappa_of_table(table: np.ndarray, *, weights: Literal["linear", "quadratic"] | None = None) -> np.ndarray:
    """Compute Cohen's kappa, [...], of contingency tables [..., labels, labels]."""
    places = np.arange(table.shape[-1])
    distance = np.abs(np.subtract.outer(places, places))
    penalty = {None: distance > 0, "linear": distance, "quadratic": distance**2}[weights]
    total = table.sum(axis=(-2, -1))
    expected = table.sum(axis=-1)[..., :, None] * table.sum(axis=-2)[..., None, :]
    by_chance = (penalty * expected).sum(axis=(-2, -1))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(by_chance > 0, 1 - total * (penalty * table).sum(axis=(-2, -1)) / by_chance, np.nan)


def _check(one: Sequence[Hashable], other: Sequence[Hashable]) -> None:
    if not one or len(one) != len(other):
        raise ValueError(f"needs two equally long, non-empty lists of labels, got {len(one)} and {len(other)}")
