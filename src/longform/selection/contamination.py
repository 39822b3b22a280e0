"""Which prompts overlap with those of a benchmark, so that a writer trained on them would have seen the test.

A prompt overlaps with a benchmark's if it has the same words, is a near duplicate, or shares a long run of words: 13, or 20
characters where the benchmark's prompt is mainly Chinese. A benchmark's prompt that is shorter than such a run counts as one
if the other holds it whole; below 5 words (8 characters) it would be met by chance and is left out.
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
    """Shared, it is no accident."""
    least: int
    """Shorter prompts are not looked for inside others."""


WORDS = Run(13, 5)
CHARACTERS = Run(20, 8)
_BASE = np.uint32(2_654_435_761)


class Overlap(NamedTuple):
    """The benchmark's prompt that a prompt overlaps with, and by what: `same words`, a similarity, or the shared run."""

    id: str
    by: str


class Benchmarks:
    """Prompts of benchmarks, to be kept out of training.

    Args:
        prompts: (id, words) of each.
        near: Least Jaccard similarity of near duplicates.
    """

    def __init__(self, prompts: Iterable[tuple[str, TokenizedText]], *, near: float) -> None:
        self._seen = DedupIndex(near)
        self._ids: list[str] = []
        self._texts: list[str] = []
        self._holders: dict[int, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
        """Length in units -> hash of a run -> the prompts that hold it."""
        for id_, wording in prompts:
            if wording.units:
                self._add(id_, wording)

    def find(self, wording: TokenizedText) -> Overlap | None:
        """The first overlap with a benchmark's prompt: the same words before near ones before a shared run."""
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
        elif length >= run.least:
            # Found by its beginning, and then looked for whole: one length of run instead of one for each length.
            self._holders[run.least][int(hash_runs(wording.hashes[: run.least], run.least)[0])].append(number)

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
                    # Hashes of 32 bits collide now and then; words do not.
                    if f" {shared} " in f" {self._texts[number]} " and f" {shared} " in text:
                        return Overlap(self._ids[number], shared)
        return None


def hash_runs(hashes: NDArray[np.uint32], length: int) -> NDArray[np.uint32]:
    """[units - length + 1] a hash of every run of `length` units, made of those of its two halves, which may overlap."""
    if length == 1:
        return hashes
    half = (length + 1) // 2
    halves, count = hash_runs(hashes, half), max(len(hashes) - length + 1, 0)
    found = halves[:count] * _BASE + halves[length - half : length - half + count]
    return found ^ (found >> np.uint32(15))


def _run(wording: TokenizedText) -> Run:
    return CHARACTERS if 2 * sum(map(is_han, wording.units)) > len(wording.units) else WORDS
