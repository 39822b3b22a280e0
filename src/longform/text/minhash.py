"""MinHash (Broder 1997): which texts share most of their n-grams, without comparing all pairs.

The sentences of a text are hashed in one array (`signatures`, `earlier_likes`), since a call for each of hundreds of short
sentences takes longer than the hashing. Texts that arrive one by one have a signature each (`signature`) and are found
through a `BandIndex`. n-grams may repeat: the minimum of a list equals that of its set.
"""

from collections.abc import Callable, Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

ROWS = 2
"""Hashes in a band of `earlier_likes`. Two texts of similarity J share one of b bands with probability 1 - (1 - J^2)^b."""
MAX_HASHES = 64
"""In a signature."""

_BASE = np.uint32(2_654_435_761)
_GREATEST = np.uint32(0xFFFF_FFFF)
_MULTIPLIERS = np.random.default_rng(20250601).integers(1, 1 << 32, size=MAX_HASHES, dtype=np.uint32) | np.uint32(1)
_KEY_BASE = np.uint64(0x9E37_79B9_7F4A_7C15)
_GRAMS_AT_ONCE = 4096


def hash_grams(codes: NDArray[np.uint32], length: int) -> NDArray[np.uint32]:
    """[characters - length + 1] a hash of every n-gram of a text given in character codes."""
    count = max(len(codes) - length + 1, 0)
    hashes = codes[:count].copy()
    for start in range(1, length):
        hashes = hashes * _BASE + codes[start : start + count]
    # Multiplied again by `signatures`; without this it would all be one linear function.
    hashes ^= hashes >> np.uint32(15)
    return hashes


def character_signatures(texts: Sequence[str], *, length: int, bands: int) -> NDArray[np.uint32]:
    """[texts, ROWS * bands] the signature of the character n-grams of each text, those across its two ends among them.

    An empty text has none, and adds nothing to a minimum over several texts.
    """
    # What starts in the padding before a text, or in the text, ends in it or in the padding after it.
    padding = "\0" * (length - 1)
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    starts = np.cumsum(lengths + len(padding)) - lengths - len(padding)
    joined = "".join(f"{padding}{text}" for text in texts) + padding
    codes = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    found = signatures(hash_grams(codes, length), starts, bands=bands)
    found[lengths == 0] = _GREATEST
    return found


def signatures(hashes: NDArray[np.uint32], starts: NDArray[np.int64], *, bands: int) -> NDArray[np.uint32]:
    """[texts, ROWS * bands] the minimum of the `hashes` of each text, under as many functions.

    Args:
        hashes: [n-grams] of all texts, one after the other; of each at least one.
        starts: [texts] ascending.
        bands: at most 32.
    """
    found = np.empty((len(starts), ROWS * bands), dtype=np.uint32)
    if len(starts):
        for column, multiplier in enumerate(_MULTIPLIERS[: found.shape[1]]):
            found[:, column] = np.minimum.reduceat(hashes * multiplier, starts)
    return found


def signature(hashes: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """[MAX_HASHES] the minimum of the `hashes` of one text, at least one, under as many functions."""
    parts = [hashes[start : start + _GRAMS_AT_ONCE] for start in range(0, len(hashes), _GRAMS_AT_ONCE)]
    return np.minimum.reduce([(part[:, None] * _MULTIPLIERS).min(axis=0) for part in parts])


class BandIndex:
    """Numbered signatures, found by a band that they share with another one.

    Args:
        bands: of each signature.
        rows: hashes in a band; similarity J makes two texts meet with probability 1 - (1 - J^rows)^bands.
    """

    def __init__(self, bands: int, rows: int) -> None:
        self._bands, self._rows = bands, rows
        self._holders: dict[int, list[int]] = {}

    def add(self, number: int, signature: NDArray[np.uint32]) -> None:
        """Keep the signature of a text under its number."""
        for key in self._keys(signature):
            self._holders.setdefault(key, []).append(number)

    def candidates(self, signature: NDArray[np.uint32]) -> list[int]:
        """Numbers of the texts that share a band with this signature, ascending."""
        return sorted(set(chain.from_iterable(self._holders.get(key, ()) for key in self._keys(signature))))

    def _keys(self, signature: NDArray[np.uint32]) -> list[int]:
        used = signature[None, : self._bands * self._rows]
        return _band_keys(used, self._rows)[0].tolist()


def earlier_likes(signatures: NDArray[np.uint32], is_like: Callable[[int, int], bool]) -> dict[int, int]:
    """Which texts are like an earlier one: {index of the later: index of the first that it is like}.

    Texts are compared where they share a band, each with at most one for each of its bands: the first that held it and is
    itself like none before.

    Args:
        signatures: [texts, hashes].
        is_like: (later, earlier) -> the verdict on two texts.
    """
    found: dict[int, int] = {}
    holders: dict[int, int] = {}
    for later, keys in enumerate(_shared_bands(signatures)):
        tried: list[int] = []
        for key in keys:
            earlier = holders.get(key)
            if earlier is None or earlier in tried:
                continue
            if is_like(later, earlier):
                found[later] = earlier
                break
            tried.append(earlier)
        else:
            for key in keys:
                holders.setdefault(key, later)
    return found


def _shared_bands(signatures: NDArray[np.uint32]) -> list[list[int]]:
    """For each text the bands that it shares with another one, as numbers that are equal where bands are."""
    texts = len(signatures)
    if not texts:
        return []
    keys = _band_keys(signatures, ROWS)
    bands = keys.shape[1]
    keys = keys.ravel()
    order = np.argsort(keys)
    changes = keys[order[1:]] != keys[order[:-1]]
    alone = np.append(True, changes) & np.append(changes, True)
    shared = np.sort(order[~alone])
    found: list[list[int]] = [[] for _ in range(texts)]
    for text, key in zip((shared // bands).tolist(), keys[shared].tolist(), strict=True):
        found[text].append(key)
    return found


def _band_keys(signatures: NDArray[np.uint32], rows: int) -> NDArray[np.uint64]:
    """[texts, bands] a 64-bit hash of each band and its place: equal where bands are."""
    texts, hashes = signatures.shape
    bands = signatures.reshape(texts, hashes // rows, rows)
    keys = np.arange(hashes // rows, dtype=np.uint64)
    for row in range(rows):
        keys = keys * _KEY_BASE + bands[:, :, row]
    return keys
