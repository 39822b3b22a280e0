"""MinHash (Broder 1997): which of many short texts share most of their character n-grams, without comparing all pairs.

All texts of a page are hashed in one array, since a call for each of its hundreds of sentences would take longer than the
hashing. A text's n-grams need no counting of their own: the least hash of a set and of a list are the same.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

ROWS = 2
"""Hashes of a band. Two texts of similarity J share one of b bands with probability 1 - (1 - J^2)^b."""

_BASE = np.uint32(2_654_435_761)
_GREATEST = np.uint32(0xFFFF_FFFF)
_MULTIPLIERS = np.random.default_rng(20250601).integers(1, 1 << 32, size=64, dtype=np.uint32) | np.uint32(1)


def hash_grams(codes: NDArray[np.uint32], length: int) -> NDArray[np.uint32]:
    """[characters - length + 1] a hash of every n-gram of a text given in character codes."""
    count = max(len(codes) - length + 1, 0)
    hashes = codes[:count].copy()
    for place in range(1, length):
        hashes = hashes * _BASE + codes[place : place + count]
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
    """[texts, ROWS * bands] the least of the `hashes` of each text, under as many functions.

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
    texts, hashes = signatures.shape
    bands = hashes // ROWS
    if not texts:
        return []
    wide = np.ascontiguousarray(signatures).view(np.uint64) * np.uint64(0x9E37_79B9_7F4A_7C15)
    keys = (wide + np.arange(bands, dtype=np.uint64)).ravel()
    order = np.argsort(keys)
    changes = keys[order[1:]] != keys[order[:-1]]
    alone = np.append(True, changes) & np.append(changes, True)
    shared = np.sort(order[~alone])
    found: list[list[int]] = [[] for _ in range(texts)]
    for text, key in zip((shared // bands).tolist(), keys[shared].tolist(), strict=True):
        found[text].append(key)
    return found
