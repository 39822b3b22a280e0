"""How much of a gain other judges confirm: B was trained with one judge's reward and is evaluated by several.

A judge's gain is B's win rate minus A's in its own verdicts, or the difference of its own grades. The surviving share
is another judge's gain divided by the reward judge's, on the prompts that both judged. If the reward judge's gain is
not significantly above 0, the share is undefined, because the ratio would be noise.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from longform.evaluation.audit.agreement import InterRaterAgreement, Raters, measure_between
from longform.evaluation.compare.judging import JudgeAnswers, was_asked
from longform.evaluation.compare.measures import Contrast, Measure, Sampling, contrast, measure_wins
from longform.evaluation.estimates import Bootstrap, ClusteredEstimate
from longform.records.schemas import Winner

Gains = Mapping[str, float]
"""Prompt id -> B minus A."""


@dataclass(frozen=True, slots=True)
class Survival:
    """The share of the reward judge's gain that another judge confirms."""

    share: ClusteredEstimate | None
    """1: all of it. None: undefined."""
    reward_gain: ClusteredEstimate
    """The reward judge's gain on the prompts that both judged."""


@dataclass(frozen=True, slots=True)
class JudgeRow:
    """One judge's comparison of B with A."""

    judge: str
    gave_reward: bool
    games: int
    without_call: int
    """Games decided without a call, because the texts are equal or one is empty."""
    no_verdict: Mapping[str, int]
    """Missing verdicts by cause."""
    wins: Contrast | None
    """None if no game has a verdict."""
    grades: Contrast | None
    """None if it graded no prompt on both sides."""
    no_grade: Mapping[str, int]
    wins_survive: Survival | None
    """None for the reward judge itself, or if it is not among the judges."""
    grades_survive: Survival | None


@dataclass(frozen=True, slots=True)
class CrossJudge:
    """A row per judge, and the agreement of the judges."""

    rows: Sequence[JudgeRow]
    reward_judges: Sequence[str]
    """Judges that gave the reward, as far as known; several form a panel, whose gain is the mean of theirs."""
    between: InterRaterAgreement | None
    """Agreement on the same games; None with fewer than two judges."""


def cross_judge(
    answers: Sequence[JudgeAnswers],
    grades: Sequence[Measure],
    sampling: Sampling,
    *,
    reward_judges: Sequence[str] = (),
) -> CrossJudge:
    """Compare B with A by every judge.

    Args:
        answers: The judges' answers.
        grades: Grades by judge, from `measure_grades`.
        sampling: Settings of intervals and tests.
        reward_judges: Judges that gave B's reward in training.
    """
    wins = {it.judge: measure for it in answers if (measure := measure_wins(it.games, it.judge)) is not None}
    graded = {it.judge: it for it in grades if it.judge is not None}
    reward = [it.judge for it in answers if it.judge in reward_judges]
    reward_wins, reward_grades = _mean_gains(wins, reward), _mean_gains(graded, reward)
    rows = []
    for it in answers:
        own_wins, own_grades, gave = wins.get(it.judge), graded.get(it.judge), it.judge in reward
        rows.append(
            JudgeRow(
                it.judge,
                gave,
                len(it.games),
                sum(not was_asked(game) for game in it.games),
                dict(it.no_verdict),
                None if own_wins is None else contrast(own_wins, sampling),
                None if own_grades is None else contrast(own_grades, sampling),
                dict(it.no_grade),
                None if gave or own_wins is None else surviving(reward_wins, own_wins.gains(), sampling.bootstrap),
                None
                if gave or own_grades is None
                else surviving(reward_grades, own_grades.gains(), sampling.bootstrap),
            )
        )
    between = measure_between(_raters(answers), sampling.bootstrap) if len(answers) > 1 else None
    return CrossJudge(rows, tuple(reward_judges), between)


def surviving(reward: Gains, other: Gains, bootstrap: Bootstrap) -> Survival | None:
    """Compute the share of the reward judge's gain that another judge confirms; None if they have no prompt in common.

    The share is defined if the 95% interval of the reward judge's gain is above 0. Resamples in which that gain is not above
    0, then fewer than one in forty, are excluded from the share's interval.

    Args:
        reward: Gains according to the reward judge.
        other: Gains according to the other judge.
        bootstrap: Bootstrap settings.
    """
    ids = [id_ for id_ in reward if id_ in other]
    gain = bootstrap.mean([(reward[id_], id_) for id_ in ids])
    if gain is None:
        return None
    if not gain.value.low > 0:
        return Survival(None, gain)
    parts = np.array([(other[id_], reward[id_]) for id_ in ids])
    return Survival(bootstrap.of_sums(parts, ids, _ratio), gain)


def _ratio(sums: np.ndarray) -> np.ndarray:
    """Return ratios, [draws], from sums of gains, [draws, 2]; NaN if the second is not above 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(sums[:, 1] > 0, sums[:, 0] / sums[:, 1], np.nan)


def _mean_gains(measures: Mapping[str, Measure], judges: Sequence[str]) -> dict[str, float]:
    """Return the mean gain over `judges` on each prompt that all of them judged; empty without judges."""
    gains = [measures[name].gains() for name in judges if name in measures]
    if not gains or len(gains) < len(judges):
        return {}
    return {id_: fmean(it[id_] for it in gains) for id_ in gains[0] if all(id_ in it for it in gains)}


def _raters(answers: Sequence[JudgeAnswers]) -> Raters:
    """Collect the verdicts of all judges by game, without games decided without a call."""
    by_judge: dict[str, dict[tuple[str, int | None, str | None], Winner]] = {
        it.judge: {(game.prompt_id, game.sample, game.order): game.winner for game in it.games if was_asked(game)}
        for it in answers
    }
    items = list(dict.fromkeys(item for verdicts in by_judge.values() for item in verdicts))
    verdicts: dict[str, Sequence[Winner | None]] = {
        judge: [verdicts.get(item) for item in items] for judge, verdicts in by_judge.items()
    }
    return Raters([id_ for id_, *_ in items], verdicts, np.ones(len(items)))
