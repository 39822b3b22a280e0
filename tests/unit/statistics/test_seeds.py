"""Means over seeds and prompts, and the coverage of their intervals."""

import math

import numpy as np
import pytest
from scipy.stats import t

from longform.statistics.seeds import mean_over_seeds


def test_with_other_prompts_for_each_seed_it_is_a_t_interval_over_the_means_of_seeds():
    found = mean_over_seeds({1: {"a": 1.0, "b": 3.0}, 2: {"c": 4.0}, 3: {"d": 5.0, "e": 7.0}})
    # Means of seeds: 2, 4, 6; their standard deviation is 2.
    margin = 4.302652729911275 * 2 / math.sqrt(3)
    assert found.interval == pytest.approx((4.0, 4.0 - margin, 4.0 + margin))
    assert (found.freedom, found.seeds, found.prompts) == (2, 3, 2)


def test_seeds_whose_means_are_equal_by_chance_leave_the_variance_of_their_prompts():
    # In each seed one prompt of four differs by a half: means of 1/8, whose spread is 0.
    values = [0.5, 0.0, 0.0, 0.0]
    found = mean_over_seeds({seed: {f"{seed}/{i}": it for i, it in enumerate(values)} for seed in range(3)})
    assert found.standard_error == pytest.approx(math.sqrt(np.var(values, ddof=1) / 4 / 3))
    assert found.freedom == pytest.approx(9)
    assert found.interval.low < 0 < found.interval.estimate == 0.125
    crossed = mean_over_seeds({1: {"a": 0.5, "b": 0.0}, 2: {"a": 0.0, "b": 0.5}})
    assert crossed.standard_error == pytest.approx(math.sqrt(0.25 / 4)), "of the residuals"
    assert crossed.freedom == 1


@pytest.mark.parametrize("of_seeds", [0.0, 0.2])
def test_intervals_with_other_prompts_for_each_seed_cover_the_true_mean(of_seeds):
    rng, covered, draws = np.random.default_rng(5), 0, 600
    for _ in range(draws):
        table = of_seeds * rng.normal(size=(3, 1)) + rng.choice([-0.5, 0.0, 0.5], size=(3, 12), p=[0.1, 0.8, 0.1])
        values = {s: {f"{s}/{i}": float(value) for i, value in enumerate(row)} for s, row in enumerate(table)}
        low, high = mean_over_seeds(values).interval[1:]
        covered += low <= 0 <= high
    assert 0.93 <= covered / draws <= 0.999


def test_with_the_same_prompts_for_every_seed_both_vary():
    # Two seeds, three prompts. Rows 2, 4; columns 1, 3, 5; no residual: MS_seeds 6, MS_prompts 8, MS_residual 0.
    found = mean_over_seeds({1: {"a": 0.0, "b": 2.0, "c": 4.0}, 2: {"a": 2.0, "b": 4.0, "c": 6.0}})
    assert found.standard_error == pytest.approx(math.sqrt(14 / 6))
    assert found.freedom == pytest.approx(14**2 / (6**2 / 1 + 8**2 / 2))
    assert found.interval.estimate == 3.0


def test_a_seed_that_makes_no_difference_leaves_the_variance_of_the_prompts():
    values = {"a": 1.0, "b": 2.0, "c": 6.0}
    found = mean_over_seeds({1: values, 2: dict(values)})
    assert found.standard_error == pytest.approx(np.std(list(values.values()), ddof=1) / math.sqrt(3))
    assert found.freedom == 2


def test_a_single_seed_has_an_interval_over_prompts():
    found = mean_over_seeds({7: {"a": 1.0, "b": 2.0, "c": 6.0}})
    margin = t.ppf(0.975, 2) * np.std([1, 2, 6], ddof=1) / math.sqrt(3)
    assert found.interval == pytest.approx((3.0, 3.0 - margin, 3.0 + margin))


def test_a_single_value_has_no_interval():
    found = mean_over_seeds({1: {"": 4.0}})
    assert found.interval.estimate == 4.0
    assert math.isnan(found.interval.low)


def test_a_prompt_that_a_seed_lacks_is_left_out():
    found = mean_over_seeds({1: {"a": 1.0, "b": 2.0, "x": 99.0}, 2: {"a": 3.0, "b": 4.0}})
    assert (found.interval.estimate, found.prompts) == (2.5, 2)


@pytest.mark.parametrize("values", [{}, {1: {}}, {1: {"a": math.nan}}])
def test_no_values_are_refused(values):
    with pytest.raises(ValueError, match="needs"):
        mean_over_seeds(values)


@pytest.mark.parametrize(("of_seeds", "of_prompts"), [(1.0, 0.0), (0.0, 1.0), (0.5, 1.0), (0.0, 0.0)])
@pytest.mark.parametrize("seeds", [3, 6])
def test_intervals_cover_the_true_mean_as_often_as_they_say(of_seeds, of_prompts, seeds):
    rng, covered, draws = np.random.default_rng(4), 0, 600
    for _ in range(draws):
        table = of_seeds * rng.normal(size=(seeds, 1)) + of_prompts * rng.normal(size=(1, 30))
        table = table + rng.normal(size=(seeds, 30))
        low, high = mean_over_seeds(
            {seed: {str(i): float(value) for i, value in enumerate(row)} for seed, row in enumerate(table)}
        ).interval[1:]
        covered += low <= 0 <= high
    assert 0.92 <= covered / draws <= 0.995
