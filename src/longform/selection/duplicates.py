"""Exact and near duplicates of earlier prompts.

Texts are compared as words and Chinese characters: case, white space and punctuation do not count. Near is the Jaccard
similarity of their runs of three words. Candidates come from MinHash and banding; each is confirmed by its true similarity,
so a chance collision drops nothing.
"""

import unicodedata
from functools import cached_property
from hashlib import blake2b
from typing import NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from longform.text.chinese import to_simplified
from longform.text.minhash import MAX_HASHES, BandIndex, hash_grams, signature
from longform.text.repetition import units

SHINGLE = 3
"""Words (or Chinese characters) of a run."""
HASHES = MAX_HASHES
MIN_RECALL = 0.99
"""Of pairs exactly at the threshold; those above it are found more often."""
MAX_CONFIRMED = 32
"""Candidates whose true similarity is taken, likeliest first: thousands of prompts may share one template."""
_MARGIN = 0.2
"""Four standard errors of a similarity that is estimated from 64 hashes, at 0.8."""


class TokenizedText:
    """A text as it is compared: words, hashes, shingles, MinHash signature."""

    def __init__(self, text: str) -> None:
        # Chinese texts hold full-width letters and digits, and exist in simplified and in traditional characters.
        self.units = units(to_simplified(unicodedata.normalize("NFKC", text)))

    @cached_property
    def plain(self) -> str:
        """Its words in small letters, one blank between two."""
        return " ".join(self.units)

    @cached_property
    def hashes(self) -> NDArray[np.uint32]:
        """[units] of each word or Chinese character; the same in every process, as Python's own are not."""
        return np.fromiter(map(crc32, self.plain.encode("utf-8", "replace").split(b" ")), np.uint32, len(self.units))

    @cached_property
    def shingles(self) -> NDArray[np.uint32]:
        """Distinct hashes of its runs of `SHINGLE` words, ascending; of a shorter text, of the whole."""
        return np.unique(hash_grams(self.hashes, min(SHINGLE, len(self.units))))

    @cached_property
    def signature(self) -> NDArray[np.uint32]:
        """[HASHES] MinHash of its shingles."""
        return signature(self.shingles)


class Likeness(NamedTuple):
    """An earlier text that a text is like, and how much: 1 for the same words."""

    id: str
    similarity: float


class DedupIndex:
    """Texts by which later ones are found to be the same or nearly the same.

    Args:
        near: Least Jaccard similarity of near duplicates, in (0, 1].
    """

    def __init__(self, near: float) -> None:
        self.near = near
        self._same: dict[bytes, str] = {}
        self._ids: list[str] = []
        self._shingles: list[NDArray[np.uint32]] = []
        self._signatures = np.empty((1024, HASHES), dtype=np.uint32)
        self._index = BandIndex(*bands_and_rows(near))

    def add(self, id: str, wording: TokenizedText) -> None:
        """Keep a text of at least one word."""
        number = len(self._ids)
        if number == len(self._signatures):
            self._signatures = np.resize(self._signatures, (2 * number, HASHES))
        self._signatures[number] = wording.signature
        self._index.add(number, wording.signature)
        self._ids.append(id)
        self._shingles.append(wording.shingles)
        self._same.setdefault(_digest(wording), id)

    def find_same(self, wording: TokenizedText) -> str | None:
        """The id of the first text with the same words."""
        return self._same.get(_digest(wording))

    def find_near(self, wording: TokenizedText) -> Likeness | None:
        """A text that is at least `near` to this one: of the candidates the likeliest that is."""
        candidates = np.array(self._index.candidates(wording.signature), dtype=np.int64)
        if not len(candidates):
            return None
        estimates = np.mean(self._signatures[candidates] == wording.signature, axis=1)
        likeliest = np.argsort(-estimates, kind="stable")[:MAX_CONFIRMED]
        for candidate in candidates[likeliest[estimates[likeliest] >= self.near - _MARGIN]].tolist():
            similarity = jaccard(wording.shingles, self._shingles[candidate])
            if similarity >= self.near:
                return Likeness(self._ids[candidate], similarity)
        return None


def jaccard(first: NDArray[np.uint32], second: NDArray[np.uint32]) -> float:
    """Shared share of two sets, each given as distinct values."""
    shared = len(np.intersect1d(first, second, assume_unique=True))
    return shared / max(len(first) + len(second) - shared, 1)


def bands_and_rows(near: float) -> tuple[int, int]:
    """The most selective bands by which `MIN_RECALL` of the pairs of similarity `near` still meet.

    Two texts of similarity J share one of b bands of r hashes with probability 1 - (1 - J^r)^b.
    """
    fitting = [
        (HASHES // rows, rows)
        for rows in range(1, HASHES // 2 + 1)
        if 1 - (1 - near**rows) ** (HASHES // rows) >= MIN_RECALL
    ]
    return fitting[-1] if fitting else (HASHES, 1)


def _digest(wording: TokenizedText) -> bytes:
    return blake2b(wording.plain.encode("utf-8", "replace"), digest_size=16).digest()
