"""Diversity of texts: distinct n-grams, self-BLEU, and distances within a group. Pure.

Words are those of `text.repetition.units`: lower-case words and single Chinese characters. The measures depend on the
lengths of the texts, so only the first `MAX_UNITS` words of each are compared. All but the distances take linear time.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise
from math import exp, log

from longform.text.repetition import units

MAX_UNITS = 1000
"""Number of words of a text that are compared, from its beginning."""
MAX_ORDER = 4
"""Longest n-grams of self-BLEU, as in BLEU-4."""
_NO_MATCH = 0.1
"""Matches counted for an n-gram order without any, so that the geometric mean is not 0 (Chen & Cherry 2014, smoothing 1)."""


def distinct_share(texts: Sequence[str], *, n: int = 2) -> float | None:
    """Return distinct-n (Li et al. 2016): the number of distinct n-grams divided by the number of all n-grams.

    Args:
        texts: Their n-grams are counted together.
        n: Length in words.

    Returns:
        In (0, 1]; None if no text has `n` words.

    Raises:
        ValueError: `n` is below 1.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    found = [gram for text in texts for gram in _ngrams(units(text)[:MAX_UNITS], n)]
    return len(set(found)) / len(found) if found else None


def self_bleu(texts: Sequence[str]) -> float | None:
    """Return self-BLEU (Zhu et al. 2018): the mean BLEU-4 of each text with all others as its references.

    BLEU as in Papineni et al. 2002 with the closest reference length; an order without a match counts 0.1 matches, and a
    text of fewer than four words has as many orders as words.

    Returns:
        In (0, 1], where 1 are equal texts; None for fewer than two texts with a word.
    """
    tokens = [it for text in texts if (it := units(text)[:MAX_UNITS])]
    if len(tokens) < 2:
        return None
    logs = [0.0] * len(tokens)
    for n in range(1, MAX_ORDER + 1):
        counts = [Counter(_ngrams(it, n)) for it in tokens]
        most = _two_most(counts)
        for index, of_text in enumerate(counts):
            total = len(tokens[index]) - n + 1
            if total > 0:
                matches = sum(min(count, _among_others(most[gram], index)) for gram, count in of_text.items())
                logs[index] += log((matches or _NO_MATCH) / total)
    lengths = [len(it) for it in tokens]
    scores = [
        _brevity_penalty(length, lengths[:index] + lengths[index + 1 :]) * exp(logs[index] / min(MAX_ORDER, length))
        for index, length in enumerate(lengths)
    ]
    return sum(scores) / len(scores)


def distance_factors(texts: Sequence[str]) -> list[float]:
    """Return the mean distance of each text of a group from the others, divided by the largest of these means.

    The distance of two texts is 1 minus the mean Jaccard similarity of their words and of their word pairs. Texts without
    words are left out of the means and get 1; if all texts are equal, all get 1.

    Returns:
        [N] in [0, 1].
    """
    tokens = [units(text)[:MAX_UNITS] for text in texts]
    grams = [(frozenset(it), frozenset(pairwise(it))) for it in tokens]
    counted = [index for index, it in enumerate(tokens) if it]
    sums = [0.0] * len(texts)
    for one, other in combinations(counted, 2):
        distance = 1 - (_jaccard(grams[one][0], grams[other][0]) + _jaccard(grams[one][1], grams[other][1])) / 2
        sums[one] += distance
        sums[other] += distance
    largest = max(sums, default=0.0)
    return [it / largest if largest > 0 and tokens[index] else 1.0 for index, it in enumerate(sums)]


def _jaccard(one: frozenset[object], other: frozenset[object]) -> float:
    union = len(one | other)
    return len(one & other) / union if union else 1.0


def _ngrams(tokens: Sequence[str], n: int) -> Iterator[tuple[str, ...]]:
    return zip(*(tokens[start:] for start in range(n)), strict=False)


def _two_most(counts: Sequence[Counter[tuple[str, ...]]]) -> dict[tuple[str, ...], tuple[int, int, int]]:
    """Return for each n-gram the text that uses it most, how often, and how often the next text does."""
    most: dict[tuple[str, ...], tuple[int, int, int]] = {}
    for index, of_text in enumerate(counts):
        for gram, count in of_text.items():
            leader, first, second = most.get(gram, (-1, 0, 0))
            most[gram] = (index, count, first) if count > first else (leader, first, max(second, count))
    return most


def _among_others(most: tuple[int, int, int], index: int) -> int:
    """Return how often the other text that uses an n-gram most uses it."""
    leader, first, second = most
    return second if leader == index else first


def _brevity_penalty(length: int, references: Sequence[int]) -> float:
    """Return BLEU's brevity penalty against the reference closest in length; of two equally close ones, the shorter."""
    closest = min(references, key=lambda it: (abs(it - length), it))
    return 1.0 if length >= closest else exp(1 - closest / length)
