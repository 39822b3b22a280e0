"""One number per side and prompt, and the differences between the sides.

The prompt is the unit of every interval and test: all texts of a prompt are one piece of evidence.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Literal, NamedTuple

from longform.evaluation.compare.pairing import Pairing
from longform.evaluation.compare.sides import GradedText
from longform.evaluation.estimates import Bootstrap, ClusteredEstimate
from longform.judging.pairwise import split_pairs
from longform.records.progress import Progress
from longform.records.schemas import GAME_SCORES, Game
from longform.statistics.paired import PairedTest, sign_flip_test
from longform.text.repetition import repeated_ngram_share, repeated_sentence_share, reworded_sentence_share
from longform.text.words import count_words_of_any_script

Kind = Literal["grade", "wins", "text"]
_EQUAL = 1e-9
"""Tolerance of means of equal scores, which may differ by rounding."""


class Sampling(NamedTuple):
    """Settings of intervals and tests."""

    resamples: int = 2000
    draws: int = 10_000
    """Number of random sign patterns of a test, if there are too many to enumerate."""
    seed: int = 0

    @property
    def bootstrap(self) -> Bootstrap:
        """Bootstrap settings of the intervals."""
        return Bootstrap(self.resamples, self.seed)


@dataclass(frozen=True, slots=True)
class Measure:
    """A measured quantity."""

    name: str
    kind: Kind
    values: Mapping[str, tuple[float, float]]
    """Prompt id -> (value of A, value of B)."""
    judge: str | None = None
    digits: int = 2
    half_pairs: Mapping[str, int] = field(default_factory=dict)
    """For wins: prompt id -> pairs left out because they have a verdict in only one order."""

    def gains(self) -> dict[str, float]:
        """Return B minus A by prompt id."""
        return {id_: b - a for id_, (a, b) in self.values.items()}


@dataclass(frozen=True, slots=True)
class Contrast:
    """Comparison of both sides in one measure; n is the number of prompts."""

    measure: str
    kind: Kind
    judge: str | None
    digits: int
    a: ClusteredEstimate
    """Mean over the prompts."""
    b: ClusteredEstimate
    difference: ClusteredEstimate
    """B minus A, paired by prompt."""
    test: PairedTest
    """Test that the difference is 0."""
    higher: ClusteredEstimate
    """Fraction of the prompts on which B's value is higher (for grades and wins: better)."""
    equal: ClusteredEstimate
    lower: ClusteredEstimate
    half_pairs: int
    """Pairs left out because they have a verdict in only one order."""


def contrast(measure: Measure, sampling: Sampling, *, prompts: Container[str] | None = None) -> Contrast | None:
    """Compare both sides in a measure; None if no prompt has it.

    Args:
        measure: Values of both sides.
        sampling: Settings of intervals and tests.
        prompts: Ids of the prompts to include; None for all.
    """
    rows = [(id_, *values) for id_, values in measure.values.items() if prompts is None or id_ in prompts]
    if not rows:
        return None
    ids = [id_ for id_, *_ in rows]
    gains = [b - a if abs(b - a) > _EQUAL else 0.0 for _, a, b in rows]

    def mean(values: Sequence[float]) -> ClusteredEstimate:
        figure = sampling.bootstrap.mean(list(zip(values, ids, strict=True)))
        assert figure is not None, "there are prompts"
        return figure

    return Contrast(
        measure.name,
        measure.kind,
        measure.judge,
        measure.digits,
        a=mean([a for _, a, _ in rows]),
        b=mean([b for _, _, b in rows]),
        difference=mean(gains),
        test=sign_flip_test(gains, draws=sampling.draws, seed=sampling.seed),
        higher=mean([gain > 0 for gain in gains]),
        equal=mean([gain == 0 for gain in gains]),
        lower=mean([gain < 0 for gain in gains]),
        half_pairs=sum(n for id_, n in measure.half_pairs.items() if prompts is None or id_ in prompts),
    )


def measure_grades(pairing: Pairing) -> list[Measure]:
    """Return the grades by each judge that graded both sides of a prompt."""
    judges = sorted({judge for it in pairing.prompts for side in (it.a, it.b) for one in side for judge in one.grades})
    measures = []
    for judge in judges:
        means = {it.id: it.means(lambda one, judge=judge: one.grades.get(judge)) for it in pairing.prompts}
        values = {id_: both for id_, both in means.items() if both is not None}
        if values:
            is_share = all(0 <= it <= 1 for both in values.values() for it in both)
            measures.append(Measure(f"grade by {judge}", "grade", values, judge, digits=3 if is_share else 2))
    return measures


def measure_wins(games: Sequence[Game], judge: str) -> Measure | None:
    """Return each side's share of a judge's games, ties half; None if no pair has verdicts in both orders.

    Pairs with a verdict in only one order are left out, because position bias would count as a difference.
    """
    complete, single = split_pairs(games)
    if not complete:
        return None
    scores: dict[str, list[float]] = defaultdict(list)
    for game in complete:
        scores[game.prompt_id].append(GAME_SCORES[game.winner])
    values = {id_: (fmean(of_a), 1 - fmean(of_a)) for id_, of_a in scores.items()}
    half = Counter(game.prompt_id for game in single)
    return Measure(f"win rate, {judge} judging", "wins", values, judge, digits=3, half_pairs=half)


def measure_texts(pairing: Pairing, *, on_progress: Progress = lambda done, total: None) -> list[Measure]:
    """Measure words, repetition and rewording; the latter two on prompts with non-empty texts on both sides."""
    shares = {
        "repeated word 4-grams": repeated_ngram_share,
        "repeated sentences": repeated_sentence_share,
        "reworded sentences": reworded_sentence_share,
    }
    words: dict[str, tuple[float, float]] = {}
    measured: dict[str, dict[str, tuple[float, float]]] = {name: {} for name in shares}
    for done, it in enumerate(pairing.prompts, 1):
        counted = it.means(lambda one: count_words_of_any_script(one.text))
        assert counted is not None, "both sides have a text"
        words[it.id] = counted
        for name, share in shares.items():
            means = it.means(lambda one, share=share: _share_of(one, share))
            if means is not None:
                measured[name][it.id] = means
        on_progress(done, len(pairing.prompts))
    measures = [Measure(name, "text", values, digits=3) for name, values in measured.items() if values]
    return [Measure("words", "text", words, digits=0), *measures]


def _share_of(written: GradedText, share: Callable[[str], float]) -> float | None:
    """Measure a text; None for an empty one, which has no repetition because it has no text."""
    return share(written.text) if written.text.strip() else None
