"""The sign-flip test against hand-computed cases, scipy, and its own exact form."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from longform.statistics.paired import PairedTest, sign_flip_test

few_differences = st.lists(st.integers(-5, 5), min_size=2, max_size=9)


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        ([1, 2, 3], 2 / 8),  # only +++ and --- lie as far out
        ([1, -2, 3], 6 / 8),  # sums 6, 4, 2, 0 and their mirror images; the one found is 2
        ([1], 1.0),
        ([2, 2, 2, 2, 2], 2 / 32),
    ],
)
def test_the_exact_p_is_that_of_counting_by_hand(differences, p):
    assert sign_flip_test(differences) == PairedTest(p, True, 2 ** len(differences))


def test_differences_of_zero_count_for_nothing():
    assert sign_flip_test([0, 1, 0, 2, 3, 0]) == sign_flip_test([1, 2, 3])
    assert sign_flip_test([0, 0]) == PairedTest(1.0, True, 1)


def test_sums_that_differ_by_rounding_alone_are_equal():
    assert sign_flip_test([0.1, 0.2, -0.3]).p == 1
    assert sign_flip_test([0.1, 0.2, 0.3]).p == 2 / 8


@given(few_differences)
def test_the_exact_p_is_that_of_scipy(differences):
    theirs = stats.permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=10**6)
    assert sign_flip_test(differences).p == pytest.approx(theirs.pvalue)


@given(few_differences, st.floats(0.001, 1000))
def test_neither_the_unit_nor_which_side_is_called_b_matters(differences, unit):
    there, back = (sign_flip_test([sign * unit * it for it in differences]) for sign in (1, -1))
    assert there == back == sign_flip_test(differences)


def test_random_patterns_come_close_to_all_patterns():
    differences = np.random.default_rng(5).normal(0.4, 1, size=18)
    exact, drawn = sign_flip_test(differences), sign_flip_test(differences, max_exact=0, draws=20_000)
    assert exact.exact
    assert (drawn.exact, drawn.patterns) == (False, 20_000)
    assert drawn.p == pytest.approx(exact.p, abs=4 * (exact.p * (1 - exact.p) / 20_000) ** 0.5)


def test_many_differences_follow_the_t_test():
    differences = np.random.default_rng(1).normal(0.08, 1, size=999)
    _, theirs = stats.ttest_1samp(differences, 0)
    assert sign_flip_test(differences).p == pytest.approx(theirs, abs=0.01)


def test_the_same_seed_gives_the_same_p_and_p_is_never_zero():
    differences = np.random.default_rng(2).normal(0.2, 1, size=60)
    assert sign_flip_test(differences, seed=3) == sign_flip_test(differences, seed=3)
    assert sign_flip_test([1.0] * 100, draws=99).p == 1 / 100


def test_batches_do_not_change_what_is_drawn_from(monkeypatch):
    monkeypatch.setattr("longform.statistics.paired._SIGNS_AT_ONCE", 64)
    assert sign_flip_test([1.0] * 30, draws=77) == PairedTest(1 / 78, False, 77)


@pytest.mark.parametrize(("differences", "draws"), [([], 10), ([float("nan")], 10), ([float("inf"), 1], 10), ([1], 0)])
def test_what_cannot_be_tested_is_refused(differences, draws):
    with pytest.raises(ValueError, match="at least one"):
        sign_flip_test(differences, draws=draws)
