"""Losses of PPO and GRPO, and metrics of an update.

Losses are weighted sums over tokens: `token_weights` gives the mean over all tokens of a mini-batch, in which long responses
weigh more (the released Writing-RL code, DAPO); `sequence_weights` gives the mean over responses of their token means
(GRPO). The weights of a mini-batch sum to 1, so the losses of its micro-batches can be summed.

Shapes: B rollouts, T response tokens; `mask` is 1 on unmasked tokens.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class PolicyLoss(NamedTuple):
    """The loss to minimize, and measures of how far the policy has moved (scalars)."""

    loss: Tensor
    clip_fraction: Tensor
    """Fraction of tokens on which the clipped ratio is used."""
    kl: Tensor
    """Mean of old minus new log-probability: the KL to the sampling policy (k1 estimate)."""


def token_weights(mask: Tensor) -> Tensor:
    """Return equal weights for all unmasked tokens, [B, T]; they sum to 1, or to 0 if everything is masked."""
    return mask / mask.sum().clamp(min=1)


def sequence_weights(mask: Tensor) -> Tensor:
    """Return weights [B, T] that are equal for all responses with tokens and even within each; they sum to 1, or to 0."""
    tokens = mask.sum(1, keepdim=True)
    return mask / tokens.clamp(min=1) / (tokens > 0).sum().clamp(min=1)


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
    """Compute PPO's clipped surrogate loss (Schulman et al. 2017, eq. 7) with the dual clip of Ye et al. 2020, eq. 5.

    With ratio rho = exp(new - old): -min(rho A, clip(rho, 1 - clip, 1 + clip_high) A). For A < 0 the loss is bounded by
    -dual_clip A, so that a single very unlikely token cannot dominate the gradient.

    Args:
        log_probs, old_log_probs, advantages: [B, T].
        weights: [B, T] from `token_weights` or `sequence_weights`.
        clip: Clip range of the ratio below 1, and above 1 if `clip_high` is None.
        clip_high: Clip range above 1 (DAPO's clip-higher).
        dual_clip: Upper bound of the ratio for negative advantages (> 1), or None.
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
    """Compute GRPO's KL penalty to the reference model (Shao et al. 2024, eq. 4; the k3 estimate): exp(d) - d - 1 with
    d = log pi_ref - log pi. All inputs are [B, T]; returns a scalar.
    """
    difference = (reference_log_probs - log_probs).clamp(-20, 20)
    return ((difference.exp() - difference - 1) * weights).sum()


def clipped_value_loss(
    values: Tensor, old_values: Tensor, returns: Tensor, weights: Tensor, *, clip: float = 0.5
) -> Tensor:
    """Compute the critic's clipped squared error, which limits its change to `clip` per update.

    0.5 x sum(w max((V - R)^2, (clip(V, V_old - clip, V_old + clip) - R)^2)). All inputs are [B, T]; returns a scalar.
    """
    bounded = old_values + (values - old_values).clamp(-clip, clip)
    return 0.5 * (torch.maximum((values - returns).square(), (bounded - returns).square()) * weights).sum()


def explained_variance(values: Tensor, returns: Tensor, mask: Tensor) -> float:
    """Return 1 - Var(returns - values) / Var(returns) over unmasked tokens: 1 for a perfect critic, 0 for a constant one.

    NaN if the returns have no variance, or every token is masked.
    """
    chosen = mask.bool()
    if not chosen.any():
        return float("nan")
    spread = returns[chosen].var(correction=0)
    return float(1 - (returns - values)[chosen].var(correction=0) / spread) if spread > 0 else float("nan")
