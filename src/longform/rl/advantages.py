"""PPO advantages: generalized advantage estimation (GAE) over response tokens, then whitening over the batch.

Shapes: B rollouts, T response tokens (right-padded; `mask` is 1 on the tokens of unmasked rollouts, else 0).
"""

from typing import NamedTuple

import torch
from torch import Tensor

from longform.statistics.moments import AdvantageMoments


class Estimates(NamedTuple):
    """Per-token advantages, and the returns that are the critic's targets."""

    advantages: Tensor
    """[B, T]"""
    returns: Tensor
    """[B, T] advantages + values, before whitening."""


def kl_shaped_rewards(
    scores: Tensor, log_probs: Tensor, reference_log_probs: Tensor, mask: Tensor, *, kl_coefficient: float
) -> Tensor:
    """Token rewards: -kl_coefficient x (log pi - log pi_ref) on every token, plus the score on the last one.

    The penalty is the k1 estimate of the KL divergence to the reference model (Ziegler et al. 2019, eq. 2; Writing-RL A.2
    uses the coefficient 0.001).

    Args:
        scores: [B] reward of each response.
        log_probs: [B, T] under the sampling policy.
        reference_log_probs: [B, T] under the reference model.
        mask: [B, T].
        kl_coefficient: 0 disables the penalty.

    Returns:
        [B, T] rewards, zero on masked tokens.
    """
    rewards = -kl_coefficient * (log_probs - reference_log_probs) * mask
    last = mask.sum(1).long() - 1
    rows = torch.nonzero(last >= 0).squeeze(1)
    rewards[rows, last[rows]] += scores[rows]
    return rewards


def generalised_advantages(rewards: Tensor, values: Tensor, mask: Tensor, *, gamma: float, lam: float) -> Estimates:
    """GAE (Schulman et al. 2016, eq. 16): A_t = sum over l of (gamma lam)^l delta_(t+l).

    delta_t = r_t + gamma V_(t+1) - V_t, with V = 0 after the last token. With gamma = lam = 1 (Writing-RL A.2) this is
    the sum of the remaining rewards minus the value.

    Args:
        rewards: [B, T].
        values: [B, T] the critic's prediction before each token.
        mask: [B, T] with the unmasked tokens at the front of each row.
        gamma: Discount per token.
        lam: Lambda of GAE.
    """
    advantages = torch.zeros_like(values)
    following = torch.zeros_like(values[:, 0])
    next_value = torch.zeros_like(following)
    for t in range(values.shape[1] - 1, -1, -1):
        delta = rewards[:, t] + gamma * next_value - values[:, t]
        following = (delta + gamma * lam * following) * mask[:, t]
        next_value = values[:, t] * mask[:, t]
        advantages[:, t] = following
    return Estimates(advantages, (advantages + values) * mask)


def advantage_moments(advantages: Tensor, mask: Tensor, *, decay: float) -> list[AdvantageMoments]:
    """Return sums from which each response's advantages can be recomputed for another score.

    Args:
        advantages: [B, T] before whitening.
        mask: [B, T] 1 on all response tokens, including those of responses without a score.
        decay: gamma times lambda.
    """
    tokens = mask.sum(1)
    steps = torch.arange(mask.shape[1], device=mask.device)
    weights = torch.pow(decay, (tokens[:, None] - 1 - steps).clamp(min=0)) * mask
    sums = torch.stack([tokens, (advantages * mask).sum(1), (advantages.square() * mask).sum(1)], dim=1)
    tails = (weights * advantages).sum(1)
    rows = zip(sums.tolist(), tails.tolist(), strict=True)
    return [AdvantageMoments(int(count), total, squares, tail) for (count, total, squares), tail in rows]


def whitened(advantages: Tensor, mask: Tensor, *, epsilon: float = 1e-8) -> Tensor:
    """Return advantages [B, T] with mean 0 and (unbiased) variance 1 over the batch's unmasked tokens.

    A batch with fewer than two tokens gives zeros, because it contains no comparison.
    """
    count = mask.sum()
    if count < 2:
        return torch.zeros_like(advantages)
    mean = (advantages * mask).sum() / count
    variance = ((advantages - mean).square() * mask).sum() / (count - 1)
    return (advantages - mean) * torch.rsqrt(variance + epsilon) * mask
