import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from longform.rl.losses import (
    clipped_policy_loss,
    clipped_value_loss,
    explained_variance,
    kl_penalty,
    sequence_weights,
    token_weights,
)


def _one(value):
    return torch.tensor([[value]])


@pytest.mark.parametrize(
    ("ratio", "advantage", "expected"),
    [
        (1.0, 2.0, -2.0),
        (1.1, 2.0, -2.2),
        (1.5, 2.0, -2.4),  # clipped at 1.2
        (0.5, 2.0, -1.0),  # a good token that became rarer is not clipped
        (0.5, -2.0, 1.6),  # clipped at 0.8
        (2.0, -2.0, 4.0),
        (5.0, -2.0, 6.0),  # dual clip at 3
    ],
)
def test_policy_loss_by_hand(ratio, advantage, expected):
    loss = clipped_policy_loss(_one(math.log(ratio)), _one(0.0), _one(advantage), _one(1.0), clip=0.2, dual_clip=3.0)
    assert loss.loss.item() == pytest.approx(expected, rel=1e-5)


def test_without_the_dual_clip_a_hated_token_is_unbounded():
    loss = clipped_policy_loss(_one(math.log(5.0)), _one(0.0), _one(-2.0), _one(1.0), dual_clip=None)
    assert loss.loss.item() == pytest.approx(10.0, rel=1e-5)


def _plain_policy_loss(new, old, advantages, mask, clip, dual):
    total, count = 0.0, 0
    for n, o, a, m in zip(new.flat, old.flat, advantages.flat, mask.flat, strict=True):
        if not m:
            continue
        ratio = math.exp(n - o)
        objective = min(ratio * a, min(max(ratio, 1 - clip), 1 + clip) * a)
        if a < 0:
            objective = max(objective, dual * a)
        total, count = total - objective, count + 1
    return total / count


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_policy_loss_equals_a_plain_loop(seed):
    rng = np.random.default_rng(seed)
    new, old, advantages = rng.normal(size=(3, 3, 4))
    mask = rng.random((3, 4)) < 0.7
    mask[0, 0] = True
    log_probs, old_log_probs, gains = (torch.tensor(array) for array in (new, old, advantages))
    weights = token_weights(torch.tensor(mask * 1.0))
    loss = clipped_policy_loss(log_probs, old_log_probs, gains, weights, clip=0.2, dual_clip=3.0)
    assert loss.loss.item() == pytest.approx(_plain_policy_loss(new, old, advantages, mask, 0.2, 3.0))


def test_clip_higher_leaves_more_room_above_and_none_below():
    arguments = {"clip": 0.2, "clip_high": 0.5}
    assert clipped_policy_loss(_one(math.log(1.4)), _one(0.0), _one(2.0), _one(1.0), **arguments).loss.item() == (
        pytest.approx(-2.8)
    )
    assert clipped_policy_loss(_one(math.log(2.0)), _one(0.0), _one(2.0), _one(1.0), **arguments).loss.item() == (
        pytest.approx(-3.0)
    )
    assert clipped_policy_loss(_one(math.log(0.5)), _one(0.0), _one(-2.0), _one(1.0), **arguments).loss.item() == (
        pytest.approx(1.6)
    )


def test_weights_by_hand():
    mask = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(token_weights(mask), mask / 4)
    sixth = 1 / 6
    expected = torch.tensor([[sixth, sixth, sixth], [0.5, 0.0, 0.0], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(sequence_weights(mask), expected)
    assert token_weights(torch.zeros(2, 2)).sum() == sequence_weights(torch.zeros(2, 2)).sum() == 0


def test_the_kl_penalty_by_hand_is_zero_where_nothing_moved_and_never_negative():
    d = math.log(2.0)
    assert kl_penalty(_one(0.0), _one(d), _one(1.0)).item() == pytest.approx(2 - d - 1)
    assert kl_penalty(_one(0.0), _one(-d), _one(1.0)).item() == pytest.approx(0.5 + d - 1)
    assert kl_penalty(_one(-3.0), _one(-3.0), _one(1.0)).item() == 0.0


def test_the_kl_penalty_never_pushes_a_token_further_down():
    for distance in (0.1, 5.0, 19.0, 25.0):
        log_probs = torch.tensor([[-distance]], requires_grad=True)
        kl_penalty(log_probs, _one(0.0), _one(1.0)).backward()
        assert log_probs.grad is not None
        assert log_probs.grad.item() <= 0, "a step against the gradient raises the log-probability"


def test_the_gradient_at_the_start_is_the_policy_gradient():
    log_probs = torch.randn(2, 3, requires_grad=True)
    advantages, mask = torch.randn(2, 3), torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]])
    clipped_policy_loss(log_probs, log_probs.detach(), advantages, token_weights(mask)).loss.backward()
    torch.testing.assert_close(log_probs.grad, -advantages * mask / 5)


def test_value_loss_by_hand():
    # Moved from 0 to 1 with clip .5: bounded .5. Return .2: max(.64, .09) / 2. Return 2: max(1, 2.25) / 2.
    old, new = torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 1.0]])
    loss = clipped_value_loss(new, old, torch.tensor([[0.2, 2.0]]), token_weights(torch.ones(1, 2)), clip=0.5)
    assert loss.item() == pytest.approx((0.64 + 2.25) / 4)


def test_explained_variance_is_one_for_a_perfect_and_zero_for_a_constant_critic():
    returns = torch.tensor([[0.0, 1.0, 2.0]])
    mask = torch.ones(1, 3)
    assert explained_variance(returns.clone(), returns, mask) == pytest.approx(1.0)
    assert explained_variance(torch.full((1, 3), 0.7), returns, mask) == pytest.approx(0.0, abs=1e-6)
    assert math.isnan(explained_variance(returns, torch.ones(1, 3), mask))
    assert math.isnan(explained_variance(returns, returns, torch.zeros(1, 3)))
