"""The update of a PPO step: critic and policy move by mini-batches over the rollouts that have a reward.

A mini-batch goes through the models in pieces that fit into memory. Each piece's loss is weighted by its share of the
mini-batch's tokens, so the gradients add up to those of the whole.

Shapes: B rollouts, T response tokens.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from longform.recipe.recipe import Recipe
from longform.rl.losses import clipped_policy_loss, clipped_value_loss, masked_mean
from longform.training.batch import Batch, cut_by_tokens
from longform.training.checkpoint import TrainingState
from longform.training.forward import response_statistics, response_values


class Targets(NamedTuple):
    """What an update aims at, computed once before the weights move. All [B, T]."""

    advantages: Tensor
    returns: Tensor
    values: Tensor

    def rows(self, index: Tensor, length: int) -> "Targets":
        """The targets of some of the rows, cut to `length`."""
        return Targets(*(tensor[index, :length] for tensor in self))


class Piece(NamedTuple):
    """A part of a mini-batch that goes through a model at once."""

    batch: Batch
    targets: Targets
    share: float
    """Of the mini-batch's response tokens."""


def update(
    state: TrainingState, batch: Batch, targets: Targets, rows: Tensor, *, recipe: Recipe, shuffle: np.random.Generator
) -> dict[str, float]:
    """Move critic and policy by mini-batches over `rows`, the rollouts that have a reward; returns mean measurements.

    The critic may pass over the rollouts more often than the policy: it must follow returns that every promotion moves.
    """
    optim = recipe.optim
    measured: list[dict[str, float]] = []
    with state.models.learning():
        for epoch in range(max(optim.epochs, optim.critic_epochs) if len(rows) else 0):
            order = rows[torch.from_numpy(shuffle.permutation(len(rows))).to(rows.device)]
            for index in order.split(recipe.mini_batch):
                pieces = _pieces(batch, targets, index, most_tokens=recipe.memory.micro_tokens)
                if epoch < optim.critic_epochs:
                    measured.append(_update_critic(state, pieces, recipe))
                if epoch < optim.epochs:
                    measured.append(_update_policy(state, pieces, recipe))
    names = dict.fromkeys(name for it in measured for name in it)
    return {name: float(np.mean([it[name] for it in measured if name in it])) for name in names}


def _pieces(batch: Batch, targets: Targets, index: Tensor, *, most_tokens: int | None) -> list[Piece]:
    tokens = batch.mask[index].sum()
    pieces = []
    for rows in cut_by_tokens(batch, index, most_tokens=most_tokens):
        part = batch.rows(rows)
        share = float(part.mask.sum() / tokens)
        pieces.append(Piece(part, targets.rows(rows, part.mask.shape[1]), share))
    return pieces


def _update_critic(state: TrainingState, pieces: list[Piece], recipe: Recipe) -> dict[str, float]:
    total = 0.0
    for batch, targets, share in pieces:
        with state.models.autocast():
            values = response_values(state.models.as_critic(), batch)
        loss = share * clipped_value_loss(
            values, targets.values, targets.returns, batch.mask, clip=recipe.optim.value_clip
        )
        loss.backward()
        total += loss.item()
    norm = _descend(state.critic_optimizer, recipe.optim.max_grad_norm)
    return {"critic/loss": total, "critic/grad_norm": norm}


def _update_policy(state: TrainingState, pieces: list[Piece], recipe: Recipe) -> dict[str, float]:
    optim = recipe.optim
    measured = dict.fromkeys(("policy/loss", "policy/entropy", "policy/clip_fraction", "policy/kl_of_update"), 0.0)
    for batch, targets, share in pieces:
        with state.models.autocast():
            log_probs, entropies = response_statistics(
                state.models.as_policy(), batch, temperature=recipe.generation.temperature
            )
        loss, clip_fraction, kl = clipped_policy_loss(
            log_probs, batch.log_probs, targets.advantages, batch.mask, clip=optim.clip, dual_clip=optim.dual_clip
        )
        entropy = masked_mean(entropies, batch.mask)
        (share * (loss - optim.entropy * entropy)).backward()
        for name, value in zip(measured, (loss, entropy, clip_fraction, kl), strict=True):
            measured[name] += share * value.item()
    return measured | {"policy/grad_norm": _descend(state.policy_optimizer, optim.max_grad_norm)}


def _descend(optimizer: torch.optim.Optimizer, max_grad_norm: float) -> float:
    """One step along the gradients at hand, which are given back; returns their norm before clipping."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    norm = torch.nn.utils.clip_grad_norm_(parameters, max_grad_norm)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return norm.item()
