"""Batches of prompts with their responses, and forward passes over them: log-probabilities, entropies, values.

Sequences are padded on the right, so no real token ever attends to padding and no attention mask is needed. Packed sequences
are concatenated into one row without padding; position ids restart at each sequence, and attention stays within it.

Shapes: B rollouts, S tokens of prompt and response, T tokens of the response, D hidden width.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from transformers import PreTrainedModel

from longform.rl.log_probs import output_head, token_statistics
from longform.rl.microbatches import cut_by_tokens
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
    """[B] float32, standardised scores of the references that the responses are compared with."""
    is_packed: bool = False
    """Whether a model reads the rows end to end, without padding."""

    @property
    def lengths(self) -> Tensor:
        """[B] tokens of each prompt and response."""
        return self.first + self.mask.sum(1).long()

    def rows(self, index: Tensor) -> "Batch":
        """The batch of some of the rows, padded to the longest of them."""
        width, length = int(self.lengths[index].max()), int(self.mask[index].sum(1).max())
        return Batch(
            self.tokens[index, :width],
            self.first[index],
            self.mask[index, :length],
            self.log_probs[index, :length],
            self.reference_scores[index],
            self.is_packed,
        )


def cut_batch(batch: Batch, rows: Tensor, *, max_tokens: int | None) -> list[Tensor]:
    """Divide `rows` into pieces of at most `max_tokens` tokens, padding included; a longer row is a piece of its own.

    Rows of similar length are put together, so there is little padding. With None, a CPU uses `CPU_TOKENS_PER_MICROBATCH`
    tokens, and a GPU one piece with the rows in the given order.
    """
    if max_tokens is None and rows.device.type == "cpu":
        max_tokens = CPU_TOKENS_PER_MICROBATCH
    if max_tokens is None:
        return [rows]
    pieces = cut_by_tokens(batch.lengths[rows].tolist(), max_tokens=max_tokens, packed=batch.is_packed)
    return [rows[torch.tensor(piece, device=rows.device)] for piece in pieces]


@torch.no_grad()
def measure_in_pieces(measure: Callable[[Batch], Tensor], batch: Batch, *, max_tokens: int | None) -> Tensor:
    """Compute `measure` ([rows, t] for some rows) piece by piece, without gradients; returns [B, T] for the whole batch."""
    found = torch.zeros_like(batch.mask)
    rows = torch.arange(len(batch.mask), device=batch.mask.device)
    for piece in cut_batch(batch, rows, max_tokens=max_tokens):
        part = measure(batch.rows(piece))
        found[piece, : part.shape[1]] = part
    return found


@dataclass(frozen=True, slots=True)
class Critic:
    """Predicts the reward before each token, from the text so far and the score of its reference.

    The reward of a pairwise verdict depends on the reference as much as on the response, and no text of the policy says
    which one it is. So the value is that of a linear head on the backbone's hidden states, plus one weight times the
    reference's standardised score. The weight starts at 0.
    """

    backbone: Any
    """Gives hidden states: a transformers model without its output head."""
    head: nn.Linear
    reference_weight: nn.Parameter


def response_statistics(model: PreTrainedModel, batch: Batch, *, temperature: float) -> tuple[Tensor, Tensor]:
    """Log-probabilities and entropies of the response tokens under a causal model, both [B, T] and 0 where masked."""
    hidden = _states_before_tokens(model.get_decoder(), batch)
    chosen = batch.mask.bool()
    targets = batch.tokens.gather(1, _token_positions(batch))[chosen]
    statistics = token_statistics(hidden[chosen], output_head(model), targets, temperature=temperature or 1.0)
    return _scattered(statistics.log_probs, chosen), _scattered(statistics.entropy, chosen)


def response_log_probs(model: PreTrainedModel, batch: Batch, *, temperature: float) -> Tensor:
    """[B, T] log-probabilities alone."""
    return response_statistics(model, batch, temperature=temperature)[0]


def response_values(critic: Critic, batch: Batch) -> Tensor:
    """[B, T] float32, the critic's prediction before each response token, 0 where masked."""
    hidden = _states_before_tokens(critic.backbone, batch)
    with torch.autocast(hidden.device.type, enabled=False):
        from_text = linear(hidden.float(), critic.head.weight, critic.head.bias).squeeze(-1)
    from_reference = critic.reference_weight * batch.reference_scores
    return (from_text + from_reference[:, None]) * batch.mask


def _states_before_tokens(backbone: Any, batch: Batch) -> Tensor:
    """[B, T, D] the hidden state from which each response token is predicted."""
    positions = _token_positions(batch) - 1
    if batch.is_packed:
        return _packed_states(backbone, batch, positions)
    hidden = backbone(input_ids=batch.tokens, use_cache=False).last_hidden_state
    return hidden.gather(1, positions[:, :, None].expand(-1, -1, hidden.shape[2]))


def _packed_states(backbone: Any, batch: Batch, positions: Tensor) -> Tensor:
    """[B, T, D] the hidden states at positions [B, T] of each row; those of padding are some states or other."""
    lengths, columns = batch.lengths, torch.arange(batch.tokens.shape[1], device=batch.tokens.device)
    is_real = columns < lengths[:, None]
    tokens, places = batch.tokens[is_real][None], columns.expand_as(is_real)[is_real][None]
    hidden = backbone(input_ids=tokens, position_ids=places, use_cache=False).last_hidden_state[0]
    starts = lengths.cumsum(0) - lengths
    return hidden[(starts[:, None] + positions).clamp(max=len(hidden) - 1)]


def _token_positions(batch: Batch) -> Tensor:
    """[B, T] the column of each response token in `tokens`; padding points at the last column."""
    steps = torch.arange(batch.mask.shape[1], device=batch.mask.device)
    return (batch.first[:, None] + steps).clamp(max=batch.tokens.shape[1] - 1)


def _scattered(values: Tensor, chosen: Tensor) -> Tensor:
    """[B, T] with `values` where `chosen` is True and 0 elsewhere."""
    return torch.zeros(chosen.shape, dtype=values.dtype, device=values.device).masked_scatter(chosen, values)
