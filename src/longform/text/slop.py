"""Stock words and phrases that models overuse, and a model's own overused words across requests.

The formulas are those of EQ-Bench creative writing v3 with our own lists (`text.stock_phrases`), so values can be compared
between models but not with published ones.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from longform.text.function_words import FUNCTION_WORDS
from longform.text.repetition import units
from longform.text.stock_phrases import COMMON_WORDS, PAIRS, TRIPLES, WORDS

PAIR_WEIGHT = 2
TRIPLE_WEIGHT = 8
MIN_LETTERS = 4
MIN_USES = 6
"""Minimum occurrences of a pet word in all texts together."""
MIN_PROMPTS = 2
MAX_PET_WORDS = 100


class Stock(NamedTuple):
    """Counts of a text's stock words and phrases."""

    weighted: int
    """Stock words, plus 2 x two-word phrases, plus 8 x three-word phrases."""
    words: int


def count_stock(text: str) -> Stock:
    """Count the stock words and phrases of an English text."""
    words = units(text)
    weighted = sum(word in WORDS for word in words)
    weighted += PAIR_WEIGHT * sum(pair in PAIRS for pair in pairwise(words))
    weighted += TRIPLE_WEIGHT * sum(triple in TRIPLES for triple in zip(words, words[1:], words[2:], strict=False))
    return Stock(weighted, len(words))


def pet_words(texts: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the words that a model overuses regardless of the prompt, most frequent first, at most 100.

    A pet word has at least four letters, occurs more than five times in all texts and for at least two prompts, and is not
    common in general prose.

    Args:
        texts: The texts of one model, by prompt.
    """
    counts = Counter[str]()
    prompts: dict[str, set[str]] = defaultdict(set)
    for prompt, written in texts.items():
        for text in written:
            words = Counter(units(text))
            counts.update(words)
            for word in words:
                prompts[word].add(prompt)
    kept = [word for word, count in counts.items() if count >= MIN_USES and _is_pet(word, len(prompts[word]))]
    return sorted(kept, key=lambda word: (-counts[word], word))[:MAX_PET_WORDS]


def _is_pet(word: str, prompts: int) -> bool:
    return (
        len(word) >= MIN_LETTERS
        and word.isalpha()
        and prompts >= MIN_PROMPTS
        and word not in FUNCTION_WORDS
        and word not in COMMON_WORDS
    )
