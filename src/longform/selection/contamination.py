"""Find prompts that overlap with a benchmark's prompts, to prevent training on the test set.

A prompt overlaps with a benchmark prompt if it has the same words, is a near-duplicate, or shares a run of 13 words (20
characters if the benchmark prompt is mainly Chinese). A benchmark prompt shorter than such a run overlaps if the other
prompt contains it entirely; one below 5 words (8 characters) is ignored, because it would match by chance.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from longform.selection.duplicates import DedupIndex, TokenizedText
from longform.text.repetition import is_han


class Run(NamedTuple):
    """Lengths of shared runs in words, or in Chinese characters."""

    long: int
    """Length of a run that is not shared by chance."""
    minimum: int
    """Minimum length of a benchmark prompt that is searched for inside other prompts."""


WORDS = Run(13, 5)
CHARACTERS = Run(20, 8)
_BASE = np.uint32(2_654_435_761)


class Overlap(NamedTuple):
    """The id of the benchmark prompt, and the kind of overlap: `same words`, a similarity, or the shared run."""

    id: str
    by: str


class Benchmarks:
    """An index of benchmark prompts, for decontamination.

    Args:
        prompts: (id, text) pairs.
        near: Minimum Jaccard similarity of near-duplicates.
    """

    def __init__(self, prompts: Iterable[tuple[str, TokenizedText]], *, near: float) -> None:
        self._seen = DedupIndex(near)
        self._ids: list[str] = []
        self._texts: list[str] = []
        self._holders: dict[int, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
        """Length in units -> hash of a run -> the prompts that contain it."""
        for id_, wording in prompts:
            if wording.units:
                self._add(id_, wording)

    def find(self, wording: TokenizedText) -> Overlap | None:
        """Return the first overlap; checks for the same words, then near-duplicates, then shared runs."""
        if (same := self._seen.find_same(wording)) is not None:
            return Overlap(same, "same words")
        if (near := self._seen.find_near(wording)) is not None:
            return Overlap(near.id, f"similarity {near.similarity:.2f}")
        return self._find_run(wording)

    def _add(self, id_: str, wording: TokenizedText) -> None:
        self._seen.add(id_, wording)
        number, run = len(self._ids), _run(wording)
        self._ids.append(id_)
        self._texts.append(wording.plain)
        length = len(wording.units)
        if length >= run.long:
            for gram in set(hash_runs(wording.hashes, run.long).tolist()):
                self._holders[run.long][gram].append(number)
        elif length >= run.minimum:
            # Indexed by its first `minimum` units and then compared in full, so that one run length is enough.
            self._holders[run.minimum][int(hash_runs(wording.hashes[: run.minimum], run.minimum)[0])].append(number)

    def _find_run(self, wording: TokenizedText) -> Overlap | None:
        text = f" {wording.plain} "
        for length, holders in self._holders.items():
            grams = hash_runs(wording.hashes, length).tolist()
            if holders.keys().isdisjoint(grams):
                continue
            for start in (i for i, gram in enumerate(grams) if gram in holders):
                run = " ".join(wording.units[start : start + length])
                for number in holders[grams[start]]:
                    shared = run if length in (WORDS.long, CHARACTERS.long) else self._texts[number]
                    # 32-bit hashes can collide; compare the words.
                    if f" {shared} " in f" {self._texts[number]} " and f" {shared} " in text:
                        return Overlap(self._ids[number], shared)
        return None


def hash_runs(hashes: NDArray[np.uint32], length: int) -> NDArray[np.uint32]:
    """Hash every run of `length` units by combining the hashes of its two (possibly overlapping) halves.

    Returns [units - length + 1].
    """
    if length == 1:
        return hashes
    half = (length + 1) // 2
    halves, count = hash_runs(hashes, half), max(len(hashes) - length + 1, 0)
    combined = halves[:count] * _BASE + halves[length - half : length - half + count]
    return combined ^ (combined >> np.uint32(15))


def _run(wording: TokenizedText) -> Run:
    return CHARACTERS if 2 * sum(map(is_han, wording.units)) > len(wording.units) else WORDS
