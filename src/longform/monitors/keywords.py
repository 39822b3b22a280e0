"""Keyword drift: words that a run's texts come back to more and more, and that are rewarded.

A run keeps the texts of its steps, so nothing else has to be kept for this: the tally of a resumed run reads the first
and the latest steps again and goes on identically. What it says of a step is metrics (`keyword/WORD`), which signatures
and reports read like any other.

A word drifts when four things hold of the latest texts against the first ones. It makes up several times as much of
them. Texts use it again and again, not once each, which is how a policy learns a form (the events of a story, the
greeting of a letter). Not only a few texts do. And of the responses to one prompt, those with more of it get the higher
rewards. Words of the prompt and words that serve grammar are left out.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from math import sqrt
from statistics import fmean
from typing import NamedTuple

from longform.monitors.series import MAX_STEPS, MIN_CASES, MIN_STEPS, Series
from longform.text.repetition import units
from longform.text.stuffing import content_terms

STEPS, TEXTS_COMPARED = MIN_STEPS // 2, MIN_CASES // 2
"""Of the opening, and of the latest texts: half a window each, so that a drift can be told as soon as a window is full."""
LONGEST = MAX_STEPS // 2
"""Steps, where they are small."""
RISEN = 3.0
"""Times its share of all words at first. The share of a word that a quarter of the texts use is known to about a quarter."""
MIN_AGAIN = 1e-3
"""Further uses in the same text, per word: two in a text of 2,000 words."""
MIN_SPREAD = 0.25
"""Share of the texts that use the word more than once: a name that one text has invented stays out."""
SURE = 3.0
"""Standard deviations by which higher rewards go with more of the word."""
MAX_TEXTS = 128
"""Texts of a step that are counted, the first ones: prompts are drawn at random."""
MAX_WORDS = 8
"""Drifting words that are named."""
COUNT, WORD = "text/keywords", "keyword/"
"""The metric that counts the drifting words of a step, and how those begin that give each word's share of all words."""


class JudgedText(NamedTuple):
    """An answer, and what it got."""

    text: str
    prompt: str
    """The request; texts of one request are compared with each other."""
    reward: float | None


@dataclass(slots=True)
class _Use:
    """Of one word."""

    uses: int = 0
    again: int = 0
    """Uses beyond the first in a text."""
    texts: int = 0
    """That use it more than once."""
    gain: float = 0.0
    """Sum over texts of (share of its words - the mean share of its group) times (reward - the mean reward)."""
    variance: float = 0.0
    """Sum of the squares of these products: of `gain`, where word and reward have nothing to do with each other."""

    def add(self, other: "_Use") -> None:
        self.uses += other.uses
        self.again += other.again
        self.texts += other.texts
        self.gain += other.gain
        self.variance += other.variance


@dataclass(slots=True)
class _Count:
    """Of the texts of a step, or of several."""

    steps: int = 0
    texts: int = 0
    words: int = 0
    uses: dict[str, _Use] = field(default_factory=dict)

    def add(self, other: "_Count") -> None:
        self.steps += other.steps
        self.texts += other.texts
        self.words += other.words
        for word, use in other.uses.items():
            self.uses.setdefault(word, _Use()).add(use)

    def share(self, word: str) -> float:
        return self.uses[word].uses / self.words if word in self.uses else 0.0


class KeywordTally:
    """Counts words step by step. It holds the counts of a run's opening and of its latest texts, a few hundred in all."""

    def __init__(self) -> None:
        self._opening = _Count()
        self._latest: deque[_Count] = deque()
        self._drifting: set[str] = set()

    @classmethod
    def over(cls, read: Callable[[int], Iterable[JudgedText]], series: Series, *, last: int) -> "KeywordTally":
        """The tally of a run that has come as far as `last`.

        Args:
            read: the texts of a step, from 1 on.
            series: metrics of the run.
            last: its last step.
        """
        tally, step = cls(), 0
        while step < last and not _is_enough((tally._opening,)):
            step += 1
            tally._opening.add(_count(read(step)))
        for step in range(last, max(last - LONGEST, 0), -1):
            tally._latest.appendleft(_count(read(step)))
            if _is_enough(tally._latest):
                break
        tally._drifting = set(words_at(series, last))
        return tally

    def see(self, texts: Iterable[JudgedText]) -> dict[str, float]:
        """Count the texts of a step; how many words drift, and each one's share of all. Empty while it is too early."""
        count = _count(texts)
        if not _is_enough((self._opening,)):
            self._opening.add(count)
        self._latest.append(count)
        while _is_enough(tuple(self._latest)[1:]):
            self._latest.popleft()
        if not _is_enough(self._latest):
            return {}
        now = _Count()
        for it in self._latest:
            now.add(it)
        shares = {word: now.share(word) for word in now.uses if self._is_drifting(word, now)}
        leading = sorted(shares, key=lambda word: (-shares[word], word))[:MAX_WORDS]
        self._drifting = set(leading)
        return {COUNT: float(len(leading)), **{WORD + word: shares[word] for word in leading}}

    def _is_drifting(self, word: str, now: _Count) -> bool:
        """A word that has been told stays one until it has become rare again: once all texts have it, none gains by it."""
        use = now.uses[word]
        return (
            use.again >= MIN_AGAIN * now.words
            and use.texts >= MIN_SPREAD * now.texts
            and now.share(word) >= RISEN * self._opening.share(word)
            and (word in self._drifting or use.gain > SURE * sqrt(max(use.variance, 0.0)))
        )


def words_at(series: Series, step: int) -> dict[str, float]:
    """The words that drift at a step, with their shares of all words, the largest first."""
    points = {name: found[-1] for name, found in series.items() if name.startswith(WORD) and found}
    shares = {name.removeprefix(WORD): share for name, (at, share) in points.items() if at == step}
    return dict(sorted(shares.items(), key=lambda it: (-it[1], it[0])))


def _is_enough(counts: Sequence[_Count] | deque[_Count]) -> bool:
    """Whether counts of steps are enough to be held against others."""
    steps, texts = sum(it.steps for it in counts), sum(it.texts for it in counts)
    return steps >= STEPS and (texts >= TEXTS_COMPARED or steps >= LONGEST)


def _count(texts: Iterable[JudgedText]) -> _Count:
    """The words of one step's texts."""
    kept = [it for it in islice(texts, MAX_TEXTS) if it.text]
    by_prompt: dict[str, list[JudgedText]] = {}
    for it in kept:
        by_prompt.setdefault(it.prompt, []).append(it)
    # Where prompts have one response each, but for a chance repetition, all of the step are compared.
    groups = list(by_prompt.values()) if 2 * len(by_prompt) <= len(kept) else [kept]
    count = _Count(steps=1)
    for group in groups:
        _add_group(count, group)
    return count


def _add_group(count: _Count, group: Sequence[JudgedText]) -> None:
    shares: dict[str, dict[int, float]] = {}
    asked = {prompt: frozenset(content_terms(units(prompt))) for prompt in {it.prompt for it in group}}
    for place, it in enumerate(group):
        found = units(it.text)
        count.texts += 1
        count.words += len(found)
        for word, uses in Counter(content_terms(found)).items():
            if word and word not in asked[it.prompt]:
                shares.setdefault(word, {})[place] = uses / len(found)
                count.uses.setdefault(word, _Use()).add(_Use(uses, uses - 1, int(uses > 1)))
    _add_gains(count.uses, shares, {place: it.reward for place, it in enumerate(group) if it.reward is not None})


def _add_gains(
    uses: Mapping[str, _Use], shares: Mapping[str, Mapping[int, float]], rewards: Mapping[int, float]
) -> None:
    """What each word's share has to do with the rewards of a group.

    Args:
        uses: to be added to.
        shares: of each word, its share of the words of the texts that have it, by their places.
        rewards: of the texts that have one, by their places.
    """
    mean = fmean(rewards.values()) if rewards else 0.0
    gains = {place: reward - mean for place, reward in rewards.items()}
    squares = sum(gain**2 for gain in gains.values())
    for word, found in shares.items():
        compared = {place: share for place, share in found.items() if place in gains}
        typical, use = sum(compared.values()) / max(len(gains), 1), uses[word]
        use.gain += sum(share * gains[place] for place, share in compared.items())
        # Texts without the word lie `typical` below the mean; they are not gone through one by one.
        use.variance += typical**2 * squares
        use.variance += sum(((it - typical) ** 2 - typical**2) * gains[place] ** 2 for place, it in compared.items())
