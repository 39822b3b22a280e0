"""How much a text repeats itself: n-grams, and sentences or paragraphs that are near copies of earlier ones.

All of it is linear in the text. Near copies are looked for among the segments that share part of a MinHash signature
(Broder 1997), each against a bounded number of candidates, and confirmed by edit distance.
"""

import re
import zlib
from collections.abc import Sequence
from math import ceil, log2

import numpy as np
from rapidfuzz.distance import Indel

from longform.text.segments import paragraphs, sentences
from longform.text.words import count_han

HAN_PER_WORD = 2
"""Chinese words have about two characters, so n-grams over characters are twice as long."""
LEAST_UNITS = 6
"""Shorter segments ("Yes," she said.) repeat in good prose."""

_UNIT = re.compile(r"[\u3400-\u9fff]|[^\W_\u3400-\u9fff]+")
_SHINGLE = 4
_BANDS = 12
_ROWS = 2
_PRIME = (1 << 31) - 1
_COEFFICIENTS = np.random.default_rng(20250601).integers(1, _PRIME, size=(2, _BANDS * _ROWS), dtype=np.int64)


def units(text: str) -> list[str]:
    """What n-grams are made of: words in lower case (letters and digits) and single Chinese characters."""
    return _UNIT.findall(text.lower())


def repeated_ngram_share(text: str, *, n: int = 4) -> float:
    """Share of the n-grams of `text` that already stood before; 0 for a text shorter than `n`.

    Args:
        text: English, Chinese, or both.
        n: length in words. A mainly Chinese text is measured by `2 * n` characters.

    Raises:
        ValueError: `n` is below 1.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    found = units(text)
    length = n * HAN_PER_WORD if 2 * count_han(text) > len(found) else n
    total = len(found) - length + 1
    if total < 1:
        return 0.0
    return 1.0 - _distinct_ngrams(found, length) / total


def near_copies(segments: Sequence[str], *, threshold: float = 0.9, least_units: int = LEAST_UNITS) -> dict[int, int]:
    """Which segments nearly repeat an earlier one: {index of the copy: index of what it copies}.

    Args:
        segments: sentences or paragraphs, in order.
        threshold: least similarity, 1 minus the normalised insertion-deletion distance of the normalised texts.
        least_units: segments with fewer words (or Chinese characters) are left out.
    """
    found: dict[int, int] = {}
    firsts: dict[str, int] = {}
    holders: dict[tuple[int, int], str] = {}
    for index, segment in enumerate(segments):
        words = units(segment)
        if len(words) < least_units:
            continue
        normal = "".join(words)
        if normal in firsts:
            found[index] = firsts[normal]
            continue
        keys = _band_keys(normal)
        candidates = dict.fromkeys(holders[key] for key in keys if key in holders)
        original = next((c for c in candidates if _is_near(c, normal, threshold)), None)
        if original is not None:
            found[index] = firsts[original]
            firsts[normal] = firsts[original]
            continue
        firsts[normal] = index
        for key in keys:
            holders.setdefault(key, normal)
    return found


def repeated_sentence_share(text: str, *, threshold: float = 0.9) -> float:
    """Share of the sentences (of at least `LEAST_UNITS` words) that nearly repeat an earlier one."""
    return _copy_share(sentences(text), threshold)


def repeated_paragraph_share(text: str, *, threshold: float = 0.9) -> float:
    """Share of the paragraphs (of at least `LEAST_UNITS` words) that nearly repeat an earlier one."""
    return _copy_share(paragraphs(text), threshold)


def _copy_share(segments: Sequence[str], threshold: float) -> float:
    long_enough = [segment for segment in segments if len(units(segment)) >= LEAST_UNITS]
    return len(near_copies(long_enough, threshold=threshold)) / len(long_enough) if long_enough else 0.0


def _distinct_ngrams(found: list[str], length: int) -> int:
    """Different n-grams among `found`.

    Units are numbered and as many numbers as fit are packed into one integer; where a gram is longer than that, packs are
    renumbered and packed again, so no two grams can collide.
    """
    numbers = {unit: number for number, unit in enumerate(dict.fromkeys(found))}
    grams = np.fromiter(map(numbers.__getitem__, found), dtype=np.int64, count=len(found))
    held, distinct = 1, len(numbers)
    while held < length:
        parts = min(int(63 / log2(distinct + 1)), ceil(length / held))
        shifts = [min(part * held, length - held) for part in range(parts)]
        held += shifts[-1]
        packed = np.zeros(len(grams) - shifts[-1], dtype=np.int64)
        for shift in shifts:
            packed = packed * distinct + grams[shift : shift + len(packed)]
        if held == length:
            # Several times faster than np.unique, which hashes where only a count is asked for.
            packed.sort()
            return 1 + int(np.count_nonzero(packed[1:] != packed[:-1]))
        values, grams = np.unique(packed, return_inverse=True)
        distinct = len(values)
    return distinct


def _band_keys(normal: str) -> list[tuple[int, int]]:
    """The bands of the MinHash signature of the character shingles of `normal`."""
    shingles = {normal[i : i + _SHINGLE] for i in range(max(1, len(normal) - _SHINGLE + 1))}
    hashes = np.fromiter((zlib.crc32(s.encode()) for s in shingles), dtype=np.int64, count=len(shingles)) % _PRIME
    multipliers, offsets = _COEFFICIENTS
    signature = ((hashes[:, None] * multipliers + offsets) % _PRIME).min(axis=0)
    return [(band, hash(tuple(rows))) for band, rows in enumerate(signature.reshape(_BANDS, _ROWS).tolist())]


def _is_near(one: str, other: str, threshold: float) -> bool:
    return Indel.normalized_similarity(one, other, score_cutoff=threshold) >= threshold
