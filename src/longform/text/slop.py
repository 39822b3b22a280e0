"""How much of a text is stock: words and phrases that models overuse, and a model's own pet words across requests.

The formulas are those of EQ-Bench creative writing v3, the lists our own (`text.stock_phrases`), so values compare models
with each other and not with published ones.
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
LEAST_LETTERS = 4
MORE_THAN = 5
"""Times that a pet word stands in all texts together."""
LEAST_PROMPTS = 2
MOST_PET_WORDS = 100


class Stock(NamedTuple):
    """What was found in a text."""

    weighted: int
    """Stock words, and twice the phrases of two words, and eight times those of three."""
    words: int


def count_stock(text: str) -> Stock:
    """Stock words and phrases of an English text."""
    found = units(text)
    weighted = sum(word in WORDS for word in found)
    weighted += PAIR_WEIGHT * sum(pair in PAIRS for pair in pairwise(found))
    weighted += TRIPLE_WEIGHT * sum(triple in TRIPLES for triple in zip(found, found[1:], found[2:], strict=False))
    return Stock(weighted, len(found))


def pet_words(texts: Mapping[str, Sequence[str]]) -> list[str]:
    """The words that a model brings into whatever it writes, most frequent first, at most 100.

    A pet word has four letters or more, stands more than five times in all texts, in those of at least two prompts, and is
    not frequent in any prose.

    Args:
        texts: those of one model, by prompt.
    """
    counts = Counter[str]()
    prompts: dict[str, set[str]] = defaultdict(set)
    for prompt, written in texts.items():
        for text in written:
            found = Counter(units(text))
            counts.update(found)
            for word in found:
                prompts[word].add(prompt)
    kept = [word for word, count in counts.items() if count > MORE_THAN and _is_pet(word, len(prompts[word]))]
    return sorted(kept, key=lambda word: (-counts[word], word))[:MOST_PET_WORDS]


def _is_pet(word: str, prompts: int) -> bool:
    return (
        len(word) >= LEAST_LETTERS
        and word.isalpha()
        and prompts >= LEAST_PROMPTS
        and word not in FUNCTION_WORDS
        and word not in COMMON_WORDS
    )
