"""Keyword stuffing: the fraction of a text spent on repeating single words, which exploits a judge's favourite words.

Names and topics recur in normal texts too, the most frequent one more often than the second, so the limit decreases with a
word's rank. Chinese words are counted as pairs of characters, because Chinese text is not segmented into words here.
"""

from collections import Counter
from math import sqrt

from longform.text.function_words import FUNCTION_CHARACTERS, FUNCTION_WORDS
from longform.text.repetition import HAN_PER_WORD, is_han, units

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
    weights = [1 / HAN_PER_WORD if is_han(unit) else 1.0 for unit in words]
    terms = content_terms(words)
    limits = _limits(terms, words=sum(weights))
    if not limits:
        return 0.0
    used: Counter[str] = Counter()
    stuffed = set()
    for index, term in enumerate(terms):
        if term in limits:
            used[term] += 1
            if used[term] > limits[term]:
                stuffed.update(range(index, index + (HAN_PER_WORD if is_han(term) else 1)))
    return sum(weights[index] for index in stuffed) / sum(weights)


def content_terms(words: list[str]) -> list[str]:
    """Map each unit of a text to a content word, a pair of Chinese characters, or an empty string."""
    terms = ["" if unit in FUNCTION_WORDS else unit for unit in words]
    for index, unit in enumerate(words):
        if is_han(unit):
            following = words[index + 1] if index + 1 < len(words) else ""
            is_content = is_han(following) and FUNCTION_CHARACTERS.isdisjoint((unit, following))
            terms[index] = unit + following if is_content else ""
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
