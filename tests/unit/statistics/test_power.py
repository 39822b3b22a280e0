"""Power of a paired t-test, against published figures, an integral over the chi-squared variance, and simulated tests."""

import math

import numpy as np
import pytest
from scipy.stats import chi2, norm, t

from longform.statistics.power import paired_power, seeds_needed


def _integrated(difference: float, sd: float, seeds: int, level: float) -> float:
    """The power without a noncentral t: the mean over the sample variance of two normal tails."""
    freedom, shift = seeds - 1, abs(difference) / sd * math.sqrt(seeds)
    critical = t.ppf(1 - level / 2, freedom)
    quantiles = (np.arange(200_000) + 0.5) / 200_000
    bound = critical * np.sqrt(chi2.ppf(quantiles, freedom) / freedom)
    return float(np.mean(norm.sf(bound - shift) + norm.cdf(-bound - shift)))


@pytest.mark.parametrize(("effect", "seeds", "power"), [(0.5, 34, 0.808), (1.0, 10, 0.803), (0.2, 199, 0.802)])
def test_the_power_equals_published_figures(effect: float, seeds: int, power: float) -> None:
    # G*Power 3.1, "difference between two dependent means", two tails, level 0.05
    assert paired_power(effect, 1.0, seeds) == pytest.approx(power, abs=0.001)


@pytest.mark.parametrize("seeds", [2, 3, 5, 10, 40])
@pytest.mark.parametrize(("difference", "sd", "level"), [(0.1, 1.0, 0.05), (-0.03, 0.02, 0.05), (0.8, 1.0, 0.01)])
def test_the_power_equals_the_integral_over_the_variance(
    difference: float, sd: float, level: float, seeds: int
) -> None:
    assert paired_power(difference, sd, seeds, level) == pytest.approx(
        _integrated(difference, sd, seeds, level), abs=1e-4
    )


def test_simulated_tests_reject_as_often_as_the_power_says() -> None:
    samples = np.random.default_rng(0).normal(0.8, 1.0, (100_000, 5))
    statistics = samples.mean(1) / samples.std(1, ddof=1) * math.sqrt(5)
    rejected = np.mean(np.abs(statistics) > t.ppf(0.975, 4))
    assert paired_power(0.8, 1.0, 5) == pytest.approx(rejected, abs=0.006)


def test_without_a_difference_the_power_is_the_level() -> None:
    assert paired_power(0.0, 1.0, 5, level=0.1) == 0.1
    assert paired_power(1e-9, 1.0, 5, level=0.1) == pytest.approx(0.1)


def test_one_seed_has_no_power_and_a_difference_without_spread_is_always_found() -> None:
    assert paired_power(100.0, 1.0, 1) == 0.0
    assert paired_power(0.1, 0.0, 2) == 1.0
    assert paired_power(1e4, 1e-3, 10) == 1.0


def test_the_power_is_symmetric_and_grows_with_difference_and_seeds() -> None:
    assert paired_power(-0.7, 1.0, 6) == paired_power(0.7, 1.0, 6)
    by_seeds = [paired_power(0.7, 1.0, seeds) for seeds in range(2, 60)]
    by_difference = [paired_power(size / 10, 1.0, 10) for size in range(60)]
    assert by_seeds == sorted(by_seeds)
    assert by_difference == sorted(by_difference)


def test_seeds_needed_is_the_first_number_that_reaches_the_power() -> None:
    assert seeds_needed(0.5, 1.0) == 34
    assert seeds_needed(1.0, 1.0) == 10
    assert paired_power(0.9, 1.0, 12) >= 0.8 > paired_power(0.9, 1.0, 11)
    assert seeds_needed(0.9, 1.0) == 12
    assert seeds_needed(1.0, 0.0) == 2


def test_a_difference_that_needs_more_seeds_than_the_limit_has_no_number() -> None:
    assert seeds_needed(0.5, 1.0, limit=33) is None
    assert seeds_needed(0.0, 1.0) is None


@pytest.mark.parametrize(
    ("difference", "sd", "seeds", "level"),
    [(math.nan, 1.0, 5, 0.05), (1.0, -1.0, 5, 0.05), (1.0, math.inf, 5, 0.05), (1.0, 1.0, 0, 0.05), (1.0, 1.0, 5, 1.0)],
)
def test_figures_outside_their_range_are_refused(difference: float, sd: float, seeds: int, level: float) -> None:
    with pytest.raises(ValueError, match="must be"):
        paired_power(difference, sd, seeds, level)
