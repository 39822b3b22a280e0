"""Fluency of a text under a small n-gram model of the grammar's own stories.

Words from a pool are replaced by their class ("a <animal> helped"), so that a few hundred stories suffice; full stops count
as words. Witten-Bell interpolation of trigrams, bigrams and unigrams: P(w|h) = (c(h,w) + t(h) P(w|h')) / (c(h) + t(h)), with
t(h) the number of distinct words seen after h, and a uniform floor for unseen words (Chen & Goodman 1999, section 2.6).
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
_FLOOR = 1e-4  # probability of an unseen word; the stories have about two hundred distinct words
_START = ("<start>",) * (_ORDER - 1)


def tokenize(text: str) -> list[str]:
    """Split a text into words and punctuation marks."""
    return _TOKEN.findall(text)


class NgramModel:
    """Interpolated word trigrams, with the words of each pool folded into one class."""

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
        """Return the mean natural log-probability per token; for an empty text, that of an unseen word."""
        if not tokens:
            return math.log(_FLOOR)
        words = [*_START, *map(_folded, tokens)]
        return sum(map(self._log_prob, zip(words, words[1:], words[2:], strict=False))) / len(tokens)

    def _log_prob(self, ngram: tuple[str, ...]) -> float:
        known = self._log_probs.get(ngram)
        if known is None:
            known = math.log(self._probability(ngram))
            if ngram in self._counts:  # cache known n-grams only: a policy's texts must not fill the memory
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
    """Return the n-gram model of the grammar, built once (0.1 s) from the master's stories on a stream of requests."""
    requests = [parse_request(prompt.request) for prompt in prompts(seed=1_000_003, split="train", count=_STORIES)]
    return NgramModel(tokenize(write_story(request, level="master")) for request in requests)


def _folded(token: str) -> str:
    name = CLASS_OF.get(token)
    return f"<{name}>" if name else token
