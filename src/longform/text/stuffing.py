"""How much of a text is spent on repeating single words: keyword stuffing, which pays where a judge likes certain words.

Names and topics recur in honest texts too, the first of them more often than the second. So the limit falls with a word's
rank. A Chinese word is counted by its pairs of characters, since Chinese is not cut into words here.
"""

from collections import Counter
from math import sqrt

from longform.text.function_words import FUNCTION_CHARACTERS, FUNCTION_WORDS
from longform.text.repetition import HAN_PER_WORD, is_han, units

NATURAL_SHARE = 0.05
"""Of all words, on the most frequent content word: 98 of 100 essays and stories of eight language models stay below. Some
screenplays, where names head the lines, and some essays, whose topic is in every sentence, reach 0.07."""
NATURAL_COUNT = 6
"""In short texts: a hero may be named six times in a story of sixty words."""
MIN_COUNT = 3
"""What any word may be used."""


def stuffed_share(text: str) -> float:
    """Share of the words of `text` that repeat a content word beyond natural use.

    The content word of rank r may be used `max(NATURAL_COUNT, NATURAL_SHARE * words) / sqrt(r)` times, and at least
    `MIN_COUNT` times; every further use counts. Function words are exempt.
    """
    found = units(text)
    weights = [1 / HAN_PER_WORD if is_han(unit) else 1.0 for unit in found]
    terms = content_terms(found)
    limits = _limits(terms, words=sum(weights))
    if not limits:
        return 0.0
    used: Counter[str] = Counter()
    stuffed = set()
    for place, term in enumerate(terms):
        if term in limits:
            used[term] += 1
            if used[term] > limits[term]:
                stuffed.update(range(place, place + (HAN_PER_WORD if is_han(term) else 1)))
    return sum(weights[place] for place in stuffed) / sum(weights)


def content_terms(found: list[str]) -> list[str]:
    """What stands at each place of a text: a content word, a pair of Chinese characters, or nothing."""
    terms = ["" if unit in FUNCTION_WORDS else unit for unit in found]
    for place, unit in enumerate(found):
        if is_han(unit):
            following = found[place + 1] if place + 1 < len(found) else ""
            is_content = is_han(following) and FUNCTION_CHARACTERS.isdisjoint((unit, following))
            terms[place] = unit + following if is_content else ""
    return terms


def _limits(terms: list[str], *, words: float) -> dict[str, float]:
    """How often each term may be used, of those that are used more often."""
    counts = Counter(terms)
    del counts[""]
    most = max(NATURAL_COUNT, NATURAL_SHARE * words)
    limits = {term: max(MIN_COUNT, most / sqrt(rank)) for rank, (term, _) in enumerate(counts.most_common(), start=1)}
    return {term: limit for term, limit in limits.items() if counts[term] > limit}
