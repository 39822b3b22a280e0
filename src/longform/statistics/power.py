"""Power of a t-test: which differences a study could have found, and how many seeds a difference of a stated size needs.

scipy.stats takes a second to import, so what uses it imports it: most commands read no power.
"""

import math


def paired_power(difference: float, sd: float, seeds: int, level: float = 0.05) -> float:
    """Return the probability that a two-sided paired t-test over seeds finds a difference, in either direction.

    The test statistic follows a noncentral t distribution with `seeds - 1` degrees of freedom and noncentrality
    `difference / sd * sqrt(seeds)` (Cohen, Statistical Power Analysis, chapter 2). Without a difference it is the level.

    Args:
        difference: True mean difference between two arms.
        sd: Standard deviation over seeds of the paired difference.
        seeds: Number of seeds; one seed has no power, because its standard deviation is unknown.
        level: Two-sided level of the test.

    Raises:
        ValueError: `sd` is negative or a figure is not finite, `seeds` is below 1, or `level` lies outside (0, 1).
    """
    if not (math.isfinite(difference) and math.isfinite(sd) and sd >= 0):
        raise ValueError(f"difference and sd must be finite, and sd at least 0: {difference}, {sd}")
    if seeds < 1 or not 0 < level < 1:
        raise ValueError(f"seeds must be at least 1, and level between 0 and 1: {seeds}, {level}")
    if seeds == 1:
        return 0.0
    return t_test_power(difference, sd / math.sqrt(seeds), seeds - 1, level)


def t_test_power(difference: float, standard_error: float, freedom: float, level: float = 0.05) -> float:
    """Return the probability that a two-sided t-test finds a difference, in either direction.

    Args:
        difference: True difference.
        standard_error: Standard error of its estimate; 0 finds every difference.
        freedom: Degrees of freedom of the standard error, above 0.
        level: Two-sided level of the test, which is the result without a difference.
    """
    from scipy.stats import nct, t

    effect = abs(difference)
    if effect == 0:
        return level
    if standard_error == 0:
        return 1.0
    shift, critical = effect / standard_error, float(t.ppf(1 - level / 2, freedom))
    # The mass beyond the other critical value matters only for small effects; there and for large ones scipy can return NaN.
    beyond, opposite = float(nct.sf(critical, freedom, shift)), float(nct.cdf(-critical, freedom, shift))
    if math.isnan(beyond):
        return 1.0
    return min(1.0, beyond + (0.0 if math.isnan(opposite) else opposite))


def seeds_needed(difference: float, sd: float, power: float = 0.8, level: float = 0.05, limit: int = 100) -> int | None:
    """Return the smallest number of seeds at which `paired_power` reaches `power`; None if more than `limit` are needed.

    Raises:
        ValueError: a figure is outside its range; see `paired_power`.
    """
    return next((seeds for seeds in range(2, limit + 1) if paired_power(difference, sd, seeds, level) >= power), None)


def detectable_difference(standard_error: float, freedom: float, power: float = 0.8, level: float = 0.05) -> float:
    """Return the difference that `t_test_power` finds with the given probability; NaN without a standard error.

    Args:
        standard_error: Standard error of the estimated difference.
        freedom: Degrees of freedom of the standard error.
        power: Probability of finding it, above `level` and below 1.
        level: Two-sided level of the test.
    """
    from scipy.optimize import brentq
    from scipy.stats import t

    if not standard_error > 0 or not freedom > 0:
        return 0.0 if standard_error == 0 and freedom > 0 else math.nan
    upper = float(t.ppf(1 - level / 2, freedom)) + float(t.ppf(0.999, freedom)) + 5
    ratio = brentq(lambda it: t_test_power(it, 1.0, freedom, level) - power, 1e-6, upper)
    return float(ratio) * standard_error  # pyright: ignore[reportArgumentType]
