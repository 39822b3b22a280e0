"""Losses of PPO and the measurements that say how an update went.

All losses are means over unmasked tokens of the whole mini-batch ("token-mean"), so a long response weighs more than a
short one, as in the released Writing-RL code.

Shapes: B rollouts, T response tokens; `mask` is 1 on tokens that take part.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class PolicyLoss(NamedTuple):
    """The loss to minimise, and how far the policy has moved (scalars)."""

    loss: Tensor
    clip_fraction: Tensor
    """Share of tokens on which the clipped ratio decides."""
    kl: Tensor
    """Mean of old minus new log-probability: how far this update has gone from the policy that wrote the tokens."""


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of `values` where `mask` is 1; zero where nothing is unmasked."""
    return (values * mask).sum() / mask.sum().clamp(min=1)


def clipped_policy_loss(
    log_probs: Tensor,
    old_log_probs: Tensor,
    advantages: Tensor,
    mask: Tensor,
    *,
    clip: float = 0.2,
    dual_clip: float | None = 3.0,
) -> PolicyLoss:
    """The clipped surrogate of PPO (Schulman et al. 2017, eq. 7) with the dual clip of Ye et al. 2020, eq. 5.

    With ratio rho = exp(new - old): -min(rho A, clip(rho, 1 - clip, 1 + clip) A); where A < 0 the loss is bounded by
    -dual_clip A, so that one token the policy has come to hate cannot own the gradient.

    Args:
        log_probs, old_log_probs, advantages, mask: [B, T].
        clip: half-width of the trusted band of the ratio.
        dual_clip: upper bound of the ratio's effect for negative advantages (> 1), or None.
    """
    difference = log_probs - old_log_probs
    ratio = difference.clamp(-20, 20).exp()
    unclipped = -advantages * ratio
    clipped = -advantages * ratio.clamp(1 - clip, 1 + clip)
    losses = torch.maximum(unclipped, clipped)
    if dual_clip is not None:
        losses = torch.where(advantages < 0, torch.minimum(losses, -advantages * dual_clip), losses)
    with torch.no_grad():
        fraction = masked_mean((clipped > unclipped).float(), mask)
        kl = masked_mean(-difference, mask)
    return PolicyLoss(masked_mean(losses, mask), fraction, kl)


def clipped_value_loss(
    values: Tensor, old_values: Tensor, returns: Tensor, mask: Tensor, *, clip: float = 0.5
) -> Tensor:
    """Half the squared error of the critic, not rewarded for moving further than `clip` from its old prediction.

    0.5 x mean(max((V - R)^2, (clip(V, V_old - clip, V_old + clip) - R)^2)), all [B, T]; returns a scalar.
    """
    bounded = old_values + (values - old_values).clamp(-clip, clip)
    return 0.5 * masked_mean(torch.maximum((values - returns).square(), (bounded - returns).square()), mask)


def explained_variance(values: Tensor, returns: Tensor, mask: Tensor) -> float:
    """1 - Var(returns - values) / Var(returns) over unmasked tokens: 1 is a perfect critic, 0 one that knows the mean.

    NaN where the returns do not vary.
    """
    chosen = mask.bool()
    spread = returns[chosen].var(correction=0)
    return float(1 - (returns - values)[chosen].var(correction=0) / spread) if spread > 0 else float("nan")
