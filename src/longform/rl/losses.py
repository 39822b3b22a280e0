"""Losses of PPO and GRPO and the measurements that say how an update went.

Losses are weighted sums over tokens: with `token_weights` a mean over all tokens of a mini-batch, in which a long response
weighs more than a short one (the released Writing-RL code, DAPO); with `sequence_weights` a mean over responses of their
tokens' mean (GRPO). The weights of a mini-batch sum to 1, so those of its pieces add up to the whole.

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


def token_weights(mask: Tensor) -> Tensor:
    """[B, T] the same for every token; they sum to 1, or to 0 where nothing is unmasked."""
    return mask / mask.sum().clamp(min=1)


def sequence_weights(mask: Tensor) -> Tensor:
    """[B, T] the same for every response that has tokens, shared out evenly among them; they sum to 1, or to 0."""
    tokens = mask.sum(1, keepdim=True)
    return mask / tokens.clamp(min=1) / (tokens > 0).sum().clamp(min=1)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of `values` where `mask` is 1; zero where nothing is unmasked."""
    return (values * mask).sum() / mask.sum().clamp(min=1)


def clipped_policy_loss(
    log_probs: Tensor,
    old_log_probs: Tensor,
    advantages: Tensor,
    weights: Tensor,
    *,
    clip: float = 0.2,
    clip_high: float | None = None,
    dual_clip: float | None = None,
) -> PolicyLoss:
    """The clipped surrogate of PPO (Schulman et al. 2017, eq. 7) with the dual clip of Ye et al. 2020, eq. 5.

    With ratio rho = exp(new - old): -min(rho A, clip(rho, 1 - clip, 1 + clip_high) A); where A < 0 the loss is bounded by
    -dual_clip A, so that one token the policy has come to hate cannot own the gradient.

    Args:
        log_probs, old_log_probs, advantages: [B, T].
        weights: [B, T] of `token_weights` or `sequence_weights`.
        clip: how far below 1 the ratio is trusted, and above 1 too where `clip_high` is None.
        clip_high: how far above 1 (DAPO's clip-higher).
        dual_clip: upper bound of the ratio's effect for negative advantages (> 1), or None.
    """
    difference = log_probs - old_log_probs
    ratio = difference.clamp(-20, 20).exp()
    unclipped = -advantages * ratio
    clipped = -advantages * ratio.clamp(1 - clip, 1 + (clip if clip_high is None else clip_high))
    losses = torch.maximum(unclipped, clipped)
    if dual_clip is not None:
        losses = torch.where(advantages < 0, torch.minimum(losses, -advantages * dual_clip), losses)
    with torch.no_grad():
        fraction = ((clipped > unclipped) * weights).sum()
        kl = (-difference * weights).sum()
    return PolicyLoss((losses * weights).sum(), fraction, kl)


def kl_penalty(log_probs: Tensor, reference_log_probs: Tensor, weights: Tensor) -> Tensor:
    """The penalty of GRPO for leaving the frozen start (Shao et al. 2024, eq. 4; the k3 estimate): exp(d) - d - 1 with
    d = log pi_ref - log pi. All [B, T]; returns a scalar.
    """
    difference = (reference_log_probs - log_probs).clamp(-20, 20)
    return ((difference.exp() - difference - 1) * weights).sum()


def clipped_value_loss(
    values: Tensor, old_values: Tensor, returns: Tensor, weights: Tensor, *, clip: float = 0.5
) -> Tensor:
    """Half the squared error of the critic, not rewarded for moving further than `clip` from its old prediction.

    0.5 x sum(w max((V - R)^2, (clip(V, V_old - clip, V_old + clip) - R)^2)), all [B, T]; returns a scalar.
    """
    bounded = old_values + (values - old_values).clamp(-clip, clip)
    return 0.5 * (torch.maximum((values - returns).square(), (bounded - returns).square()) * weights).sum()


def explained_variance(values: Tensor, returns: Tensor, mask: Tensor) -> float:
    """1 - Var(returns - values) / Var(returns) over unmasked tokens: 1 is a perfect critic, 0 one that knows the mean.

    NaN where the returns do not vary.
    """
    chosen = mask.bool()
    spread = returns[chosen].var(correction=0)
    return float(1 - (returns - values)[chosen].var(correction=0) / spread) if spread > 0 else float("nan")
