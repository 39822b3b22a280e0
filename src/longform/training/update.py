"""Updates of policy and critic: mini-batches over the rollouts that take part, in micro-batches that fit into memory.

The loss weight of each token is fixed before a mini-batch is cut, so the gradients of its micro-batches sum to those of the
whole. Shapes: B rollouts, T response tokens; b, t those of one micro-batch.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from longform.rl.losses import clipped_value_loss
from longform.training.forward import Batch, cut_batch, response_statistics, response_values
from longform.training.models import PolicyModels

SHUFFLE = 3
"""Stream of the random draws that order the rollouts, together with seed and step."""


class MicroBatch(NamedTuple):
    """A part of a mini-batch that goes through a model at once."""

    batch: Batch
    rows: Tensor
    """[b] of the step."""
    weights_bt: Tensor
    """Loss weight of each token; over all micro-batches of a mini-batch they sum to 1."""
    importance_bt: Tensor | None = None
    """Importance weights, where another engine drew the tokens."""

    @property
    def policy_weights_bt(self) -> Tensor:
        """[b, t] weight of each token in the policy's loss."""
        return self.weights_bt if self.importance_bt is None else self.weights_bt * self.importance_bt

    def take(self, values_BT: Tensor) -> Tensor:
        """[b, t] the part of a [B, T] tensor of the step."""
        return values_BT[self.rows, : self.weights_bt.shape[1]]


def mini_batches(
    batch: Batch,
    rows: Tensor,
    *,
    size: int,
    epochs: int,
    shuffle: np.random.Generator,
    weigh: Callable[[Tensor], Tensor],
    max_tokens: int | None,
    importance_BT: Tensor | None = None,
) -> Iterator[list[MicroBatch]]:
    """The mini-batches of all epochs, each as its micro-batches.

    Args:
        batch: of the step.
        rows: the rollouts that take part.
        size: rollouts in a mini-batch.
        epochs: passes over the rows, each in a new order.
        shuffle: orders them.
        weigh: loss weights of a mini-batch from its mask, such as `rl.losses.token_weights`.
        max_tokens: of a micro-batch.
        importance_BT: importance weights of the tokens, if another engine drew them.
    """
    for _ in range(epochs if len(rows) else 0):
        order = rows[torch.from_numpy(shuffle.permutation(len(rows))).to(rows.device)]
        for index in order.split(size):
            weights_BT = torch.zeros_like(batch.mask)
            weights_BT[index] = weigh(batch.mask[index])
            pieces = [(batch.rows(piece), piece) for piece in cut_batch(batch, index, max_tokens=max_tokens)]
            yield [
                MicroBatch(part, piece, *_cut((weights_BT, importance_BT), piece, length=part.mask.shape[1]))
                for part, piece in pieces
            ]


def _cut(tensors: Sequence[Tensor | None], rows: Tensor, *, length: int) -> list[Any]:
    """Rows of [B, T] tensors, cut to a length; None stays None."""
    return [None if it is None else it[rows, :length] for it in tensors]


def update_critic(
    models: PolicyModels,
    optimizer: torch.optim.Optimizer,
    mini_batch: Sequence[MicroBatch],
    values_BT: Tensor,
    returns_BT: Tensor,
    *,
    value_clip: float,
    max_grad_norm: float,
) -> dict[str, float]:
    """One optimizer step of the critic, skipped if it is not finite; returns its metrics."""
    total = 0.0
    for micro in mini_batch:
        with models.as_critic() as critic:
            with models.autocast():
                new_values_bt = response_values(critic, micro.batch)
            loss = clipped_value_loss(
                new_values_bt, micro.take(values_BT), micro.take(returns_BT), micro.weights_bt, clip=value_clip
            )
            loss.backward()
        total += loss.item()
    return _step("critic", optimizer, {"critic/loss": total}, max_grad_norm)


def update_policy(
    models: PolicyModels,
    optimizer: torch.optim.Optimizer,
    mini_batch: Sequence[MicroBatch],
    policy_loss: Callable[[Tensor, MicroBatch], tuple[Tensor, Tensor, Tensor]],
    *,
    temperature: float,
    entropy_coef: float,
    max_grad_norm: float,
) -> dict[str, float]:
    """One optimizer step of the policy, skipped if it is not finite; returns its metrics.

    Args:
        models: of the run.
        optimizer: of the policy.
        mini_batch: its micro-batches.
        policy_loss: from the new [b, t] log-probabilities of a micro-batch: loss, clip fraction, and KL of the update.
        temperature: of the sampling.
        entropy_coef: weight of the entropy bonus.
        max_grad_norm: gradients are clipped to it.
    """
    metrics: dict[str, float] = dict.fromkeys(
        ("policy/loss", "policy/entropy", "policy/clip_fraction", "policy/kl_of_update"), 0.0
    )
    for micro in mini_batch:
        with models.as_policy() as policy:
            with models.autocast():
                log_probs_bt, entropies_bt = response_statistics(policy, micro.batch, temperature=temperature)
            loss, clip_fraction, kl = policy_loss(log_probs_bt, micro)
            entropy = (entropies_bt * micro.weights_bt).sum()
            (loss - entropy_coef * entropy).backward()
        for name, value in zip(metrics, (loss, entropy, clip_fraction, kl), strict=True):
            metrics[name] += value.item()
    return _step("policy", optimizer, metrics, max_grad_norm)


def mean_metrics(measured: Sequence[dict[str, float]]) -> dict[str, float]:
    """The mean of each metric over the mini-batches that have it."""
    names = dict.fromkeys(name for it in measured for name in it)
    return {name: float(np.mean([it[name] for it in measured if name in it])) for name in names}


def _step(
    name: str, optimizer: torch.optim.Optimizer, metrics: dict[str, float], max_grad_norm: float
) -> dict[str, float]:
    """One step along the accumulated gradients, which are freed; returns the metrics of the update.

    A step whose metrics or gradients are not finite is skipped, and says only that.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    norm = torch.nn.utils.clip_grad_norm_(parameters, max_grad_norm).item()
    is_finite = np.isfinite([norm, *metrics.values()]).all()
    if is_finite:
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    skipped = {f"{name}/skipped": float(not is_finite)}
    return metrics | {f"{name}/grad_norm": norm} | skipped if is_finite else skipped
