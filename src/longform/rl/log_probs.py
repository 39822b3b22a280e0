"""Log-probabilities and entropies of chosen tokens, without ever holding a [tokens, vocabulary] tensor.

A long draft times a large vocabulary is what runs out of memory first, so the output projection is taken in chunks of
tokens, and the backward pass recomputes each chunk instead of keeping its logits. Memory is O(chunk x vocabulary).

Shapes: N tokens (any rows, flattened), D hidden width, V vocabulary.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

CHUNK_TOKENS = 1024


class TokenStatistics(NamedTuple):
    """What the policy thinks of each chosen token."""

    log_probs: Tensor
    """[N] natural-log probability of the chosen token, float32."""
    entropy: Tensor
    """[N] entropy of the whole next-token distribution in nats, float32."""


def token_statistics(
    hidden: Tensor, weight: Tensor, targets: Tensor, *, temperature: float = 1.0, chunk_tokens: int = CHUNK_TOKENS
) -> TokenStatistics:
    """Log-probability and entropy of softmax(hidden @ weight.T / temperature) at `targets`.

    Args:
        hidden: [N, D] last hidden states, one for each predicted token.
        weight: [V, D] output projection (no bias).
        targets: [N] token ids that were chosen.
        temperature: the one the tokens were sampled with, so that ratios compare the distributions really used.
        chunk_tokens: tokens projected at a time.

    Both results are differentiable with respect to `hidden` and `weight`.
    """
    log_probs, entropy = _ChunkedProjection.apply(hidden, weight, targets, temperature, chunk_tokens)
    return TokenStatistics(log_probs, entropy)


class _ChunkedProjection(torch.autograd.Function):
    """Projection, log-softmax, gather and entropy in one pass over chunks; the backward pass recomputes the logits."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, temperature: float, chunk_tokens: int
    ) -> tuple[Tensor, Tensor]:
        log_probs = torch.empty(len(targets), dtype=torch.float32, device=hidden.device)
        entropy = torch.empty_like(log_probs)
        for start in range(0, len(targets), chunk_tokens):
            rows = slice(start, start + chunk_tokens)
            log_p = _log_softmax(hidden[rows], weight, temperature)
            log_probs[rows] = log_p.gather(1, targets[rows, None]).squeeze(1)
            entropy[rows] = -(log_p.exp() * log_p).sum(1)
        ctx.save_for_backward(hidden, weight, targets, entropy)
        ctx.temperature, ctx.chunk_tokens = temperature, chunk_tokens
        return log_probs, entropy

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        grad_log_probs, grad_entropy = grads
        hidden, weight, targets, entropy = ctx.saved_tensors
        grad_hidden = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        grad_weight = torch.zeros_like(weight, dtype=torch.float32) if ctx.needs_input_grad[1] else None
        for start in range(0, len(targets), ctx.chunk_tokens):
            rows = slice(start, start + ctx.chunk_tokens)
            log_p = _log_softmax(hidden[rows], weight, ctx.temperature)
            p = log_p.exp()
            # d log p_t / d z_j = [j = t] - p_j        d H / d z_j = -p_j (log p_j + H)
            slope = log_p.add_(entropy[rows, None]).mul_(grad_entropy[rows, None]).add_(grad_log_probs[rows, None])
            grad_logits = slope.mul_(p).neg_()
            grad_logits.scatter_add_(1, targets[rows, None], grad_log_probs[rows, None])
            grad_logits = grad_logits.div_(ctx.temperature).to(hidden.dtype)
            if grad_hidden is not None:
                grad_hidden[rows] = grad_logits @ weight
            if grad_weight is not None:
                grad_weight += grad_logits.T @ hidden[rows]
        return grad_hidden, None if grad_weight is None else grad_weight.to(weight.dtype), None, None, None


def _log_softmax(hidden: Tensor, weight: Tensor, temperature: float) -> Tensor:
    """[chunk, V] log-probabilities in float32."""
    return torch.log_softmax((hidden @ weight.T).float() / temperature, dim=-1)
