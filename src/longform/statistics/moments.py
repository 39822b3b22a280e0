"""Recompute a response's advantages for another score from three sums over its tokens.

Advantages are linear in the rewards (GAE), and the score is added at the last token: a score higher by d raises the
advantage of token t by d (gamma lambda)^(T - 1 - t). A run can therefore be rescored without its model.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple


class AdvantageMoments(NamedTuple):
    """Sums over the T tokens of one response of its advantages A_t before whitening, with c_t = (gamma lambda)^(T-1-t)."""

    tokens: int
    total: float
    """Sum of A_t."""
    squares: float
    """Sum of A_t squared."""
    tail: float
    """Sum of c_t A_t."""


def shifted(moments: AdvantageMoments, difference: float, *, decay: float) -> AdvantageMoments:
    """Return the moments if the score were higher by `difference`; `decay` is gamma times lambda, in [0, 1]."""
    weights, squared_weights = _powers(decay, moments.tokens), _powers(decay * decay, moments.tokens)
    return AdvantageMoments(
        moments.tokens,
        moments.total + difference * weights,
        moments.squares + 2 * difference * moments.tail + difference * difference * squared_weights,
        moments.tail + difference * squared_weights,
    )


def whitened_means(responses: Sequence[AdvantageMoments], *, epsilon: float = 1e-8) -> list[float]:
    """Return each response's mean advantage after whitening over all tokens (unbiased variance)."""
    tokens = sum(it.tokens for it in responses)
    if tokens < 2:
        return [0.0] * len(responses)
    mean = sum(it.total for it in responses) / tokens
    variance = max(0.0, sum(it.squares for it in responses) - tokens * mean * mean) / (tokens - 1)
    scale = 1 / math.sqrt(variance + epsilon)
    return [(it.total / it.tokens - mean) * scale for it in responses]


def _powers(decay: float, count: int) -> float:
    """1 + decay + decay^2 + ..., `count` terms."""
    return float(count) if decay == 1 else (1 - decay**count) / (1 - decay)
