"""How fluent a text is under a small n-gram model of the grammar's own stories.

Words of a pool count as their class ("a <animal> helped"), so that a few hundred stories suffice; full stops are words.
Witten-Bell interpolation of trigrams, bigrams and unigrams: P(w|h) = (c(h,w) + t(h) P(w|h')) / (c(h) + t(h)), with t(h) the
number of distinct words seen after h, and a uniform floor for words never seen (Chen & Goodman 1999, section 2.6).
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache

from longform.miniature.world import CLASS_OF, parse_request, prompts
from longform.miniature.writers import write_story

_TOKEN = re.compile(r"\w+|[^\w\s]")
_ORDER = 3
_STORIES = 400
_FLOOR = 1e-4  # probability of a word that no story has; the stories have some two hundred
_START = ("<start>",) * (_ORDER - 1)


def tokenize(text: str) -> list[str]:
    """Words and punctuation marks, as written."""
    return _TOKEN.findall(text)


class NgramModel:
    """Word trigrams with back-off over words whose pools are folded into classes."""

    def __init__(self, texts: Iterable[Sequence[str]]) -> None:
        self._counts: Counter[tuple[str, ...]] = Counter()
        for tokens in texts:
            words = [*_START, *map(_folded, tokens)]
            for end in range(len(_START), len(words)):
                self._counts.update(tuple(words[end - back : end + 1]) for back in range(_ORDER))
        self._totals: Counter[tuple[str, ...]] = Counter()
        self._kinds: Counter[tuple[str, ...]] = Counter()
        for ngram, count in self._counts.items():
            self._totals[ngram[:-1]] += count
            self._kinds[ngram[:-1]] += 1
        self._log_probs: dict[tuple[str, ...], float] = {}

    def mean_log_prob(self, tokens: Sequence[str]) -> float:
        """Mean natural-log probability of a token; the floor's for an empty text."""
        if not tokens:
            return math.log(_FLOOR)
        words = [*_START, *map(_folded, tokens)]
        return sum(map(self._log_prob, zip(words, words[1:], words[2:], strict=False))) / len(tokens)

    def _log_prob(self, ngram: tuple[str, ...]) -> float:
        known = self._log_probs.get(ngram)
        if known is None:
            known = math.log(self._probability(ngram))
            if ngram in self._counts:  # anything else a policy may write must not fill the memory
                self._log_probs[ngram] = known
        return known

    def _probability(self, ngram: tuple[str, ...]) -> float:
        if not ngram:
            return _FLOOR
        shorter = self._probability(ngram[1:]) if len(ngram) > 1 else _FLOOR
        total, kinds = self._totals[ngram[:-1]], self._kinds[ngram[:-1]]
        if not total:
            return shorter
        return (self._counts[ngram] + kinds * shorter) / (total + kinds)


@cache
def grammar_model() -> NgramModel:
    """The model of the grammar, from stories of the master on requests of its own stream. Built once, in about 0.1 s."""
    requests = [parse_request(prompt.request) for prompt in prompts(seed=1_000_003, split="train", count=_STORIES)]
    return NgramModel(tokenize(write_story(request, level="master")) for request in requests)


def _folded(token: str) -> str:
    name = CLASS_OF.get(token)
    return f"<{name}>" if name else token
