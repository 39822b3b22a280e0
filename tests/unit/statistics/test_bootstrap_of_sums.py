"""Intervals of figures that follow from sums."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longform.statistics.agreement import cohen_kappa, kappa_of_table
from longform.statistics.bootstrap import clustered_interval, interval_of_sums

LABELS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=30)


def ratio(sums):
    return sums[:, 0] / sums[:, 1]


def test_a_mean_has_the_interval_of_the_mean():
    stream = np.random.default_rng(3)
    values = stream.normal(size=400)
    clusters = [f"p{i // 4}" for i in range(400)]
    parts = np.stack([values, np.ones(400)], axis=1)
    mine = interval_of_sums(parts, clusters, ratio, resamples=4000)
    assert mine == pytest.approx(clustered_interval(values, clusters, resamples=4000), abs=0.01)


def test_whole_clusters_are_drawn():
    values = np.repeat(np.random.default_rng(0).normal(size=20), 10)
    parts = np.stack([values, np.ones(200)], axis=1)
    by_prompt = interval_of_sums(parts, [i // 10 for i in range(200)], ratio)
    by_item = interval_of_sums(parts, list(range(200)), ratio)
    assert by_prompt.high - by_prompt.low > 2 * (by_item.high - by_item.low)


def test_draws_without_a_value_are_left_out():
    parts = np.array([[1.0, 1.0], [0.0, 0.0]])
    with np.errstate(invalid="ignore"):
        assert interval_of_sums(parts, ["p", "q"], ratio) == (1.0, 1.0, 1.0)


def test_one_cluster_has_no_interval():
    estimate, low, high = interval_of_sums(np.array([[1.0, 2.0], [3.0, 2.0]]), ["p", "p"], ratio)
    assert estimate == 1.0
    assert math.isnan(low) and math.isnan(high)


@pytest.mark.parametrize(("parts", "clusters"), [(np.empty((0, 2)), []), (np.ones((2, 2)), ["p"])])
def test_items_that_do_not_match_are_refused(parts, clusters):
    with pytest.raises(ValueError, match="needs a cluster for each"):
        interval_of_sums(parts, clusters, ratio)


@given(LABELS, st.sampled_from([None, "linear", "quadratic"]))
def test_kappa_of_a_table_is_kappa_of_its_labels(labels, weights):
    table = np.zeros((3, 3))
    for one, other in labels:
        table[one, other] += 1
    expected = cohen_kappa([it[0] for it in labels], [it[1] for it in labels], order=(0, 1, 2), weights=weights)
    assert kappa_of_table(np.stack([table, table]), weights=weights).tolist() == pytest.approx(
        [expected, expected], nan_ok=True
    )
