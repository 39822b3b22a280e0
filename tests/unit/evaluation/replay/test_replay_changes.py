"""The figures of a replay, on rollouts made by hand."""

import numpy as np
import pytest

from longform.evaluation.replay.changes import (
    AdvantageChange,
    advantage_change,
    kind_change,
    outcome_change,
    reward_change,
    rung_change,
    step_ranges,
)
from longform.evaluation.replay.run import ReplayedRollout

WORTH = {"win": 1.0, "tie": 0.5, "loss": 0.0, "not asked": 0.5, None: None}


def _rollout(was, now, *, step=1, prompt="p", same=True, advantages=(None, None), scores=(None, None)):
    return ReplayedRollout(
        step=step,
        row=0,
        prompt_id=prompt,
        rung_before=0,
        rung_after=0,
        same_reference=same,
        asked_before=was != "not asked",
        asked_after=now != "not asked",
        outcome_before=None if was == "not asked" else was,
        outcome_after=None if now == "not asked" else now,
        cause_before=None if was else "timeout",
        cause_after=None if now else "timeout",
        reward_before=WORTH[was],
        reward_after=WORTH[now],
        scores_before=scores[0],
        scores_after=scores[1],
        advantage_before=advantages[0],
        advantage_after=advantages[1],
    )


def test_verdicts_are_compared_where_both_were_given_against_one_text():
    pairs = [("win", "win"), ("win", "loss"), ("tie", "tie"), ("loss", "loss"), ("win", None), (None, "tie")]
    rollouts = [_rollout(was, now, prompt=str(i)) for i, (was, now) in enumerate(pairs)]
    rollouts.append(_rollout("win", "tie", same=False))
    change = outcome_change(rollouts)
    assert change.table["win"] == {"win": 1, "tie": 0, "loss": 1, "no verdict": 1}
    assert change.table["no verdict"] == {"win": 0, "tie": 1, "loss": 0, "no verdict": 0}
    assert sum(sum(row.values()) for row in change.table.values()) == 6
    assert change.agreeing is not None
    assert change.agreeing.estimate == 0.75
    by_chance = (2 * 1 + 1 * 1 + 1 * 2) / 16
    assert change.kappa == pytest.approx((0.75 - by_chance) / (1 - by_chance))


def test_a_response_that_no_judge_compared_with_its_reference_is_no_missing_verdict():
    pairs = [("win", "not asked"), ("not asked", "not asked"), (None, "loss"), ("win", "win")]
    change = outcome_change([_rollout(was, now) for was, now in pairs])
    assert change.table["win"] == {"win": 1, "tie": 0, "loss": 0, "no verdict": 0, "not asked": 1}
    assert change.table["not asked"] == {"win": 0, "tie": 0, "loss": 0, "no verdict": 0, "not asked": 1}
    assert change.table["no verdict"]["loss"] == 1
    assert change.agreeing is not None and change.agreeing.estimate == 1


def test_nothing_to_compare_is_no_agreement():
    silent = outcome_change([_rollout("win", None), _rollout("win", "win", same=False)])
    assert (silent.agreeing, silent.kappa) == (None, None)
    always_alike = outcome_change([_rollout("win", "win", prompt="p"), _rollout("win", "win", prompt="q")])
    assert always_alike.kappa is None


def test_rewards_are_compared_where_neither_side_is_masked():
    rollouts = [
        _rollout("win", "loss", prompt="a"),
        _rollout("tie", "win", prompt="b", step=2),
        _rollout("win", None, prompt="c"),
        _rollout(None, "win", prompt="c"),
        _rollout("win", "win", prompt="d", step=3),
    ]
    change = reward_change(rollouts, 1, 2)
    assert change is not None
    assert (change.rollouts, change.before, change.after) == (2, 0.75, 0.5)
    assert change.difference.estimate == -0.25
    assert change.difference.low == -1.0
    assert change.difference.high == 0.5
    assert reward_change(rollouts, 4, 9) is None


def test_advantages_that_turn_round_are_counted():
    pairs = [(1.0, -1.0), (-1.0, 1.0), (0.5, 0.5), (0.0, 0.3), (None, 1.0), (1.0, None)]
    change = advantage_change([_rollout("win", "win", advantages=pair) for pair in pairs])
    assert change is not None
    assert (change.rollouts, change.sign_changed, change.absolute_change) == (4, 0.5, pytest.approx(4.3 / 4))
    one, other = zip(*pairs[:4], strict=True)
    assert change.correlation == pytest.approx(np.corrcoef(one, other)[0, 1])


def test_advantages_that_do_not_vary_have_no_correlation():
    assert advantage_change([_rollout("win", "win", advantages=(0.0, 1.0))] * 2) == AdvantageChange(2, None, 0.0, 1.0)
    assert advantage_change([_rollout("win", "win")]) is None


def test_a_reward_leads_as_far_as_advantages_follow_it_within_groups():
    # Between the two prompts scores and advantages move against each other; within each they move together.
    scores = {"a": (0.1, 0.2, 0.4), "b": (0.7, 0.8, 1.0)}
    offsets = {"a": 5.0, "b": -5.0}
    rollouts = [
        _rollout("win", "win", prompt=prompt, advantages=(offsets[prompt] + score, -score), scores=({"k": score},) * 2)
        for prompt, group in scores.items()
        for score in group
    ]
    change = kind_change(rollouts, "k", grouped=True)
    assert (change.followed_before, change.followed_after) == (pytest.approx(1.0), pytest.approx(-1.0))
    assert change.before == change.after == pytest.approx(3.2 / 6)
    ungrouped = kind_change(rollouts, "k", grouped=False)
    assert ungrouped.followed_before is not None
    assert ungrouped.followed_before < 0


def test_a_reward_without_spread_leads_nothing():
    rollouts = [_rollout("win", "win", advantages=(i, i), scores=({"k": 0.1}, {"k": 0.1 * i})) for i in range(3)]
    change = kind_change(rollouts, "k", grouped=True)
    assert (change.followed_before, change.followed_after) == (None, pytest.approx(1.0))
    assert (change.before, change.after) == (pytest.approx(0.1), pytest.approx(0.1))


def test_scores_of_a_kind_are_compared_where_neither_side_is_masked():
    pairs = [({"k": 0.0}, {"k": 1.0}), ({"k": 0.5}, {"k": 1.0}), (None, {"k": 0.0}), ({"k": 0.0}, None)]
    change = kind_change(
        [_rollout("win", "win", prompt=str(i), scores=it) for i, it in enumerate(pairs)], "k", grouped=True
    )
    assert (change.before, change.after) == (0.25, 1.0)
    assert change.difference is not None
    assert change.difference == (0.75, 0.5, 1.0)
    some = kind_change(
        [
            _rollout("win", "win", prompt=str(i), scores=it)
            for i, it in enumerate([({"k": 0.0}, {"k": 1.0})] * 2 + [({"k": 0.5}, {}), ({}, {"k": 0.2}), ({}, {})])
        ],
        "k",
        grouped=True,
    )
    assert (some.before, some.after, some.difference) == (0.0, 1.0, (1.0, 1.0, 1.0)), "of prompts that it applies to"
    added = kind_change([_rollout("win", "win", scores=({}, {"k": 1.0}))], "k", grouped=True)
    assert (added.before, added.after, added.difference) == (None, 1.0, None)
    silent = kind_change([_rollout("win", None, scores=({"k": 1.0}, None))], "k", grouped=True)
    assert (silent.before, silent.after, silent.difference) == (None, None, None)


def test_prompts_that_stand_elsewhere_are_counted():
    change = rung_change(np.array([0, 2, 1, 1]), np.array([0, 1, 2, 1]))
    assert (change.before, change.after, change.elsewhere) == (1.0, 1.0, 2)


@pytest.mark.parametrize("steps", [1, 3, 5, 12, 405])
def test_ranges_of_steps_are_few_and_hold_every_step_once(steps):
    ranges = step_ranges(steps)
    assert len(ranges) == min(steps, 5)
    assert [step for first, last in ranges for step in range(first, last + 1)] == list(range(1, steps + 1))
