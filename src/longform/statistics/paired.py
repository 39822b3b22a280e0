"""A test of paired differences that assumes no distribution: the sign-flip permutation test.

If A and B did not differ, each prompt's difference could as well have had the other sign. How many of all sign patterns
give a mean at least as far from 0 as the one found is the p-value (R. A. Fisher, The Design of Experiments, 1935, section
21). Differences of 0 change no pattern's mean, so they count for nothing here.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

MAX_EXACT = 20
"""Differences other than 0 up to which all sign patterns are looked at: a million."""
_SIGNS_AT_ONCE = 4_000_000
_ROUNDING = 1e-12


class PairedTest(NamedTuple):
    """How easily the differences found could have come from chance alone."""

    p: float
    """Two-sided."""
    exact: bool
    """All sign patterns were looked at."""
    patterns: int
    """Sign patterns looked at; where not all are, drawn at random."""


def sign_flip_test(
    differences: Sequence[float] | np.ndarray, *, draws: int = 10_000, seed: int = 0, max_exact: int = MAX_EXACT
) -> PairedTest:
    """Test whether the mean of paired differences is 0.

    Args:
        differences: [pairs] one for each independent pair.
        draws: random sign patterns where there are too many to look at all. The pattern found counts as one more, so that p
            is never 0 (Phipson & Smyth 2010).
        seed: of the draws; the same input gives the same p.
        most_exact: differences other than 0 up to which all patterns are looked at.

    Raises:
        ValueError: no differences, one that is no finite number, or no draws.
    """
    numbers = np.asarray(differences, dtype=np.float64)
    if not len(numbers) or not np.isfinite(numbers).all() or draws < 1:
        raise ValueError("needs at least one difference, finite numbers, and at least one draw")
    numbers = numbers[numbers != 0]
    # Sums of the same numbers in another order differ by rounding, and must count as equal.
    far = abs(float(numbers.sum())) - _ROUNDING * float(np.abs(numbers).sum())
    if len(numbers) <= max_exact:
        sums = _all_sums(numbers)
        return PairedTest(float(np.mean(np.abs(sums) >= far)), True, 2 ** len(numbers))
    found = _count_far(numbers, far, draws, np.random.default_rng(seed))
    return PairedTest((found + 1) / (draws + 1), False, draws)


def _all_sums(numbers: np.ndarray) -> np.ndarray:
    """The sums under all sign patterns; the first sign is fixed, since patterns come in mirrored pairs."""
    sums = numbers[:1].copy() if len(numbers) else np.zeros(1)
    for number in numbers[1:]:
        sums = np.concatenate([sums + number, sums - number])
    return sums


def _count_far(numbers: np.ndarray, far: float, draws: int, rng: np.random.Generator) -> int:
    """How many of `draws` random sign patterns have a sum at least `far` from 0; in batches, to bound the memory."""
    batch, found, total = max(1, _SIGNS_AT_ONCE // len(numbers)), 0, numbers.sum()
    width = (len(numbers) + 7) // 8
    for start in range(0, draws, batch):
        random = rng.integers(256, size=(min(batch, draws - start), width), dtype=np.uint8)
        chosen = np.unpackbits(random, axis=1, count=len(numbers))
        found += int(np.count_nonzero(np.abs(2 * (chosen @ numbers) - total) >= far))
    return found
