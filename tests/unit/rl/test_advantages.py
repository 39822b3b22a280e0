import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from longform.rl.advantages import generalised_advantages, kl_shaped_rewards, whitened


def test_the_score_lands_on_the_last_real_token_and_kl_on_all():
    log_probs = torch.tensor([[-1.0, -2.0, -3.0], [-1.0, -1.0, 0.0]])
    reference = torch.tensor([[-1.5, -2.0, -2.0], [-2.0, -1.0, 0.0]])
    mask = torch.tensor([[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]])
    rewards = kl_shaped_rewards(torch.tensor([1.0, 0.5]), log_probs, reference, mask, kl_coefficient=0.1)
    expected = torch.tensor([[-0.05, 0.0, 0.1 + 1.0], [-0.1, 0.5, 0.0]])
    torch.testing.assert_close(rewards, expected)


def test_a_masked_rollout_gets_no_reward_at_all():
    mask = torch.zeros(1, 3)
    rewards = kl_shaped_rewards(torch.tensor([1.0]), torch.randn(1, 3), torch.randn(1, 3), mask, kl_coefficient=0.1)
    assert not rewards.any()


def test_gae_by_hand():
    rewards = torch.tensor([[0.0, 0.0, 1.0]])
    values = torch.tensor([[0.2, 0.4, 0.6]])
    estimates = generalised_advantages(rewards, values, torch.ones(1, 3), gamma=0.5, lam=0.5)
    # delta = [0 + .2 - .2, 0 + .3 - .4, 1 - .6] = [0, -.1, .4]; A_2 = .4, A_1 = -.1 + .25 x .4 = 0, A_0 = 0
    torch.testing.assert_close(estimates.advantages, torch.tensor([[0.0, 0.0, 0.4]]))
    torch.testing.assert_close(estimates.returns, torch.tensor([[0.2, 0.4, 1.0]]))


def _plain_gae(rewards, values, length, gamma, lam):
    """The definition, as a double sum over one row."""
    advantages = []
    for t in range(length):
        total = 0.0
        for k in range(t, length):
            following = values[k + 1] if k + 1 < length else 0.0
            total += (gamma * lam) ** (k - t) * (rewards[k] + gamma * following - values[k])
        advantages.append(total)
    return advantages


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), gamma=st.floats(0.1, 1.0), lam=st.floats(0.0, 1.0))
def test_gae_equals_the_plain_double_sum(seed, gamma, lam):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, 7, size=4)
    rewards, values = rng.normal(size=(2, 4, 6))
    mask = np.arange(6)[None] < lengths[:, None]
    estimates = generalised_advantages(
        torch.tensor(rewards * mask), torch.tensor(values), torch.tensor(mask * 1.0), gamma=gamma, lam=lam
    )
    for row, length in enumerate(lengths):
        plain = _plain_gae(rewards[row], values[row], length, gamma, lam)
        np.testing.assert_allclose(estimates.advantages[row, :length], plain, atol=1e-9)
        assert not estimates.advantages[row, length:].any()
        np.testing.assert_allclose(estimates.returns[row, :length], plain + values[row, :length], atol=1e-9)


def test_without_discount_the_advantage_is_the_return_to_come_minus_the_value():
    rewards, values = torch.randn(3, 5), torch.randn(3, 5)
    estimates = generalised_advantages(rewards, values, torch.ones(3, 5), gamma=1.0, lam=1.0)
    to_come = rewards.flip(1).cumsum(1).flip(1)
    torch.testing.assert_close(estimates.advantages, to_come - values)


def test_whitened_advantages_have_mean_zero_and_variance_one_over_unmasked_tokens():
    mask = torch.tensor([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    advantages = torch.tensor([[1.0, 2.0, 99.0], [6.0, 99.0, 99.0]])
    result = whitened(advantages, mask)
    # mean 3, unbiased variance (4 + 1 + 9) / 2 = 7
    expected = torch.tensor([[-2.0, -1.0, 0.0], [3.0, 0.0, 0.0]]) / math.sqrt(7)
    torch.testing.assert_close(result, expected)


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_tokens_whiten_to_zero(count):
    mask = torch.zeros(2, 3)
    mask.view(-1)[:count] = 1
    assert not whitened(torch.randn(2, 3), mask).any()


def test_a_masked_rollout_is_as_if_it_had_never_been_drawn():
    rng = np.random.default_rng(0)
    log_probs, reference, values = (torch.tensor(rng.normal(size=(3, 4))) for _ in range(3))
    mask = torch.ones(3, 4, dtype=torch.float64)
    mask[1] = 0
    scores = torch.tensor([1.0, 0.0, 0.5], dtype=torch.float64)

    def advantages(rows):
        rewards = kl_shaped_rewards(scores[rows], log_probs[rows], reference[rows], mask[rows], kl_coefficient=0.1)
        return whitened(generalised_advantages(rewards, values[rows], mask[rows], gamma=1, lam=1)[0], mask[rows])

    torch.testing.assert_close(advantages([0, 1, 2])[[0, 2]], advantages([0, 2]))
