"""Log-probabilities and entropies of sampled tokens without materializing a [tokens, vocabulary] tensor.

The logits of long responses over a large vocabulary are the first tensor to exceed memory, so the output projection is
computed in tiles of tokens by vocabulary entries. The forward pass reduces each tile to a few numbers per token; the
backward pass recomputes it. On a CPU a tile has about the size of the cache: elementwise passes over it are then cheap
compared with the projection. Smaller tiles would lose time to thread synchronization on busy cores.

Shapes: N tokens (any rows, flattened), D hidden width, V vocabulary, n x v one tile.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class TokenStatistics(NamedTuple):
    """Log-probability of each sampled token, and entropy of its distribution."""

    log_probs: Tensor
    """[N] natural log-probability of the sampled token, float32."""
    entropy: Tensor
    """[N] entropy of the next-token distribution in nats, float32."""


class OutputHead(NamedTuple):
    """How a model gets logits z from a last hidden state h: z = scale (W h + b), and with a cap c, c tanh(z / c)."""

    weight: Tensor
    """[V, D]."""
    bias: Tensor | None = None
    """[V], or none."""
    scale: float = 1.0
    """Granite divides by `logits_scaling`, Cohere multiplies by `logit_scale`."""
    cap: float | None = None
    """Gemma 2's `final_logit_softcapping`."""


def output_head(model: Any) -> OutputHead:
    """How a causal model gets its logits, from its output embeddings and its configuration.

    That nothing else happens to them is part of the self-check (training/self_check.py).
    """
    head, config = model.get_output_embeddings(), model.config.get_text_config(decoder=True)
    scale = getattr(config, "logit_scale", None) or 1 / (getattr(config, "logits_scaling", None) or 1.0)
    return OutputHead(head.weight, head.bias, scale, getattr(config, "final_logit_softcapping", None))


class Tile(NamedTuple):
    """Size of the part of the projection that is in memory at a time."""

    tokens: int
    vocabulary: int


CPU_TILE = Tile(2048, 4096)
GPU_TILE = Tile(4096, 8192)


def token_statistics(
    hidden: Tensor, head: OutputHead, targets: Tensor, *, temperature: float = 1.0, tile: Tile | None = None
) -> TokenStatistics:
    """Compute the log-probability and entropy of softmax(logits / temperature) at `targets`.

    The projection uses autocast's dtype if autocast is enabled, else the dtype of `hidden`; everything after it is in
    float32 (float64 for float64). Both results are differentiable with respect to `hidden`, weight and bias; gradients are
    accumulated in float32 and returned in the dtypes of the inputs.

    Args:
        hidden: [N, D] last hidden states, one per predicted token.
        head: The output projection.
        targets: [N] ids of the sampled tokens.
        temperature: Sampling temperature of the tokens, so that ratios compare the actual sampling distributions.
        tile: Tile size; by default chosen for the device.
    """
    device = hidden.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
    tile = tile or (CPU_TILE if device == "cpu" else GPU_TILE)
    how = _Logits(head.scale, head.cap, temperature)
    return TokenStatistics(*_TiledProjection.apply(hidden, head.weight, head.bias, targets, how, dtype, tile))


class _Logits(NamedTuple):
    """What happens to a tile of the projection."""

    scale: float
    cap: float | None
    temperature: float

    def of(self, states: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The logits of one tile, [n, v] in float32 or float64, and with a cap d logits / d (uncapped logits)."""
        z = (states @ weight.T).to(_precise(states.dtype))
        if bias is not None:
            z += bias.to(z.dtype)
        if self.scale != 1:
            z *= self.scale
        if self.cap is None:
            return z.div_(self.temperature), None
        bounded = z.div_(self.cap).tanh_()
        return bounded * (self.cap / self.temperature), 1 - bounded**2


class _TiledProjection(torch.autograd.Function):
    """Fused projection, log-softmax, gather and entropy over tiles; the backward pass recomputes the logits."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        how: _Logits,
        dtype: torch.dtype,
        tile: Tile,
    ) -> tuple[Tensor, Tensor]:
        # Running values per token over the logits z so far: max, sum exp(z - max), sum exp(z - max) z.
        largest = hidden.new_full(targets.shape, -torch.inf, dtype=_precise(dtype))
        total, weighted, chosen = (torch.zeros_like(largest) for _ in range(3))
        with torch.autocast(hidden.device.type, enabled=False):
            for columns in _spans(len(weight), tile.vocabulary):
                part, part_bias = weight[columns].to(dtype), None if bias is None else bias[columns]
                for rows in _spans(len(targets), tile.tokens):
                    z, _ = how.of(hidden[rows].to(dtype), part, part_bias)
                    top = torch.maximum(largest[rows], z.amax(1))
                    before = (largest[rows] - top).exp()
                    masses = (z - top[:, None]).exp_()
                    largest[rows] = top
                    total[rows] = total[rows] * before + masses.sum(1)
                    weighted[rows] = weighted[rows] * before + masses.mul_(z).sum(1)
                    column, inside = _columns_of(targets[rows], columns)
                    chosen[rows] += z.gather(1, column).squeeze(1) * inside
        log_normaliser = largest + total.log()
        entropy = log_normaliser - weighted / total
        ctx.save_for_backward(hidden, weight, bias, targets, log_normaliser, entropy)
        ctx.how, ctx.dtype, ctx.tile = how, dtype, tile
        return chosen - log_normaliser, entropy

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        grad_log_probs, grad_entropy = (grad / (ctx.how.temperature / ctx.how.scale) for grad in grads)
        hidden, weight, bias, targets, log_normaliser, entropy = ctx.saved_tensors
        # d log p_t / d z_j = [j = t] - p_j        d H / d z_j = -p_j (log p_j + H)
        slope, offset = -grad_entropy[:, None], -(grad_log_probs + grad_entropy * entropy)[:, None]
        needs_hidden, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        grad_hidden = torch.zeros_like(hidden, dtype=slope.dtype) if needs_hidden else None
        grad_weight = torch.empty_like(weight) if needs_weight else None
        grad_bias = torch.empty_like(bias) if needs_bias else None
        with torch.autocast(hidden.device.type, enabled=False):
            for columns in _spans(len(weight), ctx.tile.vocabulary):
                part, part_bias = weight[columns].to(ctx.dtype), None if bias is None else bias[columns]
                grad_part = torch.zeros_like(part, dtype=slope.dtype)
                grad_part_bias = torch.zeros(len(part), dtype=slope.dtype, device=part.device)
                for rows in _spans(len(targets), ctx.tile.tokens):
                    states = hidden[rows].to(ctx.dtype)
                    z, cap_slope = ctx.how.of(states, part, part_bias)
                    log_p = z.sub_(log_normaliser[rows, None])
                    p = log_p.exp()
                    grad_logits = log_p.mul_(slope[rows]).add_(offset[rows]).mul_(p)
                    column, inside = _columns_of(targets[rows], columns)
                    grad_logits.scatter_add_(1, column, (grad_log_probs[rows] * inside)[:, None])
                    if cap_slope is not None:
                        grad_logits *= cap_slope
                    if grad_bias is not None:
                        grad_part_bias += grad_logits.sum(0)
                    grad_logits = grad_logits.to(ctx.dtype)
                    if grad_hidden is not None:
                        _add_product(grad_hidden[rows], grad_logits, part)
                    if grad_weight is not None:
                        _add_product(grad_part, grad_logits.T, states)
                if grad_weight is not None:
                    grad_weight[columns] = grad_part
                if grad_bias is not None:
                    grad_bias[columns] = grad_part_bias
        of_hidden = None if grad_hidden is None else grad_hidden.to(hidden.dtype)
        return of_hidden, grad_weight, grad_bias, None, None, None, None


def _columns_of(targets: Tensor, columns: slice) -> tuple[Tensor, Tensor]:
    """Return each target's column in a tile, [n, 1] (arbitrary if it is in another tile), and whether it is in it, [n]."""
    local, width = targets - columns.start, columns.stop - columns.start
    return local.clamp(0, width - 1)[:, None], (local >= 0) & (local < width)


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Add left @ right to `total` in float32; rounding every tile's product to bfloat16 would bias the sum."""
    if left.is_cuda and left.dtype != total.dtype:
        total += torch.mm(left, right, out_dtype=total.dtype)
    else:
        total.addmm_(left.to(total.dtype), right.to(total.dtype))


def _precise(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


def _spans(count: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, count)) for start in range(0, count, size))
