"""Repetition within a text: repeated n-grams, and sentences or paragraphs that are near copies of earlier ones.

All measures take linear time. Segments that share part of a MinHash signature are candidates for near copies; each segment
is compared with a bounded number of candidates by edit distance. A paragraph's signature combines those of its sentences, so
a text is hashed once.
"""

import re
from collections.abc import Sequence
from itertools import accumulate
from math import ceil, log2
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import Indel

from longform.text.minhash import character_signatures, earlier_likes
from longform.text.segments import sentences_by_paragraph
from longform.text.words import count_han

HAN_PER_WORD = 2
"""Chinese words have about two characters, so character n-grams are twice as long as word n-grams."""
MIN_UNITS = 6
"""Minimum length of a segment in words; shorter ones ("Yes," she said.) repeat in good prose."""

_UNIT = re.compile(r"[\u3400-\u9fff]|[^\W_\u3400-\u9fff]+")
_TYPOGRAPHIC_MARKS = "‘’“”–—…"
_ASCII_UNITS = {code: chr(code).lower() if chr(code).isalnum() else " " for code in range(128)}
_SHINGLE = 4
_BANDS = 12


class Repeats(NamedTuple):
    """Fractions of near copies among the segments of at least `MIN_UNITS` words."""

    sentences: float
    paragraphs: float


def units(text: str) -> list[str]:
    """Split a text into the units of n-grams: lower-case words (letters and digits) and single Chinese characters."""
    if not text.isascii():
        for mark in _TYPOGRAPHIC_MARKS:
            text = text.replace(mark, " ")
    if text.isascii():
        # Equivalent and several times faster.
        return text.translate(_ASCII_UNITS).split()
    return _UNIT.findall(text.lower())


def is_han(unit: str) -> bool:
    """Whether a unit is a Chinese character."""
    return "\u3400" <= unit <= "\u9fff"


def repeated_ngram_share(text: str, *, n: int = 4) -> float:
    """Return the fraction of the n-grams of `text` that repeat an earlier one; 0 for a text shorter than `n`.

    Args:
        text: English, Chinese, or both.
        n: Length in words; for a mainly Chinese text, `2 * n` characters.

    Raises:
        ValueError: `n` is below 1.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    tokens = units(text)
    length = n * HAN_PER_WORD if 2 * count_han("".join(tokens)) > len(tokens) else n
    total = len(tokens) - length + 1
    if total < 1:
        return 0.0
    return 1.0 - _distinct_ngrams(tokens, length) / total


def near_copies(segments: Sequence[str], *, threshold: float = 0.9, min_units: int = MIN_UNITS) -> dict[int, int]:
    """Find the segments that are near copies of an earlier one: {index of the copy: index of the original}.

    Args:
        segments: Sentences or paragraphs, in order.
        threshold: Minimum similarity: 1 minus the normalized insertion-deletion distance of the normalized texts.
        min_units: Segments with fewer words (or Chinese characters) are ignored.
    """
    words = [units(segment) for segment in segments]
    indices = [index for index, units_of_segment in enumerate(words) if len(units_of_segment) >= min_units]
    normals = ["".join(words[index]) for index in indices]
    copies = _near_copies(normals, _signatures(normals), threshold)
    return {indices[copy]: indices[original] for copy, original in copies.items()}


def repeats(text: str, *, threshold: float = 0.9) -> Repeats:
    """Return the fractions of near copies among sentences and paragraphs, in one pass over the text.

    Args:
        text: English, Chinese, or both.
        threshold: Minimum similarity (see `near_copies`).
    """
    by_paragraph = sentences_by_paragraph(text)
    words = [units(sentence) for group in by_paragraph for sentence in group]
    if not words:
        return Repeats(0.0, 0.0)
    normals, counts = ["".join(it) for it in words], [len(it) for it in words]
    signatures = _signatures(normals)
    stops = list(accumulate(map(len, by_paragraph)))
    starts = [0, *stops[:-1]]
    return Repeats(
        _copy_share(normals, counts, signatures, threshold),
        _copy_share(
            ["".join(normals[start:stop]) for start, stop in zip(starts, stops, strict=True)],
            [sum(counts[start:stop]) for start, stop in zip(starts, stops, strict=True)],
            np.minimum.reduceat(signatures, starts, axis=0),
            threshold,
        ),
    )


def repeated_sentence_share(text: str, *, threshold: float = 0.9) -> float:
    """Return the fraction of the sentences (of at least `MIN_UNITS` words) that are near copies of an earlier one."""
    return repeats(text, threshold=threshold).sentences


def _signatures(normals: Sequence[str]) -> NDArray[np.uint32]:
    return character_signatures(normals, length=_SHINGLE, bands=_BANDS)


def _copy_share(
    normals: Sequence[str], counts: Sequence[int], signatures: NDArray[np.uint32], threshold: float
) -> float:
    """Return the fraction of near copies among the segments of at least `MIN_UNITS` words.

    Args:
        normals: The segments' units, joined.
        counts: Number of units per segment.
        signatures: [segments, hashes].
        threshold: Minimum similarity.
    """
    indices = [index for index, count in enumerate(counts) if count >= MIN_UNITS]
    if not indices:
        return 0.0
    return len(_near_copies([normals[index] for index in indices], signatures[indices], threshold)) / len(indices)


def _near_copies(normals: Sequence[str], signatures: NDArray[np.uint32], threshold: float) -> dict[int, int]:
    """Return {index of the copy: index of the original} by normalized text; equal texts are not compared."""
    firsts: dict[str, int] = {}
    for index, normal in enumerate(normals):
        firsts.setdefault(normal, index)
    distinct, indices = list(firsts), list(firsts.values())

    def is_near(copy: int, original: int) -> bool:
        return Indel.normalized_similarity(distinct[original], distinct[copy], score_cutoff=threshold) >= threshold

    near = {indices[copy]: indices[it] for copy, it in earlier_likes(signatures[indices], is_near).items()}
    originals = [near.get(firsts[normal], firsts[normal]) for normal in normals]
    return {index: original for index, original in enumerate(originals) if original != index}


def _distinct_ngrams(tokens: list[str], length: int) -> int:
    """Count the distinct n-grams of the units.

    Units are numbered, and as many numbers as fit are packed into one integer; for longer n-grams, the packed numbers are
    renumbered and packed again, so distinct n-grams cannot collide.
    """
    numbers = {unit: number for number, unit in enumerate(dict.fromkeys(tokens))}
    grams = np.fromiter(map(numbers.__getitem__, tokens), dtype=np.int64, count=len(tokens))
    held, distinct = 1, len(numbers)
    while held < length:
        parts = min(int(63 / log2(distinct + 1)), ceil(length / held))
        shifts = [min(part * held, length - held) for part in range(parts)]
        held += shifts[-1]
        packed = np.zeros(len(grams) - shifts[-1], dtype=np.int64)
        for shift in shifts:
            packed = packed * distinct + grams[shift : shift + len(packed)]
        if held == length:
            # Several times faster than np.unique, which also hashes if only a count is needed.
            packed.sort()
            return 1 + int(np.count_nonzero(packed[1:] != packed[:-1]))
        values, grams = np.unique(packed, return_inverse=True)
        distinct = len(values)
    return distinct
