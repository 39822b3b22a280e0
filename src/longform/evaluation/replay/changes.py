"""The changes of a replay, in numbers.

Each figure covers the rollouts that have it on both sides: verdicts are compared if both refer to the same reference,
rewards and advantages if neither side was masked. Missing verdicts are counted by cause and never enter a mean.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from longform.evaluation.replay.run import Replay, ReplayedRollout
from longform.judging.pairwise import OUTCOMES
from longform.statistics.agreement import cohen_kappa
from longform.statistics.bootstrap import Interval, clustered_interval

NO_VERDICT = "no verdict"
NOT_ASKED = "not asked"
STEP_RANGES = 5
MIN_SPREAD = 1e-9
"""Minimum standard deviation of values that vary; equal values may differ from their mean in the last digit."""


@dataclass(frozen=True, slots=True)
class OutcomeChange:
    """Verdicts before and after, if both recipes have a reward that compares with a reference."""

    table: dict[str, dict[str, int]]
    """Outcome before -> outcome after -> rollouts, for the same reference. A missing verdict is `no verdict`. Responses that
    no judge was to compare with the reference are `not asked`; that label is left out if there are none."""
    agreeing: Interval | None
    """Fraction of equal outcomes among rollouts with both, clustered by prompt; None without any."""
    kappa: float | None
    """Cohen's kappa; None if both sides have only one outcome."""


@dataclass(frozen=True, slots=True)
class RewardChange:
    """Mean rewards in a range of steps, over the rollouts with a reward on both sides."""

    first_step: int
    last_step: int
    rollouts: int
    before: float
    after: float
    difference: Interval
    """after - before, clustered by prompt."""


@dataclass(frozen=True, slots=True)
class KindChange:
    """Mean scores of one of several rewards, and its influence.

    The means are over the rollouts that it scored on both sides, or on the only side that has it: with `sources`, or for
    flat groups alone, it scores some of them.
    """

    kind: str
    before: float | None
    """None if the run did not have this reward."""
    after: float | None
    """None if the changed recipe does not have it."""
    difference: Interval | None
    """after - before, clustered by prompt."""
    followed_before: float | None
    """Pearson correlation of scores and advantages within groups: the influence of this reward on the update. None if one of
    them does not vary. Over the rollouts that have both on this side."""
    followed_after: float | None


@dataclass(frozen=True, slots=True)
class AdvantageChange:
    """Advantages of the responses that have one on both sides."""

    rollouts: int
    correlation: float | None
    """Pearson correlation; None if one side does not vary."""
    sign_changed: float
    """Fraction of responses whose advantage changes its sign."""
    absolute_change: float
    """Mean of |after - before|; advantages have a standard deviation of about 1 over a step's tokens (PPO) or a group."""


@dataclass(frozen=True, slots=True)
class RungChange:
    """Rungs after the last replayed step."""

    before: float
    """Mean rung."""
    after: float
    elsewhere: int
    """Number of prompts on another rung."""


@dataclass(frozen=True, slots=True)
class ReplayChanges:
    """All changes of a replay."""

    steps: int
    rollouts: int
    other_reference: int | None
    """Rollouts with a different reference; None if prompts have no references."""
    no_reward_before: dict[str, int]
    """Masked rollouts by cause."""
    no_reward_after: dict[str, int]
    outcomes_before: dict[str, int]
    """Over all rollouts with an outcome, for any reference."""
    outcomes_after: dict[str, int]
    same_reference: OutcomeChange | None
    """None if one side has no reward that compares with a reference."""
    rewards: list[RewardChange]
    """Changes by range of steps, then over all steps."""
    kinds: list[KindChange]
    """By kind of reward, if one side has several."""
    advantages: AdvantageChange | None
    promotions_before: int
    promotions_after: int
    rungs: RungChange | None
    """None without ladders, or if one of the curricula draws a rung at each visit."""


def measure_changes(replay: Replay, *, seed: int = 0) -> ReplayChanges:
    """Compute the changes of a replay; `seed` is the bootstrap seed."""
    rollouts = replay.rollouts
    return ReplayChanges(
        steps=replay.steps,
        rollouts=len(rollouts),
        other_reference=sum(not it.same_reference for it in rollouts) if replay.inputs.have_references else None,
        no_reward_before=_count(it.cause_before for it in rollouts if it.reward_before is None),
        no_reward_after=_count(it.cause_after for it in rollouts if it.reward_after is None),
        outcomes_before=_count(it.outcome_before for it in rollouts),
        outcomes_after=_count(it.outcome_after for it in rollouts),
        same_reference=outcome_change(rollouts, seed=seed) if replay.inputs.compare else None,
        rewards=[
            change
            for first, last in [*step_ranges(replay.steps), (1, replay.steps)]
            if (change := reward_change(rollouts, first, last, seed=seed)) is not None
        ],
        kinds=_kind_changes(replay, seed=seed),
        advantages=advantage_change(rollouts),
        promotions_before=len(replay.promotions_before),
        promotions_after=len(replay.promotions_after),
        rungs=rung_change(replay.rungs_before, replay.rungs_after) if replay.inputs.have_rungs else None,
    )


def outcome_change(rollouts: Sequence[ReplayedRollout], *, seed: int = 0) -> OutcomeChange:
    """Compare verdicts on rollouts with the same reference."""
    same = [it for it in rollouts if it.same_reference]
    counts = Counter(
        (_outcome(it.outcome_before, asked=it.asked_before), _outcome(it.outcome_after, asked=it.asked_after))
        for it in same
    )
    labels = [*OUTCOMES, NO_VERDICT]
    if any(NOT_ASKED in pair for pair in counts):
        labels.append(NOT_ASKED)
    table = {was: {now: counts[was, now] for now in labels} for was in labels}
    both = [it for it in same if it.outcome_before is not None and it.outcome_after is not None]
    if not both:
        return OutcomeChange(table, None, None)
    before, after = [it.outcome_before for it in both], [it.outcome_after for it in both]
    equal = [float(was == now) for was, now in zip(before, after, strict=True)]
    agreeing = clustered_interval(equal, [it.prompt_id for it in both], seed=seed)
    kappa = cohen_kappa(before, after)
    return OutcomeChange(table, agreeing, None if np.isnan(kappa) else kappa)


def _outcome(outcome: str | None, *, asked: bool) -> str:
    return outcome or (NO_VERDICT if asked else NOT_ASKED)


def reward_change(
    rollouts: Sequence[ReplayedRollout], first_step: int, last_step: int, *, seed: int = 0
) -> RewardChange | None:
    """Compare mean rewards in a range of steps; None if no rollout has a reward on both sides."""
    pairs = [
        (it.reward_before, it.reward_after, it.prompt_id)
        for it in rollouts
        if first_step <= it.step <= last_step and it.reward_before is not None and it.reward_after is not None
    ]
    if not pairs:
        return None
    before, after, prompts = zip(*pairs, strict=True)
    differences = np.subtract(after, before)
    return RewardChange(
        first_step,
        last_step,
        len(pairs),
        float(np.mean(before)),
        float(np.mean(after)),
        clustered_interval(differences, prompts, seed=seed),
    )


def _kind_changes(replay: Replay, *, seed: int) -> list[KindChange]:
    """Compare each reward of either side, if one side has several."""
    recipes = replay.inputs.recorded, replay.inputs.replayed
    if max(len(it.rewards) for it in recipes) == 1:
        return []
    kinds = dict.fromkeys(it.kind for recipe in recipes for it in recipe.rewards)
    grouped = recipes[0].data.group > 1
    return [kind_change(replay.rollouts, kind, grouped=grouped, seed=seed) for kind in kinds]


def kind_change(rollouts: Sequence[ReplayedRollout], kind: str, *, grouped: bool, seed: int = 0) -> KindChange:
    """Compare one reward before and after.

    Args:
        rollouts: Rollouts of all steps.
        kind: Kind of the reward.
        grouped: Whether a prompt has several responses per step; otherwise, a step's responses are one group.
        seed: Bootstrap seed.
    """
    pairs = [
        (it.scores_before.get(kind), it.scores_after.get(kind), it.prompt_id)
        for it in rollouts
        if it.scores_before is not None and it.scores_after is not None
    ]
    both = [pair for pair in pairs if pair[0] is not None and pair[1] is not None]
    before, after, prompts = zip(*(both or pairs), strict=True) if pairs else ((), (), ())
    groups = [(it.step, it.prompt_id if grouped else "") for it in rollouts]
    sides = (
        [((it.scores_before or {}).get(kind), it.advantage_before) for it in rollouts],
        [((it.scores_after or {}).get(kind), it.advantage_after) for it in rollouts],
    )
    followed_before, followed_after = (_correlation_within(groups, points) for points in sides)
    return KindChange(
        kind,
        _mean(before),
        _mean(after),
        clustered_interval(np.subtract(after, before), prompts, seed=seed) if both else None,
        followed_before,
        followed_after,
    )


def advantage_change(rollouts: Sequence[ReplayedRollout]) -> AdvantageChange | None:
    """Compare advantages; None if no rollout has one on both sides."""
    pairs = [
        (it.advantage_before, it.advantage_after)
        for it in rollouts
        if it.advantage_before is not None and it.advantage_after is not None
    ]
    if not pairs:
        return None
    before, after = np.asarray(pairs, dtype=np.float64).T
    return AdvantageChange(
        rollouts=len(pairs),
        correlation=_correlation(before, after),
        sign_changed=float(np.mean(before * after < 0)),
        absolute_change=float(np.abs(after - before).mean()),
    )


def rung_change(before: np.ndarray, after: np.ndarray) -> RungChange:
    """Compare rungs, both [prompts]."""
    return RungChange(float(before.mean()), float(after.mean()), int((before != after).sum()))


def step_ranges(steps: int) -> list[tuple[int, int]]:
    """Split the steps into at most `STEP_RANGES` ranges of similar length, each (first, last)."""
    parts = np.array_split(np.arange(1, steps + 1), min(STEP_RANGES, steps))
    return [(int(part[0]), int(part[-1])) for part in parts]


def _mean(scores: Sequence[float | None]) -> float | None:
    """Return the mean; None if this side has no such scores."""
    present = [it for it in scores if it is not None]
    return float(np.mean(present)) if present else None


def _correlation(one: np.ndarray, other: np.ndarray) -> float | None:
    """Return the Pearson correlation; None if one side does not vary."""
    varies = len(one) > 1 and min(one.std(), other.std()) > MIN_SPREAD
    return float(np.corrcoef(one, other)[0, 1]) if varies else None


def _correlation_within(
    groups: Sequence[tuple[int, str]], points: Sequence[tuple[float | None, float | None]]
) -> float | None:
    """Return the Pearson correlation of complete points after subtracting group means."""
    members: dict[tuple[int, str], list[tuple[float, float]]] = {}
    for group, (x, y) in zip(groups, points, strict=True):
        if x is not None and y is not None:
            members.setdefault(group, []).append((x, y))
    if not members:
        return None
    deviations = np.concatenate([np.array(it) - np.mean(it, axis=0) for it in members.values()])
    return _correlation(deviations[:, 0], deviations[:, 1])


def _count(names: Iterable[str | None]) -> dict[str, int]:
    """Count the names, most frequent first; None is ignored."""
    return dict(Counter(name for name in names if name is not None).most_common())
