"""The update of a step: the policy, and with PPO the critic, move by mini-batches over the rollouts that take part.

A mini-batch goes through the models in pieces that fit into memory. The weights of its tokens are settled before it is
cut, so the pieces' gradients add up to those of the whole.

Shapes: B rollouts, T response tokens.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from longform.recipe.recipe import Recipe
from longform.rl.losses import clipped_policy_loss, clipped_value_loss, kl_penalty, sequence_weights, token_weights
from longform.rl.settings import GrpoSettings, PpoSettings
from longform.training.batch import Batch, cut_by_tokens
from longform.training.checkpoint import TrainingState
from longform.training.forward import response_statistics, response_values

SHUFFLE = 3
"""Stream of random draws that the order of rollouts is taken from, with seed and step."""


class Targets(NamedTuple):
    """What an update aims at, computed once before the weights move. All [B, T]."""

    advantages: Tensor
    returns: Tensor | None = None
    """Of PPO, with the values below."""
    values: Tensor | None = None
    reference_log_probs: Tensor | None = None
    """Of GRPO with a KL penalty."""

    def rows(self, index: Tensor, length: int) -> "Targets":
        """The targets of some of the rows, cut to `length`."""

        def cut(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor[index, :length]

        advantages = self.advantages[index, :length]
        return Targets(advantages, cut(self.returns), cut(self.values), cut(self.reference_log_probs))


class Piece(NamedTuple):
    """A part of a mini-batch that goes through a model at once."""

    batch: Batch
    targets: Targets
    weights: Tensor
    """[b, t] of each token in the loss; over all pieces of a mini-batch they sum to 1."""


def update(
    state: TrainingState, batch: Batch, targets: Targets, rows: Tensor, *, recipe: Recipe, shuffle: np.random.Generator
) -> dict[str, float]:
    """Move critic and policy by mini-batches over `rows`, the rollouts that take part; returns mean measurements."""
    optim = recipe.optim
    measured: list[dict[str, float]] = []
    with state.models.learning():
        for _ in range(optim.epochs if len(rows) else 0):
            order = rows[torch.from_numpy(shuffle.permutation(len(rows))).to(rows.device)]
            for index in order.split(recipe.mini_batch):
                pieces = list(_pieces(batch, targets, index, recipe))
                if isinstance(optim, PpoSettings):
                    measured.append(_update_critic(state, pieces, optim))
                measured.append(_update_policy(state, pieces, recipe))
    names = dict.fromkeys(name for it in measured for name in it)
    return {name: float(np.mean([it[name] for it in measured if name in it])) for name in names}


def _pieces(batch: Batch, targets: Targets, index: Tensor, recipe: Recipe) -> Iterator[Piece]:
    by_sequence = isinstance(recipe.optim, GrpoSettings) and recipe.optim.loss == "sequence"
    weights = torch.zeros_like(batch.mask)
    weights[index] = (sequence_weights if by_sequence else token_weights)(batch.mask[index])
    for rows in cut_by_tokens(batch, index, max_tokens=recipe.memory.max_tokens_per_microbatch):
        part = batch.rows(rows)
        length = part.mask.shape[1]
        yield Piece(part, targets.rows(rows, length), weights[rows, :length])


def _update_critic(state: TrainingState, pieces: list[Piece], optim: PpoSettings) -> dict[str, float]:
    assert state.critic_optimizer is not None, "PPO has a critic"
    total = 0.0
    for batch, targets, weights in pieces:
        assert targets.returns is not None and targets.values is not None, "PPO has returns"
        with state.models.autocast():
            values = response_values(state.models.as_critic(), batch)
        loss = clipped_value_loss(values, targets.values, targets.returns, weights, clip=optim.value_clip)
        loss.backward()
        total += loss.item()
    norm = _descend(state.critic_optimizer, optim.max_grad_norm)
    return {"critic/loss": total, "critic/grad_norm": norm}


def _update_policy(state: TrainingState, pieces: list[Piece], recipe: Recipe) -> dict[str, float]:
    optim = recipe.optim
    clip_high, dual_clip = (optim.clip_high, None) if isinstance(optim, GrpoSettings) else (None, optim.dual_clip)
    measured = dict.fromkeys(("policy/loss", "policy/entropy", "policy/clip_fraction", "policy/kl_of_update"), 0.0)
    for batch, targets, weights in pieces:
        with state.models.autocast():
            log_probs, entropies = response_statistics(
                state.models.as_policy(), batch, temperature=recipe.generation.temperature
            )
        loss, clip_fraction, kl = clipped_policy_loss(
            log_probs,
            batch.log_probs,
            targets.advantages,
            weights,
            clip=optim.clip,
            clip_high=clip_high,
            dual_clip=dual_clip,
        )
        if targets.reference_log_probs is not None:
            loss = loss + optim.kl_coef * kl_penalty(log_probs, targets.reference_log_probs, weights)
        entropy = (entropies * weights).sum()
        (loss - optim.entropy_coef * entropy).backward()
        for name, value in zip(measured, (loss, entropy, clip_fraction, kl), strict=True):
            measured[name] += value.item()
    return measured | {"policy/grad_norm": _descend(state.policy_optimizer, optim.max_grad_norm)}


def _descend(optimizer: torch.optim.Optimizer, max_grad_norm: float) -> float:
    """One step along the gradients at hand, which are given back; returns their norm before clipping."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    norm = torch.nn.utils.clip_grad_norm_(parameters, max_grad_norm)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return norm.item()
