"""Paired numbers: which of two is larger, and the sign-flip permutation test, which assumes no distribution.

If A and B did not differ, each prompt's difference could equally have the opposite sign. The p-value is the fraction of sign
patterns whose mean is at least as far from 0 as the observed one (R. A. Fisher, The Design of Experiments, 1935, section
21). Differences of 0 have no effect.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

MAX_EXACT = 20
"""Maximum number of nonzero differences for an exact test: a million sign patterns."""
_SIGNS_AT_ONCE = 4_000_000
_ROUNDING = 1e-12


class PairedTest(NamedTuple):
    """Result of a paired test."""

    p: float
    """Two-sided."""
    exact: bool
    """Whether all sign patterns were enumerated."""
    patterns: int
    """Number of sign patterns, enumerated or drawn at random."""


def pair_wins(pairs: np.ndarray) -> np.ndarray:
    """Return 1 if the first number of a pair is larger, 0.5 if both are equal, else 0.

    Args:
        pairs: [pairs, 2].

    Returns:
        [pairs]; the mean is the accuracy of scores whose first number should be larger.
    """
    return (np.sign(pairs[:, 0] - pairs[:, 1]) + 1) / 2


def sign_flip_test(
    differences: Sequence[float] | np.ndarray, *, draws: int = 10_000, seed: int = 0, max_exact: int = MAX_EXACT
) -> PairedTest:
    """Test whether the mean of paired differences is 0.

    Args:
        differences: [pairs] one difference per independent pair.
        draws: Number of random sign patterns if there are too many to enumerate. The observed pattern is added, so that p is
            never 0 (Phipson & Smyth 2010).
        seed: Random seed; the same input gives the same p.
        max_exact: Maximum number of nonzero differences for enumeration.

    Raises:
        ValueError: there are no differences or no draws, or a difference is not finite.
    """
    numbers = np.asarray(differences, dtype=np.float64)
    if not len(numbers) or not np.isfinite(numbers).all() or draws < 1:
        raise ValueError("needs at least one difference, finite numbers, and at least one draw")
    numbers = numbers[numbers != 0]
    # Sums in another order differ by rounding and must count as equal.
    far = abs(float(numbers.sum())) - _ROUNDING * float(np.abs(numbers).sum())
    if len(numbers) <= max_exact:
        sums = _all_sums(numbers)
        return PairedTest(float(np.mean(np.abs(sums) >= far)), True, 2 ** len(numbers))
    extreme = _count_far(numbers, far, draws, np.random.default_rng(seed))
    return PairedTest((extreme + 1) / (draws + 1), False, draws)


def _all_sums(numbers: np.ndarray) -> np.ndarray:
    """Return the sums under all sign patterns; the first sign is fixed by symmetry."""
    sums = numbers[:1].copy() if len(numbers) else np.zeros(1)
    for number in numbers[1:]:
        sums = np.concatenate([sums + number, sums - number])
    return sums


def _count_far(numbers: np.ndarray, far: float, draws: int, rng: np.random.Generator) -> int:
    """Count the random sign patterns whose sum is at least `far` from 0; in batches, to bound memory."""
    batch, extreme, total = max(1, _SIGNS_AT_ONCE // len(numbers)), 0, numbers.sum()
    width = (len(numbers) + 7) // 8
    for start in range(0, draws, batch):
        random = rng.integers(256, size=(min(batch, draws - start), width), dtype=np.uint8)
        chosen = np.unpackbits(random, axis=1, count=len(numbers))
        extreme += int(np.count_nonzero(np.abs(2 * (chosen @ numbers) - total) >= far))
    return extreme
