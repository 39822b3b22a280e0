"""Two runs, or two writers, on the same prompts: everything that `longform compare` tells, and the texts behind it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from longform.evaluation.compare.cross_judge import CrossJudge, cross_judge
from longform.evaluation.compare.judging import JudgeAnswers
from longform.evaluation.compare.measures import (
    Contrast,
    Measure,
    Progress,
    Sampling,
    contrast,
    measure_grades,
    measure_texts,
    measure_wins,
)
from longform.evaluation.compare.pairing import BINS, PairedPrompt, Pairing


@dataclass(frozen=True, slots=True)
class Group:
    """The prompts with one value of a field, or of one length bin."""

    name: str
    prompts: int
    contrasts: Sequence[Contrast]


@dataclass(frozen=True, slots=True)
class Comparison:
    """B against A."""

    a: str
    b: str
    prompts: int
    only_a: int
    """Prompts that only A answered; they are left out."""
    only_b: int
    contrasts: Sequence[Contrast]
    """Grades first, then wins, then what is measured on the page."""
    groups: Sequence[Group]
    bins: Sequence[Group]
    bins_of: str
    judges: CrossJudge | None
    """None where no judge was asked."""
    sampling: Sampling


@dataclass(frozen=True, slots=True)
class Gain:
    """A prompt with what B gains over A on it."""

    prompt: PairedPrompt
    a: float
    b: float

    @property
    def gain(self) -> float:
        """B's number less A's."""
        return self.b - self.a


def measure_all(
    pairing: Pairing, answers: Sequence[JudgeAnswers] = (), *, on_progress: Progress = lambda done, total: None
) -> list[Measure]:
    """Everything that is known of both sides, prompt by prompt: grades, wins, then the texts' own measures."""
    wins = [it for one in answers if (it := measure_wins(one.games, one.judge)) is not None]
    return [*measure_grades(pairing), *wins, *measure_texts(pairing, on_progress=on_progress)]


def compare(
    pairing: Pairing,
    measures: Sequence[Measure],
    answers: Sequence[JudgeAnswers] = (),
    *,
    sampling: Sampling,
    reward_judges: Sequence[str] = (),
) -> Comparison:
    """B against A in every measure, over all prompts and by group and length bin.

    Args:
        pairing: what both wrote.
        measures: of `measure_all`.
        answers: of the judges that were asked.
        sampling: how intervals and tests are drawn.
        reward_judges: those that rewarded B in training.
    """
    grades = [it for it in measures if it.kind == "grade"]
    groups = sorted({it.group for it in pairing.prompts if it.group is not None})
    return Comparison(
        pairing.a,
        pairing.b,
        len(pairing.prompts),
        pairing.only_a,
        pairing.only_b,
        _contrasts(measures, sampling),
        [_group(name, (it for it in pairing.prompts if it.group == name), measures, sampling) for name in groups],
        [
            group
            for name in BINS
            if (group := _group(name, (it for it in pairing.prompts if it.bin == name), measures, sampling)).prompts
        ],
        pairing.bins_of,
        cross_judge(answers, grades, sampling, reward_judges=reward_judges) if answers else None,
        sampling,
    )


def rank_gains(pairing: Pairing, measure: Measure) -> list[Gain]:
    """The prompts that have the measure, the largest gain of B first, then by id."""
    found = [Gain(it, *measure.values[it.id]) for it in pairing.prompts if it.id in measure.values]
    return sorted(found, key=lambda it: (-it.gain, it.prompt.id))


def _contrasts(measures: Sequence[Measure], sampling: Sampling, prompts: set[str] | None = None) -> list[Contrast]:
    return [it for measure in measures if (it := contrast(measure, sampling, prompts=prompts)) is not None]


def _group(name: str, prompts: Iterable[PairedPrompt], measures: Sequence[Measure], sampling: Sampling) -> Group:
    ids = {it.id for it in prompts}
    return Group(name, len(ids), _contrasts(measures, sampling, ids))
