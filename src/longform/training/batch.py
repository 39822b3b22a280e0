"""Prompts with their responses, in tokens, and how a batch is cut to fit into memory.

Sequences are padded on the right, so no real token ever attends to padding and no attention mask is needed.

Shapes: B rollouts, S tokens of prompt and response, T tokens of the response.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from longform.rl.settings import CPU_TOKENS_PER_MICROBATCH


class Batch(NamedTuple):
    """Prompts with their responses, in tokens."""

    tokens: Tensor
    """[B, S] int64."""
    first: Tensor
    """[B] position in `tokens` of each response's first token."""
    mask: Tensor
    """[B, T] float32, 1 on tokens of the response."""
    log_probs: Tensor
    """[B, T] float32, as the tokens were drawn."""
    reference_scores: Tensor
    """[B] float32, standardised scores of the references that the responses are held against."""

    @property
    def lengths(self) -> Tensor:
        """[B] tokens of each prompt and response."""
        return self.first + self.mask.sum(1).long()

    def rows(self, index: Tensor) -> "Batch":
        """The batch of some of the rows, cut to the longest of them."""
        width, length = int(self.lengths[index].max()), int(self.mask[index].sum(1).max())
        return Batch(
            self.tokens[index, :width],
            self.first[index],
            self.mask[index, :length],
            self.log_probs[index, :length],
            self.reference_scores[index],
        )


def cut_by_tokens(batch: Batch, rows: Tensor, *, max_tokens: int | None) -> list[Tensor]:
    """`rows` in pieces of at most `max_tokens` tokens, padding included; a longer row is a piece of its own.

    Rows of like length come together, which keeps the padding small. None: on a CPU
    `CPU_TOKENS_PER_MICROBATCH` tokens; elsewhere one piece, in the order given.
    """
    if max_tokens is None and rows.device.type == "cpu":
        max_tokens = CPU_TOKENS_PER_MICROBATCH
    if max_tokens is None:
        return [rows]
    lengths = batch.lengths[rows]
    pieces: list[list[int]] = []
    room = 0
    for place in lengths.argsort(descending=True, stable=True).tolist():
        if room < 1:
            pieces.append([])
            room = max(max_tokens // int(lengths[place]), 1)
        pieces[-1].append(int(rows[place]))
        room -= 1
    return [torch.tensor(piece, device=rows.device) for piece in pieces]


@torch.no_grad()
def measure_in_pieces(measure: Callable[[Batch], Tensor], batch: Batch, *, max_tokens: int | None) -> Tensor:
    """[B, T] what `measure` says about a batch ([rows, t] of some of its rows), a piece at a time, without gradients."""
    found = torch.zeros_like(batch.mask)
    rows = torch.arange(len(batch.mask), device=batch.mask.device)
    for piece in cut_by_tokens(batch, rows, max_tokens=max_tokens):
        part = measure(batch.rows(piece))
        found[piece, : part.shape[1]] = part
    return found
