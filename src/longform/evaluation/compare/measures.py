"""One number of each side for every prompt, and what the two sides differ by.

The prompt is the unit of every interval and test: texts of one prompt are one piece of evidence.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Literal, NamedTuple

from longform.evaluation.compare.pairing import Pairing
from longform.evaluation.compare.sides import GradedText
from longform.evaluation.estimates import Bootstrap, ClusteredEstimate
from longform.judging.both_orders import split_pairs
from longform.records.progress import Progress
from longform.records.schemas import GAME_SCORES, Game
from longform.statistics.paired import PairedTest, sign_flip_test
from longform.text.redundancy import redundant_sentence_share
from longform.text.repetition import repeated_ngram_share, repeated_sentence_share
from longform.text.words import count_words

Kind = Literal["grade", "wins", "text"]
_EQUAL = 1e-9
"""Means of the same scores differ by rounding."""


class Sampling(NamedTuple):
    """How intervals and tests are drawn."""

    resamples: int = 2000
    draws: int = 10_000
    """Sign patterns of a test, where there are too many to look at all."""
    seed: int = 0

    @property
    def bootstrap(self) -> Bootstrap:
        """Of the intervals."""
        return Bootstrap(self.resamples, self.seed)


@dataclass(frozen=True, slots=True)
class Measure:
    """What is compared."""

    name: str
    kind: Kind
    values: Mapping[str, tuple[float, float]]
    """Prompt id -> what it is of A and of B."""
    judge: str | None = None
    digits: int = 2
    half_pairs: Mapping[str, int] = field(default_factory=dict)
    """Of wins: prompt id -> pairs of texts that are left out, since they have a verdict in one order alone."""

    def gains(self) -> dict[str, float]:
        """B's number less A's, by prompt id."""
        return {id_: b - a for id_, (a, b) in self.values.items()}


@dataclass(frozen=True, slots=True)
class Contrast:
    """One measure of both sides; n is the number of prompts."""

    measure: str
    kind: Kind
    judge: str | None
    digits: int
    a: ClusteredEstimate
    """Mean over the prompts."""
    b: ClusteredEstimate
    difference: ClusteredEstimate
    """B less A, prompt by prompt."""
    test: PairedTest
    """That the difference is 0."""
    higher: ClusteredEstimate
    """Share of the prompts on which B's number is higher: for grades and wins, on which B is better."""
    equal: ClusteredEstimate
    lower: ClusteredEstimate
    half_pairs: int
    """Pairs of texts that are left out, since they have a verdict in one order alone."""


def contrast(measure: Measure, sampling: Sampling, *, prompts: Container[str] | None = None) -> Contrast | None:
    """What the sides differ by in a measure; None where no prompt has it.

    Args:
        measure: of both sides.
        sampling: how intervals and tests are drawn.
        prompts: those that count; all where it is None.
    """
    found = [(id_, *values) for id_, values in measure.values.items() if prompts is None or id_ in prompts]
    if not found:
        return None
    ids = [id_ for id_, *_ in found]
    gains = [b - a if abs(b - a) > _EQUAL else 0.0 for _, a, b in found]

    def mean(values: Sequence[float]) -> ClusteredEstimate:
        figure = sampling.bootstrap.mean(list(zip(values, ids, strict=True)))
        assert figure is not None, "there are prompts"
        return figure

    return Contrast(
        measure.name,
        measure.kind,
        measure.judge,
        measure.digits,
        a=mean([a for _, a, _ in found]),
        b=mean([b for _, _, b in found]),
        difference=mean(gains),
        test=sign_flip_test(gains, draws=sampling.draws, seed=sampling.seed),
        higher=mean([gain > 0 for gain in gains]),
        equal=mean([gain == 0 for gain in gains]),
        lower=mean([gain < 0 for gain in gains]),
        half_pairs=sum(n for id_, n in measure.half_pairs.items() if prompts is None or id_ in prompts),
    )


def measure_grades(pairing: Pairing) -> list[Measure]:
    """The grades of each judge that graded both sides of a prompt."""
    judges = sorted({judge for it in pairing.prompts for side in (it.a, it.b) for one in side for judge in one.grades})
    found = []
    for judge in judges:
        means = {it.id: it.means(lambda one, judge=judge: one.grades.get(judge)) for it in pairing.prompts}
        values = {id_: both for id_, both in means.items() if both is not None}
        if values:
            is_share = all(0 <= it <= 1 for both in values.values() for it in both)
            found.append(Measure(f"grade by {judge}", "grade", values, judge, digits=3 if is_share else 2))
    return found


def measure_wins(games: Sequence[Game], judge: str) -> Measure | None:
    """Each side's share of a judge's games, ties half; None where no pair of texts has a verdict in both orders.

    A pair with one order alone is left out: what the judge thinks of the first place would count as a difference of texts.
    """
    whole, alone = split_pairs(games)
    if not whole:
        return None
    scores: dict[str, list[float]] = defaultdict(list)
    for game in whole:
        scores[game.prompt_id].append(GAME_SCORES[game.winner])
    values = {id_: (fmean(of_a), 1 - fmean(of_a)) for id_, of_a in scores.items()}
    half = Counter(game.prompt_id for game in alone)
    return Measure(f"win rate, {judge} judging", "wins", values, judge, digits=3, half_pairs=half)


def measure_texts(pairing: Pairing, *, on_progress: Progress = lambda done, total: None) -> list[Measure]:
    """Words, repetition and redundancy; the latter over prompts on which both sides wrote a word."""
    shares = {
        "repeated 4-word runs": repeated_ngram_share,
        "repeated sentences": repeated_sentence_share,
        "redundant sentences": redundant_sentence_share,
    }
    words: dict[str, tuple[float, float]] = {}
    measured: dict[str, dict[str, tuple[float, float]]] = {name: {} for name in shares}
    for done, it in enumerate(pairing.prompts, 1):
        counted = it.means(lambda one: count_words(one.text))
        assert counted is not None, "both sides have a text"
        words[it.id] = counted
        for name, share in shares.items():
            means = it.means(lambda one, share=share: _share_of(one, share))
            if means is not None:
                measured[name][it.id] = means
        on_progress(done, len(pairing.prompts))
    found = [Measure(name, "text", values, digits=3) for name, values in measured.items() if values]
    return [Measure("words", "text", words, digits=0), *found]


def _share_of(written: GradedText, share: Callable[[str], float]) -> float | None:
    """A share of the text; an empty one repeats nothing, which is no merit, so it has none."""
    return share(written.text) if written.text.strip() else None
