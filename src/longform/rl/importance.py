"""Tokens that one engine drew and another trains on: how far their log-probabilities are apart, and the correction.

Truncated importance sampling (Ionides 2008; for RL with an engine of its own Yao et al. 2025, "Your efficient RL framework
secretly brings you off-policy training"): each token's loss is weighted by how much likelier the trainer finds it, up to a
cap.
Shapes: B responses, T tokens.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Mismatch(NamedTuple):
    """How far the log-probabilities of the trainer are from those of the engine, on the tokens that it drew."""

    mean: float
    """Mean absolute difference in nats."""
    k3: float
    """Schulman's estimate of the KL from the trainer to the engine, exp(d) - 1 - d, per token."""
    largest: float


def measure_mismatch(trainer_BT: Tensor, engine_BT: Tensor, mask_BT: Tensor) -> Mismatch:
    """Compare log-probabilities where the mask is 1; zeros without any token.

    Args:
        trainer_BT: [B, T] under the weights that are about to be trained.
        engine_BT: [B, T] as the engine states them.
        mask_BT: [B, T].
    """
    difference = (trainer_BT - engine_BT)[mask_BT.bool()].double()
    if not len(difference):
        return Mismatch(0.0, 0.0, 0.0)
    size, k3 = difference.abs(), torch.exp(difference) - 1 - difference
    return Mismatch(size.mean().item(), k3.mean().item(), size.max().item())


def truncated_weights(trainer_BT: Tensor, engine_BT: Tensor, mask_BT: Tensor, *, cap: float) -> Tensor:
    """[B, T] the importance weight of each token, exp(trainer - engine), at most `cap`; 0 outside the mask."""
    return torch.exp(trainer_BT - engine_BT).clamp(max=cap) * mask_BT
