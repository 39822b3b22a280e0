import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from longform.statistics.correlation import clustered_rank_correlation

NUMBERS = st.lists(st.integers(-5, 5), min_size=4, max_size=12)


def spearman(one, other):
    correlation, _ = spearmanr(one, other)
    return float(correlation)  # pyright: ignore[reportArgumentType]


def test_in_one_cluster_it_is_spearmans_correlation():
    one, other = [1, 5, 2, 8, 3, 3], [2, 1, 4, 9, 7, 5]
    found = clustered_rank_correlation(one, other, ["p"] * 6)
    assert found.estimate == pytest.approx(spearman(one, other))
    assert math.isnan(found.low), "one cluster says nothing of the spread between clusters"


def test_what_clusters_differ_by_as_wholes_does_not_count():
    # Within each prompt the longer text is the worse one; across prompts long ones are better.
    scores, words = [2, 1, 12, 11, 22, 21], [10, 20, 110, 120, 210, 220]
    assert spearman(scores, words) > 0.8
    assert clustered_rank_correlation(scores, words, ["a", "a", "b", "b", "c", "c"]).estimate == pytest.approx(-1)


def test_the_interval_holds_the_estimate_and_narrows_with_more_prompts():
    rng = np.random.default_rng(0)

    def interval(prompts):
        clusters = np.repeat(np.arange(prompts), 4)
        one = rng.normal(size=4 * prompts)
        return clustered_rank_correlation(one, one + rng.normal(size=4 * prompts), clusters.tolist())

    few, many = interval(10), interval(160)
    assert few.low < few.estimate < few.high
    assert many.high - many.low < 0.5 * (few.high - few.low)


def test_numbers_without_spread_have_no_correlation():
    assert math.isnan(clustered_rank_correlation([1, 1, 1, 1], [1, 2, 3, 4], list("aabb")).estimate)


@given(NUMBERS, st.randoms())
def test_a_rising_function_of_the_numbers_changes_nothing(numbers, random):
    other = [random.random() for _ in numbers]
    clusters = [place % 2 for place in range(len(numbers))]
    plain = clustered_rank_correlation(numbers, other, clusters, resamples=10)
    bent = clustered_rank_correlation([number**3 + 2 for number in numbers], other, clusters, resamples=10)
    assert plain.estimate == pytest.approx(bent.estimate, nan_ok=True)


def test_unequal_lengths_and_nothing_at_all_are_refused():
    with pytest.raises(ValueError, match="needs equally many values"):
        clustered_rank_correlation([1, 2], [1], ["a"])
    with pytest.raises(ValueError, match="needs equally many values"):
        clustered_rank_correlation([], [], [])
