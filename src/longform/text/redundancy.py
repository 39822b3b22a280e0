"""Padding by paraphrase: the fraction of sentences that restate an earlier one.

A sentence is redundant if it shares most of its content with an earlier one and is not a near copy of it. Near copies count
as repetition instead, and a refrain is not padding. Content is compared by the character n-grams of content words, which is
robust to inflection, moved clauses and changed function words but not to synonyms, or by sentence embeddings, which should
also handle synonyms.
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
"""Minimum number of content words; shorter sentences ("I don't know," he said.) have too little content to compare."""
MIN_OVERLAP = 0.5
"""Minimum Jaccard similarity of n-grams. At 0.5, 1% of the sentences in essays and stories of eight language models are
flagged, most of them correctly; sentences with different content rarely reach 0.4."""
MIN_COSINE = 0.8
"""Minimum cosine similarity of embeddings, for models trained to detect paraphrases; other models need other values."""

_GRAM = 4
_BANDS = 24
_BLOCK = 1024


class SentenceEncoder(Protocol):
    """Sentence embedding model."""

    def encode(self, sentences: list[str]) -> NDArray[np.floating]:
        """Return embeddings, [sentences, dimensions]; they need not be normalized but must not be zero."""
        ...


def redundant_sentence_share(text: str, *, encoder: SentenceEncoder | None = None, min_words: int = MIN_WORDS) -> float:
    """Return the fraction of the sentences of `text` that paraphrase an earlier one.

    Args:
        text: English, Chinese, or both.
        encoder: Sentence embedding model; None compares character n-grams.
        min_words: Sentences with fewer content words are ignored; two Chinese characters count as one word.
    """
    content = [(sentence, _content(sentence)) for sentence in sentences(text)]
    kept = [(sentence, words) for sentence, words in content if _count(words) >= min_words]
    if len(kept) < 2:
        return 0.0
    copies = near_copies([sentence for sentence, _ in kept], min_units=1)
    kept_once = [it for index, it in enumerate(kept) if index not in copies]
    if encoder is None:
        redundant = _alike_in_grams([words for _, words in kept_once])
    else:
        redundant = _alike_in_meaning([sentence for sentence, _ in kept_once], encoder)
    return redundant / len(kept)


def _content(sentence: str) -> list[str]:
    """Return the units of a sentence without function words."""
    return [it for it in units(sentence) if it not in FUNCTION_WORDS and it not in FUNCTION_CHARACTERS]


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

    return len(earlier_likes(signatures(hashes, starts, bands=_BANDS), is_alike))


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


def _alike_in_meaning(kept: list[str], encoder: SentenceEncoder) -> int:
    """Count the sentences whose embedding is close to that of an earlier one; quadratic time, bounded memory."""
    vectors = np.asarray(encoder.encode(kept), dtype=np.float32)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    alike = 0
    for start in range(0, len(vectors), _BLOCK):
        block = vectors[start : start + _BLOCK]
        cosines = block @ vectors[: start + len(block)].T
        earlier = np.tri(len(block), cosines.shape[1], start - 1, dtype=bool)
        alike += int(np.any((cosines >= MIN_COSINE) & earlier, axis=1).sum())
    return alike
