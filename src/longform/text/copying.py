"""The fraction of an answer that is copied word for word from another text: its request, or a reference.

Only long runs of words count. Independent texts on the same subject share names and common phrases, but rarely eight words
in a row.
"""

import numpy as np
from numpy.typing import NDArray

from longform.text.repetition import HAN_PER_WORD, units
from longform.text.words import count_han

LONGEST_RUN = 8
"""Length of a run, in words, that two texts do not share by chance."""
MIN_RUN = 4
_RUNS_IN_A_TEXT = 4
_BASE = np.uint64(0x9E37_79B9_7F4A_7C15)


def copied_share(answer: str, source: str, *, n: int | None = None) -> float:
    """Return the fraction of the words of `answer` that are in a run of `n` words shared with `source`.

    Args:
        answer: English, Chinese, or both; case and punctuation are ignored.
        source: The text that may have been copied.
        n: Length of a run in words; for a mainly Chinese answer, twice as many characters. None: `LONGEST_RUN` or, if
            shorter, a quarter of the shorter text, but at least `MIN_RUN`.

    Raises:
        ValueError: `n` is below 1.
    """
    if n is not None and n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    copy, original = units(answer), units(source)
    per_word = HAN_PER_WORD if 2 * count_han(answer) > len(copy) else 1
    shorter = min(len(copy), len(original)) // per_word
    words = n if n is not None else max(MIN_RUN, min(LONGEST_RUN, shorter // _RUNS_IN_A_TEXT))
    if shorter < words:
        return 0.0
    length = words * per_word
    numbers = {unit: number for number, unit in enumerate(dict.fromkeys(original), start=1)}
    runs = _runs([numbers.get(unit, 0) for unit in copy], length)
    is_shared = np.isin(runs, _runs([numbers[unit] for unit in original], length))
    starts = np.concatenate((is_shared, np.zeros(length - 1, dtype=bool))).astype(np.int64)
    begun = np.cumsum(starts)
    begun[length:] -= begun[:-length].copy()
    return float(np.mean(begun > 0))


def _runs(numbers: list[int], length: int) -> NDArray[np.uint64]:
    """Return a 64-bit hash of every run of `length` units, [units - length + 1]; collisions are negligible."""
    values = np.array(numbers, dtype=np.uint64) * _BASE
    values ^= values >> np.uint64(29)
    count = len(values) - length + 1
    hashes = np.zeros(count, dtype=np.uint64)
    for index in range(length):
        hashes = hashes * _BASE + values[index : index + count]
    return hashes
