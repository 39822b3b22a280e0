"""Log-probabilities and entropies of chosen tokens, without ever holding a [tokens, vocabulary] tensor.

A long draft times a large vocabulary is what runs out of memory first, so the output projection is taken in tiles of some
tokens by some of the vocabulary. The forward pass folds each tile into a few numbers a token; the backward pass recomputes
it. On a CPU a tile is about as large as the cache: passes over it cost little beside the projection itself, and it is no
smaller, since threads that share busy cores lose most of their time where they wait for each other between short passes.

Shapes: N tokens (any rows, flattened), D hidden width, V vocabulary, n x v one tile.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class TokenStatistics(NamedTuple):
    """What the policy thinks of each chosen token."""

    log_probs: Tensor
    """[N] natural-log probability of the chosen token, float32."""
    entropy: Tensor
    """[N] entropy of the whole next-token distribution in nats, float32."""


class Tile(NamedTuple):
    """How much of the projection is in memory at a time."""

    tokens: int
    vocabulary: int


CPU_TILE = Tile(2048, 4096)
GPU_TILE = Tile(4096, 8192)


def token_statistics(
    hidden: Tensor, weight: Tensor, targets: Tensor, *, temperature: float = 1.0, tile: Tile | None = None
) -> TokenStatistics:
    """Log-probability and entropy of softmax(hidden @ weight.T / temperature) at `targets`.

    The projection is taken in autocast's dtype where it is on, else in that of `hidden`; everything after it in float32
    (float64 for float64). Both results are differentiable with respect to `hidden` and `weight`, whose gradients are
    summed in float32 and come in the dtypes of the two.

    Args:
        hidden: [N, D] last hidden states, one for each predicted token.
        weight: [V, D] output projection (no bias).
        targets: [N] token ids that were chosen.
        temperature: the one the tokens were sampled with, so that ratios compare the distributions really used.
        tile: what is projected at a time; by default what suits the device.
    """
    device = hidden.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
    tile = tile or (CPU_TILE if device == "cpu" else GPU_TILE)
    return TokenStatistics(*_TiledProjection.apply(hidden, weight, targets, temperature, dtype, tile))


class _TiledProjection(torch.autograd.Function):
    """Projection, log-softmax, gather and entropy in one pass over tiles; the backward pass recomputes the logits."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        targets: Tensor,
        temperature: float,
        dtype: torch.dtype,
        tile: Tile,
    ) -> tuple[Tensor, Tensor]:
        # Of the logits z seen so far, for each token: the largest, sum exp(z - largest), sum exp(z - largest) z.
        largest = hidden.new_full(targets.shape, -torch.inf, dtype=_precise(dtype))
        total, weighted, chosen = (torch.zeros_like(largest) for _ in range(3))
        with torch.autocast(hidden.device.type, enabled=False):
            for columns in _spans(len(weight), tile.vocabulary):
                part = weight[columns].to(dtype)
                for rows in _spans(len(targets), tile.tokens):
                    z = _logits(hidden[rows].to(dtype), part, temperature)
                    top = torch.maximum(largest[rows], z.amax(1))
                    before = (largest[rows] - top).exp()
                    masses = (z - top[:, None]).exp_()
                    largest[rows] = top
                    total[rows] = total[rows] * before + masses.sum(1)
                    weighted[rows] = weighted[rows] * before + masses.mul_(z).sum(1)
                    column, inside = _places(targets[rows], columns)
                    chosen[rows] += z.gather(1, column).squeeze(1) * inside
        log_normaliser = largest + total.log()
        entropy = log_normaliser - weighted / total
        ctx.save_for_backward(hidden, weight, targets, log_normaliser, entropy)
        ctx.temperature, ctx.dtype, ctx.tile = temperature, dtype, tile
        return chosen - log_normaliser, entropy

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        grad_log_probs, grad_entropy = (grad / ctx.temperature for grad in grads)
        hidden, weight, targets, log_normaliser, entropy = ctx.saved_tensors
        # d log p_t / d z_j = [j = t] - p_j        d H / d z_j = -p_j (log p_j + H)
        slope, offset = -grad_entropy[:, None], -(grad_log_probs + grad_entropy * entropy)[:, None]
        needs_hidden, needs_weight = ctx.needs_input_grad[:2]
        grad_hidden = torch.zeros_like(hidden, dtype=slope.dtype) if needs_hidden else None
        grad_weight = torch.empty_like(weight) if needs_weight else None
        with torch.autocast(hidden.device.type, enabled=False):
            for columns in _spans(len(weight), ctx.tile.vocabulary):
                part = weight[columns].to(ctx.dtype)
                grad_part = torch.zeros_like(part, dtype=slope.dtype)
                for rows in _spans(len(targets), ctx.tile.tokens):
                    states = hidden[rows].to(ctx.dtype)
                    log_p = _logits(states, part, ctx.temperature).sub_(log_normaliser[rows, None])
                    p = log_p.exp()
                    grad_logits = log_p.mul_(slope[rows]).add_(offset[rows]).mul_(p)
                    column, inside = _places(targets[rows], columns)
                    grad_logits.scatter_add_(1, column, (grad_log_probs[rows] * inside)[:, None])
                    grad_logits = grad_logits.to(ctx.dtype)
                    if grad_hidden is not None:
                        _add_product(grad_hidden[rows], grad_logits, part)
                    if grad_weight is not None:
                        _add_product(grad_part, grad_logits.T, states)
                if grad_weight is not None:
                    grad_weight[columns] = grad_part
        return None if grad_hidden is None else grad_hidden.to(hidden.dtype), grad_weight, None, None, None, None


def _logits(states: Tensor, part: Tensor, temperature: float) -> Tensor:
    """[n, v] logits of one tile, float32 or better."""
    return (states @ part.T).to(_precise(states.dtype)).div_(temperature)


def _places(targets: Tensor, columns: slice) -> tuple[Tensor, Tensor]:
    """[n, 1] the column of each target in a tile, some column where it has none, and [n] whether it has one."""
    local, width = targets - columns.start, columns.stop - columns.start
    return local.clamp(0, width - 1)[:, None], (local >= 0) & (local < width)


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Add left @ right to `total`, all in float32: to round the product of every tile to bf16 would bias their sum."""
    if left.is_cuda and left.dtype != total.dtype:
        total += torch.mm(left, right, out_dtype=total.dtype)
    else:
        total.addmm_(left.to(total.dtype), right.to(total.dtype))


def _precise(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


def _spans(count: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, count)) for start in range(0, count, size))
