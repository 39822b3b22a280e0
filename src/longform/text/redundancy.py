"""How much of a text says again, in other words, what it said before: padding by paraphrase.

A sentence is redundant when it shares most of its content with an earlier one and is no near copy of it, so that copies are
charged once, as repetition, and a refrain is not taken for padding. Content is compared by the character n-grams of its
words, which see through inflection, moved clauses and changed function words but not through synonyms; or by sentence
embeddings, which are to see through both.
"""

from collections.abc import Sequence
from itertools import accumulate, chain, pairwise
from typing import Protocol
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from longform.text.function_words import FUNCTION_CHARACTERS, FUNCTION_WORDS
from longform.text.minhash import earlier_likes, signatures
from longform.text.repetition import HAN_PER_WORD, is_han, near_copies, units
from longform.text.segments import sentences

MIN_WORDS = 5
"""Content words; shorter sentences ("I don't know," he said.) have too little to be told from one another."""
MIN_OVERLAP = 0.5
"""Jaccard similarity of n-grams. At 0.5, 1% of the sentences of eight language models' essays and stories are flagged, most
of them rightly; sentences of one text that say different things rarely reach 0.4."""
MIN_COSINE = 0.8
"""Of embeddings. Models differ: this suits those that were trained to tell paraphrases."""

_GRAM = 4
_BANDS = 24
_BLOCK = 1024


class SentenceEncoder(Protocol):
    """What turns sentences into vectors that lie close where meanings do."""

    def encode(self, sentences: list[str]) -> NDArray[np.floating]:
        """[sentences, dimensions] of any length but zero."""
        ...


def redundant_sentence_share(text: str, *, encoder: SentenceEncoder | None = None, min_words: int = MIN_WORDS) -> float:
    """Share of the sentences of `text` that say an earlier one again in other words.

    Args:
        text: English, Chinese, or both.
        encoder: compares sentences by meaning; None: by shared character n-grams.
        min_words: sentences with fewer content words take no part; of a Chinese sentence two characters make one.
    """
    content = [(sentence, _content(sentence)) for sentence in sentences(text)]
    kept = [(sentence, words) for sentence, words in content if _count(words) >= min_words]
    if len(kept) < 2:
        return 0.0
    copies = near_copies([sentence for sentence, _ in kept], min_units=1)
    kept_once = [it for place, it in enumerate(kept) if place not in copies]
    if encoder is None:
        found = _alike_in_grams([words for _, words in kept_once])
    else:
        found = _alike_in_meaning([sentence for sentence, _ in kept_once], encoder)
    return found / len(kept)


def _content(sentence: str) -> list[str]:
    """The units of a sentence without those that serve grammar."""
    return [it for it in units(sentence) if it not in FUNCTION_WORDS and it not in FUNCTION_CHARACTERS]


def _count(words: list[str]) -> float:
    return sum(1 / HAN_PER_WORD if is_han(word) else 1.0 for word in words)


def _alike_in_grams(contents: Sequence[list[str]]) -> int:
    """How many sentences, given in content words, share `MIN_OVERLAP` of their n-grams with an earlier one."""
    grams_of: dict[str, list[int]] = {}
    grams = [_grams(words, grams_of) for words in contents]
    starts = np.array([0, *accumulate(map(len, grams))][:-1], dtype=np.int64)
    hashes = np.fromiter(chain.from_iterable(grams), dtype=np.uint32, count=sum(map(len, grams)))

    def is_alike(later: int, earlier: int) -> bool:
        shared = len(grams[later] & grams[earlier])
        return shared >= MIN_OVERLAP * (len(grams[later]) + len(grams[earlier]) - shared)

    return len(earlier_likes(signatures(hashes, starts, bands=_BANDS), is_alike))


def _grams(words: list[str], known: dict[str, list[int]]) -> set[int]:
    """Hashes of the n-grams of the words, none across words; of Chinese, single characters and pairs.

    Args:
        words: of a sentence.
        known: those of words that were met before; added to.
    """
    found: set[int] = set()
    for word in words:
        if word not in known:
            bounded = word if is_han(word) else f" {word} "
            last = max(1, len(bounded) - _GRAM + 1)
            known[word] = [crc32(bounded[place : place + _GRAM].encode()) for place in range(last)]
        found.update(known[word])
    found.update(crc32((one + other).encode()) for one, other in pairwise(words) if is_han(one) and is_han(other))
    return found


def _alike_in_meaning(found: list[str], encoder: SentenceEncoder) -> int:
    """How many sentences have an embedding close to that of an earlier one; quadratic, in blocks of bounded memory."""
    vectors = np.asarray(encoder.encode(found), dtype=np.float32)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    alike = 0
    for start in range(0, len(vectors), _BLOCK):
        block = vectors[start : start + _BLOCK]
        cosines = block @ vectors[: start + len(block)].T
        earlier = np.tri(len(block), cosines.shape[1], start - 1, dtype=bool)
        alike += int(np.any((cosines >= MIN_COSINE) & earlier, axis=1).sum())
    return alike
