"""Phrases that a model uses far more often than people do, mined by comparing texts, and their share of a text.

A phrase is scored by the log-likelihood ratio of its counts (Dunning 1993), which is also valid for rare phrases, and by the
ratio of its frequencies. Texts for the same requests work best, because phrases of a request then occur in both.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from math import log
from typing import NamedTuple

from longform.text.function_words import FUNCTION_WORDS
from longform.text.repetition import units

Phrase = tuple[str, ...]

ORDERS = (1, 2, 3)
"""Lengths of phrases in words."""
HAN_ORDERS = (2, 3, 4)
"""Lengths in characters, for Chinese."""
MAX_PHRASES = (1000, 200, 200)
"""Maximum number of phrases of each length, as in the lists of EQ-Bench."""
MIN_RATIO = 4.0
"""Minimum ratio of a phrase's frequency in the model's texts to that in human texts."""
MIN_KEYNESS = 15.1
"""Minimum log-likelihood ratio: one phrase in 10,000 reaches it by chance."""
MIN_SPREAD = 3
"""Minimum number of different requests in which the model uses a phrase; a text without a request counts as one."""
_PRIOR = 0.5
"""Added to both counts in the ratio, which is then finite for phrases that people never use."""


class MinedPhrase(NamedTuple):
    """A phrase that a model overuses."""

    phrase: Phrase
    model: float
    """Occurrences per million words of the model."""
    human: float
    """Occurrences per million words of people."""
    keyness: float
    """Log-likelihood ratio."""


def mine_phrases(model: Mapping[str, Sequence[str]], human: Sequence[str], *, is_chinese: bool) -> list[MinedPhrase]:
    """Return the phrases that a model overuses, by length, most certain first.

    Args:
        model: The model's texts, by request; each text without a request has a key of its own.
        human: Texts by people.
        is_chinese: Count characters instead of words.
    """
    written = {key: [units(text) for text in texts] for key, texts in model.items()}
    read = [units(text) for text in human]
    found: list[MinedPhrase] = []
    for order, most in zip(HAN_ORDERS if is_chinese else ORDERS, MAX_PHRASES, strict=True):
        ours, spread = Counter[Phrase](), defaultdict[Phrase, int](int)
        for texts in written.values():
            of_key = Counter(gram for text in texts for gram in _ngrams(text, order))
            ours.update(of_key)
            for gram in of_key:
                spread[gram] += 1
        theirs = Counter(gram for text in read for gram in _ngrams(text, order))
        totals = ours.total(), theirs.total()
        kept = [
            scored
            for gram, count in ours.items()
            if spread[gram] >= MIN_SPREAD and _is_phrase(gram)
            if (scored := _score(gram, count, theirs[gram], totals)) is not None
        ]
        found += sorted(kept, key=lambda it: (-it.keyness, it.phrase))[:most]
    return found


def listed_share(text: str, phrases: frozenset[Phrase], orders: Sequence[int]) -> float:
    """Return the fraction of the words of `text` that are part of a listed phrase; 0 for a text without words.

    Args:
        text: Chinese is counted in characters.
        phrases: The list.
        orders: Lengths of its phrases.
    """
    listed = listed_units(units(text), phrases, orders)
    return sum(listed) / len(listed) if listed else 0.0


def listed_units(words: Sequence[str], phrases: frozenset[Phrase], orders: Sequence[int]) -> list[bool]:
    """Which units of a text are part of a listed phrase. See `listed_share`."""
    listed = [False] * len(words)
    for order in orders:
        for start, gram in enumerate(_ngrams(words, order)):
            if gram in phrases:
                listed[start : start + order] = [True] * order
    return listed


def _ngrams(words: Sequence[str], order: int) -> "zip[Phrase]":
    return zip(*(words[start:] for start in range(order)), strict=False)


def _is_phrase(gram: Phrase) -> bool:
    if any(not word.isalpha() for word in gram):
        return False
    return not all(word in FUNCTION_WORDS for word in gram)


def _score(gram: Phrase, ours: int, theirs: int, totals: tuple[int, int]) -> MinedPhrase | None:
    """Return a phrase with its figures; None if it is below the minimum ratio or keyness."""
    ratio = ((ours + _PRIOR) / (totals[0] + 1)) / ((theirs + _PRIOR) / (totals[1] + 1))
    expected = [(ours + theirs) * total / sum(totals) for total in totals]
    keyness = 2 * sum(count * log(count / it) for count, it in zip((ours, theirs), expected, strict=True) if count)
    if ratio < MIN_RATIO or keyness < MIN_KEYNESS:
        return None
    return MinedPhrase(gram, 1e6 * ours / totals[0], 1e6 * theirs / max(totals[1], 1), keyness)
