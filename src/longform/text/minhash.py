"""MinHash (Broder 1997): find the short texts that share most of their character n-grams without comparing all pairs.

All sentences of a text are hashed in one array, because one call per sentence would take longer than the hashing itself.
N-grams need not be deduplicated: the minimum hash of a list equals that of its set.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

ROWS = 2
"""Hashes per band. Two texts with similarity J share at least one of b bands with probability 1 - (1 - J^2)^b."""

_BASE = np.uint32(2_654_435_761)
_GREATEST = np.uint32(0xFFFF_FFFF)
_MULTIPLIERS = np.random.default_rng(20250601).integers(1, 1 << 32, size=64, dtype=np.uint32) | np.uint32(1)


def hash_grams(codes: NDArray[np.uint32], length: int) -> NDArray[np.uint32]:
    """Hash every n-gram of a text given as character codes; returns [characters - length + 1]."""
    count = max(len(codes) - length + 1, 0)
    hashes = codes[:count].copy()
    for index in range(1, length):
        hashes = hashes * _BASE + codes[index : index + count]
    # `signatures` multiplies again; without this step the result would be a single linear function.
    hashes ^= hashes >> np.uint32(15)
    return hashes


def character_signatures(texts: Sequence[str], *, length: int, bands: int) -> NDArray[np.uint32]:
    """Return the signature of each text's character n-grams, including those that overlap its ends, [texts, ROWS * bands].

    An empty text has no n-grams and does not affect a minimum over several texts.
    """
    # An n-gram that starts in a text, or in the padding before it, ends in the text or in the padding after it.
    padding = "\0" * (length - 1)
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    starts = np.cumsum(lengths + len(padding)) - lengths - len(padding)
    joined = "".join(f"{padding}{text}" for text in texts) + padding
    codes = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    result = signatures(hash_grams(codes, length), starts, bands=bands)
    result[lengths == 0] = _GREATEST
    return result


def signatures(hashes: NDArray[np.uint32], starts: NDArray[np.int64], *, bands: int) -> NDArray[np.uint32]:
    """Return the minimum of each text's hashes under ROWS * bands hash functions, [texts, ROWS * bands].

    Args:
        hashes: [n-grams] hashes of all texts, concatenated; at least one per text.
        starts: [texts] index of each text's first hash, ascending.
        bands: Number of bands, at most 32.
    """
    minima = np.empty((len(starts), ROWS * bands), dtype=np.uint32)
    if len(starts):
        for column, multiplier in enumerate(_MULTIPLIERS[: minima.shape[1]]):
            minima[:, column] = np.minimum.reduceat(hashes * multiplier, starts)
    return minima


def earlier_likes(signatures: NDArray[np.uint32], is_like: Callable[[int, int], bool]) -> dict[int, int]:
    """Find the texts that are similar to an earlier one: {index of the later text: index of the first similar one}.

    Only texts that share a band are compared, and each with at most one text per band: the first one with that band that is
    not itself similar to an earlier text.

    Args:
        signatures: [texts, hashes].
        is_like: Called with (later, earlier); whether the two texts are similar.
    """
    originals: dict[int, int] = {}
    holders: dict[int, int] = {}
    for later, keys in enumerate(_shared_bands(signatures)):
        tried: list[int] = []
        for key in keys:
            earlier = holders.get(key)
            if earlier is None or earlier in tried:
                continue
            if is_like(later, earlier):
                originals[later] = earlier
                break
            tried.append(earlier)
        else:
            for key in keys:
                holders.setdefault(key, later)
    return originals


def _shared_bands(signatures: NDArray[np.uint32]) -> list[list[int]]:
    """Return, for each text, the bands that it shares with another text; equal bands have equal numbers."""
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
    bands_of: list[list[int]] = [[] for _ in range(texts)]
    for text, key in zip((shared // bands).tolist(), keys[shared].tolist(), strict=True):
        bands_of[text].append(key)
    return bands_of
