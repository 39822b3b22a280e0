"""Intervals over clusters of outcomes."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longform.statistics.bootstrap import clustered_interval


def test_the_estimate_is_the_mean_and_lies_in_its_interval():
    found = clustered_interval([1.0, 0.5, 0.0, 1.0], ["a", "a", "b", "c"])
    assert found.estimate == 0.625
    assert found.low <= 0.625 <= found.high


def test_repeating_each_outcome_within_its_cluster_does_not_narrow_the_interval():
    values = np.random.default_rng(0).random(40)
    once = clustered_interval(values, list(range(40)))
    often = clustered_interval(np.repeat(values, 10), np.repeat(np.arange(40), 10).tolist())
    wrong = clustered_interval(np.repeat(values, 10), list(range(400)))
    assert often == pytest.approx(once)
    assert wrong.high - wrong.low < 0.5 * (once.high - once.low)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        effects = np.repeat(rng.normal(size=60), 3)
        found = clustered_interval(effects + rng.normal(size=180), np.repeat(np.arange(60), 3).tolist(), resamples=400)
        covered += found.low <= 0.0 <= found.high
    assert 0.88 <= covered / 200 <= 0.99


def test_the_same_input_and_seed_give_the_same_interval():
    arguments = ([0.1, 0.9, 0.4, 0.7], [1, 2, 3, 4])
    assert clustered_interval(*arguments) == clustered_interval(*arguments)
    assert clustered_interval(*arguments, level=0.5) != clustered_interval(*arguments)


def test_one_cluster_says_nothing_of_the_spread():
    found = clustered_interval([0.0, 1.0], ["a", "a"])
    assert found.estimate == 0.5
    assert np.isnan([found.low, found.high]).all()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.integers(0, 5)), min_size=1, max_size=30), st.floats(-100, 100))
def test_shifting_all_values_shifts_the_interval(pairs, shift):
    values, clusters = np.array([pair[0] for pair in pairs]), [pair[1] for pair in pairs]
    plain = np.array(clustered_interval(values, clusters, resamples=100))
    shifted = np.array(clustered_interval(values + shift, clusters, resamples=100))
    np.testing.assert_allclose(shifted, plain + shift, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(
    ("values", "clusters", "level"),
    [([], [], 0.95), ([1.0], [], 0.95), ([float("nan")], ["a"], 0.95), ([1.0], ["a"], 1.0)],
)
def test_what_has_no_interval_is_refused(values, clusters, level):
    with pytest.raises(ValueError, match="needs"):
        clustered_interval(values, clusters, level=level)


def test_ten_thousand_prompts_are_quick():
    started = time.process_time()
    clustered_interval(np.random.default_rng(0).random(20_000), np.repeat(np.arange(10_000), 2).tolist())
    assert time.process_time() - started < 15.0
