"""Repetition within a text (n-grams, near copies, reworded sentences, stuffing), and runs of words copied from another text.

All measures take linear time. Near copies: segments that share part of a MinHash signature are candidates; each segment is
compared with a bounded number of candidates by edit distance. A paragraph's signature combines those of its sentences, so a
text is hashed once.

Reworded sentences share most of their content words with an earlier one without being near copies of it. Words are compared
by character n-grams, which is robust to inflection, moved clauses and changed function words but not to synonyms. What
they find in honest prose is mostly parallels, so the share serves to watch a writer change, not to penalize a sentence
(benchmarks/redundancy_pairs.py).

Stuffing spends a text on single words, which exploits a judge's favourite words. Names and topics recur in normal texts too,
the most frequent one more often than the second, so the limit decreases with a word's rank. Chinese words are counted as
pairs of characters, because Chinese text is not segmented into words here.

Copied runs: only long runs of words count. Independent texts on the same subject share names and common phrases, but rarely
eight words in a row.
"""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate, chain, pairwise
from math import ceil, log2, sqrt
from typing import NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import Indel

from longform.text.chinese import to_simplified
from longform.text.function_words import FUNCTION_CHARACTERS, FUNCTION_WORDS, is_function_pair
from longform.text.minhash import character_signatures, earlier_likes, signatures
from longform.text.words import count_han, sentences, sentences_by_paragraph

HAN_PER_WORD = 2
"""Chinese words have about two characters, so character n-grams are twice as long as word n-grams."""
MIN_UNITS = 6
"""Minimum length of a segment in words; shorter ones ("Yes," she said.) repeat in good prose."""

_UNIT = re.compile(r"[\u3400-\u9fff]|[^\W_\u3400-\u9fff]+")
_TYPOGRAPHIC_MARKS = "‘’“”–—…"
_ASCII_UNITS = {code: chr(code).lower() if chr(code).isalnum() else " " for code in range(128)}
_SHINGLE = 4
_COPY_BANDS = 12


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
    length = _length_in_units(tokens, n)
    total = len(tokens) - length + 1
    if total < 1:
        return 0.0
    return 1.0 - _distinct_ngrams(tokens, length) / total


def repeated_ngram_units(words: Sequence[str], *, n: int = 4) -> list[bool]:
    """Which units of a text are in a sequence that repeats an earlier one. See `repeated_ngram_share`."""
    length, seen, repeated = _length_in_units(words, n), set[tuple[str, ...]](), [False] * len(words)
    for start in range(len(words) - length + 1):
        gram = tuple(words[start : start + length])
        if gram in seen:
            repeated[start : start + length] = [True] * length
        seen.add(gram)
    return repeated


def _length_in_units(words: Sequence[str], n: int) -> int:
    return n * HAN_PER_WORD if 2 * count_han("".join(words)) > len(words) else n


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
    return character_signatures(normals, length=_SHINGLE, bands=_COPY_BANDS)


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


MIN_WORDS = 5
"""Minimum number of content words; shorter sentences ("I don't know," he said.) have too little content to compare."""
MIN_OVERLAP = 0.5
"""Minimum Jaccard similarity of n-grams. At 0.5, 1% of the sentences in essays and stories of eight language models are
flagged, a third of them correctly; most paraphrases do not reach it."""

_GRAM = 4
_REWORDED_BANDS = 24


def reworded_sentence_share(text: str, *, min_words: int = MIN_WORDS) -> float:
    """Return the fraction of the sentences of `text` that share most of their content words with an earlier one.

    Args:
        text: English, Chinese, or both.
        min_words: Sentences with fewer content words are ignored; two Chinese characters count as one word.
    """
    content = [(sentence, _content(sentence)) for sentence in sentences(text)]
    kept = [(sentence, words) for sentence, words in content if _count(words) >= min_words]
    if len(kept) < 2:
        return 0.0
    copies = near_copies([sentence for sentence, _ in kept], min_units=1)
    return _alike_in_grams([words for index, (_, words) in enumerate(kept) if index not in copies]) / len(kept)


def _content(sentence: str) -> list[str]:
    """Return the units of a sentence without function words."""
    return [it for it in units(to_simplified(sentence)) if it not in FUNCTION_WORDS and it not in FUNCTION_CHARACTERS]


def _count(words: list[str]) -> float:
    return sum(1 / HAN_PER_WORD if is_han(word) else 1.0 for word in words)


def _alike_in_grams(contents: Sequence[list[str]]) -> int:
    """Count the sentences, given as content words, that share `MIN_OVERLAP` of their n-grams with an earlier one."""
    grams_of: dict[str, list[int]] = {}
    grams = [_grams(words, grams_of) for words in contents]
    starts = np.array([0, *accumulate(map(len, grams))][:-1], dtype=np.int64)
    hashes = np.fromiter(chain.from_iterable(grams), dtype=np.uint32, count=sum(map(len, grams)))

    def is_alike(later: int, earlier: int) -> bool:
        shared = len(grams[later] & grams[earlier])
        return shared >= MIN_OVERLAP * (len(grams[later]) + len(grams[earlier]) - shared)

    return len(earlier_likes(signatures(hashes, starts, bands=_REWORDED_BANDS), is_alike))


def _grams(words: list[str], known: dict[str, list[int]]) -> set[int]:
    """Hash the n-grams within each word; for Chinese, single characters and pairs.

    Args:
        words: Words of a sentence.
        known: Cache of the hashes per word; updated in place.
    """
    hashes: set[int] = set()
    for word in words:
        if word not in known:
            bounded = word if is_han(word) else f" {word} "
            last = max(1, len(bounded) - _GRAM + 1)
            known[word] = [crc32(bounded[index : index + _GRAM].encode()) for index in range(last)]
        hashes.update(known[word])
    hashes.update(crc32((one + other).encode()) for one, other in pairwise(words) if is_han(one) and is_han(other))
    return hashes


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
    copied = copied_units(units(answer), units(source), n=n)
    return float(np.mean(copied)) if len(copied) else 0.0


def copied_units(copy: Sequence[str], original: Sequence[str], *, n: int | None = None) -> NDArray[np.bool_]:
    """Which units of a text are in a run shared with another text: [units] flags. See `copied_share`.

    Raises:
        ValueError: `n` is below 1.
    """
    if n is not None and n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    per_word = HAN_PER_WORD if 2 * count_han("".join(copy)) > len(copy) else 1
    shorter = min(len(copy), len(original)) // per_word
    words = n if n is not None else max(MIN_RUN, min(LONGEST_RUN, shorter // _RUNS_IN_A_TEXT))
    if shorter < words:
        return np.zeros(len(copy), dtype=np.bool_)
    length = words * per_word
    numbers = {unit: number for number, unit in enumerate(dict.fromkeys(original), start=1)}
    runs = _runs([numbers.get(unit, 0) for unit in copy], length)
    is_shared = np.isin(runs, _runs([numbers[unit] for unit in original], length))
    starts = np.concatenate((is_shared, np.zeros(length - 1, dtype=bool))).astype(np.int64)
    begun = np.cumsum(starts)
    begun[length:] -= begun[:-length].copy()
    return begun > 0


def _runs(numbers: list[int], length: int) -> NDArray[np.uint64]:
    """Return a 64-bit hash of every run of `length` units, [units - length + 1]; collisions are negligible."""
    values = np.array(numbers, dtype=np.uint64) * _BASE
    values ^= values >> np.uint64(29)
    count = len(values) - length + 1
    hashes = np.zeros(count, dtype=np.uint64)
    for index in range(length):
        hashes = hashes * _BASE + values[index : index + count]
    return hashes


NATURAL_SHARE = 0.05
"""Natural fraction of the most frequent content word. 98% of the essays and stories of eight language models stay below;
some screenplays (names before lines) and some essays (the topic in every sentence) reach 0.07."""
NATURAL_COUNT = 6
"""Natural count in short texts: a hero may be named six times in a story of sixty words."""
MIN_COUNT = 3
"""Number of uses that is allowed for any word."""


def stuffed_share(text: str) -> float:
    """Return the fraction of the words of `text` that repeat a content word beyond natural use.

    The content word of rank r is allowed `max(NATURAL_COUNT, NATURAL_SHARE * words) / sqrt(r)` uses, and at least
    `MIN_COUNT`; every further use counts as stuffing. Function words are exempt.
    """
    words = units(text)
    stuffed = stuffed_units(words)
    if not stuffed:
        return 0.0
    weights = _weights(words)
    return sum(weights[index] for index in stuffed) / sum(weights)


def stuffed_units(words: list[str]) -> set[int]:
    """Indices of the units that repeat a content word beyond natural use. See `stuffed_share`."""
    terms = content_terms(words)
    limits = _limits(terms, words=sum(_weights(words)))
    used: Counter[str] = Counter()
    stuffed: set[int] = set()
    for index, term in enumerate(terms):
        if term in limits:
            used[term] += 1
            if used[term] > limits[term]:
                stuffed.update(range(index, index + (HAN_PER_WORD if is_han(term) else 1)))
    return stuffed


def _weights(words: Sequence[str]) -> list[float]:
    """The units in words: two Chinese characters count as one."""
    return [1 / HAN_PER_WORD if is_han(unit) else 1.0 for unit in words]


def content_terms(words: list[str]) -> list[str]:
    """Map each unit of a text to a content word, a pair of simplified Chinese characters, or an empty string.

    Whole function words are exempt. 未来 is content although 来 is a function character.
    """
    terms = ["" if unit in FUNCTION_WORDS else unit for unit in words]
    simple = [to_simplified(unit) for unit in words]
    for index, (one, other) in enumerate(pairwise([*simple, ""])):
        if is_han(one):
            terms[index] = one + other if is_han(other) and not is_function_pair(one, other) else ""
    return terms


def _limits(terms: list[str], *, words: float) -> dict[str, float]:
    """Return the limits of the terms that exceed them."""
    counts = Counter(terms)
    del counts[""]
    max_uses = max(NATURAL_COUNT, NATURAL_SHARE * words)
    limits = {
        term: max(MIN_COUNT, max_uses / sqrt(rank)) for rank, (term, _) in enumerate(counts.most_common(), start=1)
    }
    return {term: limit for term, limit in limits.items() if counts[term] > limit}
