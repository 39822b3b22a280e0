"""Keyword drift: words that a run's texts use more and more often, and that are rewarded.

The tally needs no stored state: after a resume it reads the first and the latest steps of the run again and continues
identically. It yields metrics for each step (`keyword/WORD`), which signatures and reports read like any other.

A word drifts if four conditions hold for the latest texts compared with the first:

- Its share of all words is several times larger.
- Texts repeat it. A single use per text is ignored, because policies learn forms, such as the greeting of a letter.
- More than a few texts repeat it.
- Among the responses to one prompt, those with more uses get higher rewards.

Words of the prompt and function words are ignored.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from math import sqrt
from statistics import fmean
from typing import NamedTuple

from longform.monitors.series import MAX_STEPS, MIN_CASES, MIN_STEPS, Series
from longform.text.repetition import content_terms, units

STEPS, TEXTS_COMPARED = MIN_STEPS // 2, MIN_CASES // 2
"""Size of the opening and of the latest texts: half a window each, so that drift can be detected once a window is full."""
LONGEST = MAX_STEPS // 2
"""Maximum number of steps per half, for runs with small steps."""
MIN_RISE = 3.0
"""Minimum ratio to the word's initial share. The share of a word used by a quarter of the texts has a 25% standard error."""
MIN_REPEATS = 1e-3
"""Minimum rate of repeated uses within a text, per word: two in a text of 2,000 words."""
MIN_SPREAD = 0.25
"""Minimum fraction of texts that repeat the word; excludes names invented in one text."""
SURE = 3.0
"""Minimum association of reward and use of the word, in standard deviations."""
MAX_TEXTS = 128
"""Maximum number of texts counted per step; the first ones, since prompts are drawn at random."""
MAX_WORDS = 8
"""Maximum number of drifting words reported."""
COUNT, WORD = "text/keywords", "keyword/"
"""Metric with the number of drifting words, and prefix of the metrics with each word's share of all words."""


class JudgedText(NamedTuple):
    """An answer with its prompt and reward."""

    text: str
    prompt: str
    """Texts with the same prompt are compared with each other."""
    reward: float | None


@dataclass(slots=True)
class _Use:
    """Usage counts of one word."""

    uses: int = 0
    repeats: int = 0
    """Uses beyond the first in a text."""
    texts: int = 0
    """Texts that use it more than once."""
    gain: float = 0.0
    """Sum over texts of (word's share - group mean) x (reward - group mean)."""
    variance: float = 0.0
    """Sum of the squares of these products: the variance of `gain` if word and reward are independent."""

    def add(self, other: "_Use") -> None:
        self.uses += other.uses
        self.repeats += other.repeats
        self.texts += other.texts
        self.gain += other.gain
        self.variance += other.variance


@dataclass(slots=True)
class _Count:
    """Word counts of the texts of one or more steps."""

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
    """Counts words step by step. Keeps the counts of the opening and of the latest texts, a few hundred texts in total."""

    def __init__(self) -> None:
        self._opening = _Count()
        self._latest: deque[_Count] = deque()
        self._drifting: set[str] = set()

    @classmethod
    def over(cls, read: Callable[[int], Iterable[JudgedText]], series: Series, *, last: int) -> "KeywordTally":
        """Rebuild the tally of a run at step `last`.

        Args:
            read: Returns the texts of a step, counted from 1.
            series: Metrics of the run.
            last: The run's last step.
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
        """Count the texts of a step; return the metrics of the drifting words. Empty while there are too few texts."""
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
        """Whether a word drifts. Once it does, association with the reward is no longer required: a word in all texts cannot
        have any.
        """
        use = now.uses[word]
        return (
            use.repeats >= MIN_REPEATS * now.words
            and use.texts >= MIN_SPREAD * now.texts
            and now.share(word) >= MIN_RISE * self._opening.share(word)
            and (word in self._drifting or use.gain > SURE * sqrt(max(use.variance, 0.0)))
        )


def words_at(series: Series, step: int) -> dict[str, float]:
    """Return the drifting words of a step with their shares of all words, largest first."""
    points = {name: points[-1] for name, points in series.items() if name.startswith(WORD) and points}
    shares = {name.removeprefix(WORD): share for name, (at, share) in points.items() if at == step}
    return dict(sorted(shares.items(), key=lambda it: (-it[1], it[0])))


def _is_enough(counts: Sequence[_Count] | deque[_Count]) -> bool:
    """Whether the counts cover enough texts for a comparison."""
    steps, texts = sum(it.steps for it in counts), sum(it.texts for it in counts)
    return steps >= STEPS and (texts >= TEXTS_COMPARED or steps >= LONGEST)


def _count(texts: Iterable[JudgedText]) -> _Count:
    """Count the words of one step's texts."""
    kept = [it for it in islice(texts, MAX_TEXTS) if it.text]
    by_prompt: dict[str, list[JudgedText]] = {}
    for it in kept:
        by_prompt.setdefault(it.prompt, []).append(it)
    # If prompts have one response each (apart from chance repeats), all texts of the step form one group.
    groups = list(by_prompt.values()) if 2 * len(by_prompt) <= len(kept) else [kept]
    count = _Count(steps=1)
    for group in groups:
        _add_group(count, group)
    return count


def _add_group(count: _Count, group: Sequence[JudgedText]) -> None:
    shares: dict[str, dict[int, float]] = {}
    asked = {prompt: frozenset(content_terms(units(prompt))) for prompt in {it.prompt for it in group}}
    for index, it in enumerate(group):
        words = units(it.text)
        count.texts += 1
        count.words += len(words)
        for word, uses in Counter(content_terms(words)).items():
            if word and word not in asked[it.prompt]:
                shares.setdefault(word, {})[index] = uses / len(words)
                count.uses.setdefault(word, _Use()).add(_Use(uses, uses - 1, int(uses > 1)))
    _add_gains(count.uses, shares, {index: it.reward for index, it in enumerate(group) if it.reward is not None})


def _add_gains(
    uses: Mapping[str, _Use], shares: Mapping[str, Mapping[int, float]], rewards: Mapping[int, float]
) -> None:
    """Add each word's association with the rewards of a group.

    Args:
        uses: Updated in place.
        shares: Share of each word in the texts that contain it, by text index.
        rewards: Rewards by text index; texts without a reward are absent.
    """
    mean = fmean(rewards.values()) if rewards else 0.0
    gains = {index: reward - mean for index, reward in rewards.items()}
    squares = sum(gain**2 for gain in gains.values())
    for word, in_texts in shares.items():
        compared = {index: share for index, share in in_texts.items() if index in gains}
        typical, use = sum(compared.values()) / max(len(gains), 1), uses[word]
        use.gain += sum(share * gains[index] for index, share in compared.items())
        # Texts without the word are `typical` below the mean; they are handled in closed form.
        use.variance += typical**2 * squares
        use.variance += sum(((it - typical) ** 2 - typical**2) * gains[index] ** 2 for index, it in compared.items())
