"""How much a text repeats itself: n-grams, and sentences or paragraphs that are near copies of earlier ones.

All of it is linear in the text. Near copies are looked for among the segments that share part of a MinHash signature,
each against a bounded number of candidates, and confirmed by edit distance. A paragraph's signature is made of those of its
sentences, so a page is hashed once.
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
"""Chinese words have about two characters, so n-grams over characters are twice as long."""
MIN_UNITS = 6
"""Shorter segments ("Yes," she said.) repeat in good prose."""

_UNIT = re.compile(r"[\u3400-\u9fff]|[^\W_\u3400-\u9fff]+")
_TYPOGRAPHIC_MARKS = "‘’“”–—…"
_ASCII_UNITS = {code: chr(code).lower() if chr(code).isalnum() else " " for code in range(128)}
_SHINGLE = 4
_BANDS = 12


class Repeats(NamedTuple):
    """Shares of near copies among a text's segments of at least `MIN_UNITS` words."""

    sentences: float
    paragraphs: float


def units(text: str) -> list[str]:
    """What n-grams are made of: words in lower case (letters and digits) and single Chinese characters."""
    if not text.isascii():
        for mark in _TYPOGRAPHIC_MARKS:
            text = text.replace(mark, " ")
    if text.isascii():
        # The same, and several times faster.
        return text.translate(_ASCII_UNITS).split()
    return _UNIT.findall(text.lower())


def is_han(unit: str) -> bool:
    """Whether a unit is a Chinese character."""
    return "\u3400" <= unit <= "\u9fff"


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
    length = n * HAN_PER_WORD if 2 * count_han("".join(found)) > len(found) else n
    total = len(found) - length + 1
    if total < 1:
        return 0.0
    return 1.0 - _distinct_ngrams(found, length) / total


def near_copies(segments: Sequence[str], *, threshold: float = 0.9, min_units: int = MIN_UNITS) -> dict[int, int]:
    """Which segments nearly repeat an earlier one: {index of the copy: index of what it copies}.

    Args:
        segments: sentences or paragraphs, in order.
        threshold: least similarity, 1 minus the normalised insertion-deletion distance of the normalised texts.
        min_units: segments with fewer words (or Chinese characters) are left out.
    """
    words = [units(segment) for segment in segments]
    places = [place for place, found in enumerate(words) if len(found) >= min_units]
    normals = ["".join(words[place]) for place in places]
    copies = _near_copies(normals, _signatures(normals), threshold)
    return {places[copy]: places[original] for copy, original in copies.items()}


def repeats(text: str, *, threshold: float = 0.9) -> Repeats:
    """How much of a text nearly repeats what stood in it before; sentences and paragraphs are read once for both.

    Args:
        text: English, Chinese, or both.
        threshold: least similarity, see `near_copies`.
    """
    by_paragraph = sentences_by_paragraph(text)
    words = [units(sentence) for group in by_paragraph for sentence in group]
    if not words:
        return Repeats(0.0, 0.0)
    normals, counts = ["".join(found) for found in words], [len(found) for found in words]
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
    """Share of the sentences (of at least `MIN_UNITS` words) that nearly repeat an earlier one."""
    return repeats(text, threshold=threshold).sentences


def _signatures(normals: Sequence[str]) -> NDArray[np.uint32]:
    return character_signatures(normals, length=_SHINGLE, bands=_BANDS)


def _copy_share(
    normals: Sequence[str], counts: Sequence[int], signatures: NDArray[np.uint32], threshold: float
) -> float:
    """Share of near copies among the segments of at least `MIN_UNITS` words.

    Args:
        normals: the segments' units, joined.
        counts: how many they are.
        signatures: [segments, hashes].
        threshold: least similarity.
    """
    places = [place for place, count in enumerate(counts) if count >= MIN_UNITS]
    if not places:
        return 0.0
    return len(_near_copies([normals[place] for place in places], signatures[places], threshold)) / len(places)


def _near_copies(normals: Sequence[str], signatures: NDArray[np.uint32], threshold: float) -> dict[int, int]:
    """{index of the copy: index of what it copies}, by normalised text; equal ones need no comparison."""
    firsts: dict[str, int] = {}
    for place, normal in enumerate(normals):
        firsts.setdefault(normal, place)
    distinct, places = list(firsts), list(firsts.values())

    def is_near(copy: int, original: int) -> bool:
        return Indel.normalized_similarity(distinct[original], distinct[copy], score_cutoff=threshold) >= threshold

    near = {places[copy]: places[it] for copy, it in earlier_likes(signatures[places], is_near).items()}
    originals = [near.get(firsts[normal], firsts[normal]) for normal in normals]
    return {place: original for place, original in enumerate(originals) if original != place}


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
