"""Advantages within groups: by hand, against a plain loop, and against verl's own."""

import statistics
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longform.rl.group_advantages import EPSILON, group_advantages, learning_rows
from longform.rl.settings import GrpoSettings


def _advantages(scores, mask=None, *, weights=None, how: Literal["balanced", "summed"] = "balanced", required=None):
    scores = np.asarray(scores, dtype=float)
    mask = np.ones(scores.shape[:2], dtype=bool) if mask is None else np.asarray(mask)
    return group_advantages(scores, mask, weights=weights or [1.0] * scores.shape[2], how=how, required=required)


def test_one_reward_by_hand():
    # Mean 2, unbiased deviation 1.
    found = _advantages([[[1], [2], [3]]])
    assert found.advantages.tolist()[0] == pytest.approx([-1, 0, 1], abs=1e-5)


def test_balanced_by_hand_gives_each_reward_the_same_say_whatever_its_scale():
    # The first reward says -1, 0, 1 and the second, a hundred times larger, 1, 0, -1: they cancel out.
    scores = [[[0.1, 300], [0.2, 200], [0.3, 100]]]
    assert _advantages(scores).advantages.tolist()[0] == pytest.approx([0, 0, 0], abs=1e-4)
    assert _advantages(scores, how="summed").advantages.tolist()[0] == pytest.approx([1, 0, -1], abs=1e-3)


def test_weights_are_shares():
    scores = [[[0.1, 300], [0.2, 200], [0.3, 100]]]
    assert _advantages(scores, weights=[3, 1]).advantages.tolist()[0] == pytest.approx([-0.5, 0, 0.5], abs=1e-4)
    assert _advantages(scores, weights=[6, 2]).advantages.tolist()[0] == pytest.approx([-0.5, 0, 0.5], abs=1e-4)


def test_a_reward_without_spread_says_nothing_and_the_others_keep_their_share():
    found = _advantages([[[1, 0.7], [2, 0.7], [3, 0.7]]])
    assert found.advantages.tolist()[0] == pytest.approx([-0.5, 0, 0.5], abs=1e-5)
    assert found.informative.tolist() == [True]


@pytest.mark.parametrize("value", [0.0, 0.1, 1 / 3, 0.7, 1e6])
def test_a_group_without_any_spread_is_exactly_zero(value):
    found = _advantages([[[value]] * 7])
    assert not found.advantages.any()
    assert found.informative.tolist() == [False]
    assert found.mask.all()


def test_a_group_with_fewer_than_two_survivors_is_skipped():
    scores = [[[1], [2], [3]], [[1], [2], [9]]]
    found = _advantages(scores, [[True, False, False], [True, True, False]])
    assert found.mask.tolist() == [[False] * 3, [True, True, False]]
    deviation = statistics.stdev([1, 2])
    assert found.advantages[1].tolist() == pytest.approx([-0.5 / deviation, 0.5 / deviation, 0], abs=1e-5)
    assert not found.advantages[0].any()


def test_a_group_in_which_only_a_constraint_is_broken_has_something_to_say():
    # The sums are equal; the first response breaks the constraint.
    found = _advantages([[[0.0, 1.0], [1.0, 0.0]]], how="summed", required=[1.0, None])
    assert found.advantages[0].tolist() == [-1.0, 0.0]
    assert (found.informative.tolist(), found.flat) == ([True], 0)
    assert _advantages([[[0.0, 1.0], [1.0, 0.0]]], how="summed").flat == 1


def test_an_update_learns_from_the_largest_advantages_of_each_group():
    groups = _advantages([[[1], [5], [6], [9]], [[0], [0], [0], [1]], [[2], [2], [2], [2]]])
    none_left_out = np.zeros(12, dtype=bool)
    kept = learning_rows(groups, none_left_out, GrpoSettings(down_sample=2)).reshape(3, 4)
    assert kept.tolist() == [[True, False, False, True], [True, False, False, True], [True, True, False, False]]
    # A response that is left out makes room for the next.
    left_out = np.arange(12) == 0
    kept = learning_rows(groups, left_out, GrpoSettings(down_sample=2)).reshape(3, 4)
    assert kept[0].tolist() == [False, False, True, True], "6 is further from the mean, 5.25, than 5"
    all_of_them = learning_rows(groups, none_left_out, GrpoSettings(down_sample=4))
    assert all_of_them.tolist() == learning_rows(groups, none_left_out, GrpoSettings()).tolist()


def test_who_breaks_a_constraint_that_another_keeps_is_pushed_down():
    # The first response is best in the second reward, and breaks the constraint on the first.
    scores = [[[0.0, 9], [1.0, 1], [1.0, 2]], [[0.0, 9], [0.5, 1], [0.0, 2]]]
    free, held = _advantages(scores), _advantages(scores, required=[1.0, None])
    assert free.advantages[0, 0] > -0.1
    assert held.advantages[0, 0] == -1.0
    assert held.advantages[0, 1:].tolist() == free.advantages[0, 1:].tolist()
    assert held.advantages[1].tolist() == free.advantages[1].tolist(), "where nobody keeps it, nobody is to blame"


def test_factors_multiply_the_rewards_and_not_the_constraint():
    scores, factors = np.array([[[1.0], [1.0], [0.8]]]), np.array([[0.2, 1.0, 1.0]])
    mask = np.ones((1, 3), dtype=bool)
    found = group_advantages(scores, mask, weights=[1.0], how="balanced", factors=factors, required=[0.5])
    plain = _advantages([[[0.2], [1.0], [0.8]]])
    assert found.advantages.tolist() == plain.advantages.tolist(), "0.2 of a reward of 1 keeps the constraint"


@pytest.mark.parametrize(
    ("shape", "weights", "message"),
    [((2, 1, 2), [1, 1], "at least 2 responses"), ((2, 4, 0), [], "0 weights"), ((2, 4, 3), [1, 1], "2 weights for 3")],
)
def test_what_cannot_be_compared_is_an_error(shape, weights, message):
    with pytest.raises(ValueError, match=message):
        group_advantages(np.zeros(shape), np.ones(shape[:2], dtype=bool), weights=weights, how="balanced")


def _plain(scores, mask, weights, how):
    """The same in plain Python, group by group."""
    found = np.zeros(mask.shape)
    shares = [weight / sum(weights) for weight in weights]
    for p, group in enumerate(scores):
        alive = [g for g in range(len(group)) if mask[p, g]]
        if len(alive) < 2:
            continue
        rewards = [[group[g][k] for g in alive] for k in range(len(weights))]
        if how == "summed":
            rewards = [
                [sum(s * r for s, r in zip(shares, column, strict=True)) for column in zip(*rewards, strict=True)]
            ]
        for share, column in zip(shares if how == "balanced" else [1.0], rewards, strict=True):
            if max(column) > min(column):
                mean, deviation = statistics.fmean(column), statistics.stdev(column)
                for g, value in zip(alive, column, strict=True):
                    found[p, g] += share * (value - mean) / (deviation + EPSILON)
    return found


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["balanced", "summed"]))
def test_advantages_equal_a_plain_loop(seed, how):
    rng = np.random.default_rng(seed)
    scores = rng.choice([0.0, 0.25, 0.5, 1.0], size=(4, 5, 3)) + rng.integers(2) * rng.random((4, 5, 3))
    mask = rng.random((4, 5)) < 0.7
    weights = rng.uniform(0.5, 2, size=3).tolist()
    np.testing.assert_allclose(
        _advantages(scores, mask, weights=weights, how=how).advantages, _plain(scores, mask, weights, how), atol=1e-6
    )


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.1, 100), st.floats(-5, 5))
def test_balanced_advantages_do_not_depend_on_scale_or_offset_of_a_reward(seed, scale, offset):
    scores = np.random.default_rng(seed).random((3, 6, 2))
    moved = scores * [1.0, scale] + [0.0, offset]
    np.testing.assert_allclose(_advantages(moved).advantages, _advantages(scores).advantages, atol=1e-3)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["balanced", "summed"]))
def test_advantages_of_a_group_sum_to_zero_and_what_is_masked_is_not_read(seed, how):
    rng = np.random.default_rng(seed)
    scores, mask = rng.random((4, 6, 2)), rng.random((4, 6)) < 0.7
    found = _advantages(scores, mask, how=how).advantages
    np.testing.assert_allclose(found.sum(1), 0, atol=1e-9)
    scores[~mask] = np.nan
    np.testing.assert_array_equal(_advantages(scores, mask, how=how).advantages, found)


def test_balanced_is_the_mean_of_verls_own_advantages_for_each_reward():
    # Here, since it takes seconds that no other test should wait for.
    import torch

    core = pytest.importorskip("verl.trainer.ppo.core_algos")

    rng = np.random.default_rng(5)
    scores = np.concatenate([rng.random((16, 8, 2)), rng.integers(2, size=(16, 8, 1))], axis=2)
    groups = np.repeat(np.arange(16), 8).astype(str)
    per_reward = [
        core.compute_grpo_outcome_advantage(
            torch.tensor(scores[:, :, k]).reshape(-1, 1), torch.ones(128, 1), groups, epsilon=EPSILON
        )[0].reshape(16, 8)
        for k in range(3)
    ]
    expected = torch.stack(per_reward).mean(0).numpy()
    np.testing.assert_allclose(_advantages(scores).advantages, expected, atol=1e-6)
