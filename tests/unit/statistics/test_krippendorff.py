"""Krippendorff's alpha against the published example and another implementation."""

import math
from collections.abc import Sequence

import evalica
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longform.statistics.krippendorff import Metric, alpha_of_coincidences, coincidences

# Krippendorff (2011), section C: four observers, twelve units; "." is missing.
OBSERVERS = ("123321412...", "1233224125.3", ".3332342251.", "12332441251.")
UNITS = [[None if value == "." else int(value) for value in unit] for unit in zip(*OBSERVERS, strict=True)]
ORDER = (1, 2, 3, 4, 5)
METRICS: tuple[Metric, ...] = ("nominal", "ordinal")
RATINGS = st.lists(st.lists(st.sampled_from([1, 2, 3, 4, None]), min_size=3, max_size=3), min_size=2, max_size=12)


def alpha(ratings, order, metric: Metric = "nominal") -> float:
    return float(alpha_of_coincidences(coincidences(ratings, order=order).sum(axis=0), metric=metric))


@pytest.mark.parametrize(("metric", "published"), [("nominal", 0.743), ("ordinal", 0.815)])
def test_the_published_example(metric: Metric, published: float):
    assert alpha(UNITS, order=ORDER, metric=metric) == pytest.approx(published, abs=0.0005)


def test_the_published_coincidences():
    table = coincidences(UNITS, order=ORDER).sum(axis=0)
    assert table.sum(axis=1).tolist() == pytest.approx([9, 13, 10, 5, 3])
    assert table[0].tolist() == pytest.approx([7, 4 / 3, 1 / 3, 1 / 3, 0])


def test_two_raters_worked_by_hand():
    # Coincidences: aa 2, bb 2, ab 1, ba 1; each value 3 of 6. Observed 2, by chance 2*9/5: 1 - 2*5/18.
    ratings = [["a", "a"], ["b", "b"], ["a", "b"]]
    assert alpha(ratings, order=("a", "b")) == pytest.approx(1 - 10 / 18)


def test_an_item_with_one_rating_adds_nothing():
    table = coincidences([["a", None], ["b", "b"], ["a", "b"]], order=("a", "b"))
    assert table[0].sum() == 0
    assert table.sum() == 4


@pytest.mark.parametrize("ratings", [[["a", "a"], ["a", "a"]], [["a", None], [None, "b"]], []])
def test_without_two_values_alpha_is_not_known(ratings: Sequence[Sequence[str | None]]):
    assert math.isnan(alpha(ratings, order=("a", "b")))


def test_a_value_outside_the_order_is_refused():
    with pytest.raises(ValueError, match="not in `order`: 'c'"):
        alpha([["a", "c"]], order=("a", "b"))


@settings(deadline=None, max_examples=60)
@given(RATINGS, st.sampled_from(METRICS))
def test_another_implementation_agrees(ratings: list[list[int | None]], metric: Metric):
    mine = alpha(ratings, order=(1, 2, 3, 4), metric=metric)
    if math.isnan(mine):
        return
    frame = pd.DataFrame(ratings, dtype="float64").T
    assert mine == pytest.approx(evalica.alpha(frame, distance=metric).alpha, abs=1e-9)


@given(RATINGS, RATINGS)
def test_tables_are_taken_side_by_side(one: list[list[int | None]], other: list[list[int | None]]):
    tables = np.stack([coincidences(it, order=(1, 2, 3, 4)).sum(axis=0) for it in (one, other)])
    together = alpha_of_coincidences(tables, metric="ordinal")
    alone = [alpha(it, order=(1, 2, 3, 4), metric="ordinal") for it in (one, other)]
    assert together.tolist() == pytest.approx(alone, nan_ok=True)
