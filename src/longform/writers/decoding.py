"""The decode loop over a transformers model: sampled tokens with their log-probabilities, finished rows leaving early.

Every draw is a function of (seed, step, row, token) and of nothing else, so a step that is run again after a crash writes
the same texts. Prompts are padded on the left. Rows that have ended leave the batch and its cache once they are an eighth
of it: dropping each at once would copy the cache for every row.

Shapes: R rows still being written, V vocabulary.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from longform.writers.settings import GenerationSettings


class Written(NamedTuple):
    """One response in tokens."""

    tokens: Tensor
    """[T] int64, the closing token included where there is one."""
    log_probs: Tensor
    """[T] float32, under the distribution that the tokens were drawn from, before any top-p cut."""
    finish_reason: str
    """`stop`, or `length` where max_tokens cut it off."""


def uniform_draws(*, seed: int, step: int, rows: Sequence[int], count: int) -> np.ndarray:
    """[rows, count] numbers in [0, 1): a stream for each (seed, step, row), one number a token.

    Training steps count from 1; 0 is validation's, and sample k of plain writing is step -1 - k.
    """
    return np.stack([np.random.Generator(np.random.Philox(key=_key(seed, step, row))).random(count) for row in rows])


@torch.no_grad()
def decode(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    *,
    draws: np.ndarray,
    stop_tokens: Sequence[int],
    settings: GenerationSettings,
    on_finished: Callable[[int, Written], None] | None = None,
) -> list[Written]:
    """Write a response to each prompt.

    Args:
        model: a causal language model in evaluation mode.
        prompts: token ids of each prompt, at least one each.
        draws: [prompts, max_tokens] uniform numbers, see `uniform_draws`.
        stop_tokens: ids that end a response.
        settings: how tokens are drawn.
        on_finished: called with (row, response) as soon as a row ends, while the others are still being written.

    Returns:
        The responses, in the order of the prompts.
    """
    device = model.device
    uniforms = torch.from_numpy(draws).to(device)
    stops = torch.tensor(list(stop_tokens), device=device)
    tokens = torch.zeros(len(prompts), settings.max_tokens, dtype=torch.int64, device=device)
    log_probs = torch.zeros(len(prompts), settings.max_tokens, dtype=torch.float32, device=device)
    finished: dict[int, Written] = {}

    inputs, attention = _left_padded(prompts, device)
    positions = (attention.cumsum(1) - 1).clamp(min=0)
    cache = DynamicCache(config=model.config)
    rows = torch.arange(len(prompts), device=device)
    writing = torch.ones(len(prompts), dtype=torch.bool, device=device)
    for t in range(settings.max_tokens):
        logits = _next_logits(model, inputs, attention, positions, cache)
        chosen, chosen_log_probs = choose_tokens(logits, uniforms[rows, t], settings)
        tokens[rows, t], log_probs[rows, t] = chosen, chosen_log_probs

        stopped = writing & torch.isin(chosen, stops)
        ended = writing.clone() if t == settings.max_tokens - 1 else stopped
        for slot in ended.nonzero().flatten().tolist():
            row = int(rows[slot])
            reason = "stop" if stopped[slot] else "length"
            finished[row] = Written(tokens[row, : t + 1].clone(), log_probs[row, : t + 1].clone(), reason)
            if on_finished is not None:
                on_finished(row, finished[row])
        writing &= ~ended
        if not writing.any():
            break
        inputs, positions = chosen[:, None], positions[:, -1:] + 1
        attention = torch.cat([attention, torch.ones_like(inputs)], dim=1)
        if (~writing).sum() * 8 >= len(rows):
            keep = writing.nonzero().flatten()
            cache.batch_select_indices(keep)
            rows, writing = rows[keep], writing[keep]
            inputs, positions, attention = inputs[keep], positions[keep], attention[keep]
    return [finished[row] for row in range(len(prompts))]


def decode_in_batches(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    *,
    seed: int,
    step: int,
    first_row: int = 0,
    stop_tokens: Sequence[int],
    settings: GenerationSettings,
    on_finished: Callable[[int, Written], None] = lambda row, written: None,
) -> list[Written]:
    """Write a response to each prompt, `settings.batch` of them side by side; see `decode` and `uniform_draws`.

    `first_row` is the row of the first prompt in the stream of draws; `on_finished` counts rows from 0.
    """
    finished: list[Written] = []
    for start in range(0, len(prompts), settings.batch):
        batch = prompts[start : start + settings.batch]
        rows = range(first_row + start, first_row + start + len(batch))
        draws = uniform_draws(seed=seed, step=step, rows=rows, count=settings.max_tokens)

        def report(row: int, written: Written, start: int = start) -> None:
            on_finished(start + row, written)

        finished += decode(model, batch, draws=draws, stop_tokens=stop_tokens, settings=settings, on_finished=report)
    return finished


def choose_tokens(logits: Tensor, uniforms: Tensor, settings: GenerationSettings) -> tuple[Tensor, Tensor]:
    """One token for each row by inverting the cumulative distribution at its uniform number.

    Args:
        logits: [R, V].
        uniforms: [R] in [0, 1).
        settings: temperature 0 takes the likeliest token; top_p < 1 cuts the tail before drawing.

    Returns:
        [R] token ids and [R] their log-probabilities at the sampling temperature.
    """
    log_p = torch.log_softmax(logits.float() / (settings.temperature or 1.0), dim=-1)
    if settings.temperature == 0:
        chosen = log_p.argmax(-1)
        return chosen, log_p.gather(1, chosen[:, None]).squeeze(1)
    weights = log_p.double().exp()
    if settings.top_p < 1:
        weights = _nucleus(weights, settings.top_p)
    cumulative = weights.cumsum(-1)
    target = uniforms[:, None].to(cumulative.dtype) * cumulative[:, -1:]
    chosen = torch.searchsorted(cumulative, target, right=True).squeeze(1).clamp(max=logits.shape[1] - 1)
    return chosen, log_p.gather(1, chosen[:, None]).squeeze(1)


def _nucleus(weights: Tensor, top_p: float) -> Tensor:
    """[R, V] probabilities with everything outside the smallest set of mass `top_p` at 0."""
    ordered, order = weights.sort(-1, descending=True)
    beyond = ordered.cumsum(-1) - ordered >= top_p
    return torch.zeros_like(weights).scatter(1, order, ordered.masked_fill(beyond, 0.0))


def _next_logits(model: Any, inputs: Tensor, attention: Tensor, positions: Tensor, cache: DynamicCache) -> Tensor:
    """[R, V] logits of the token after the last one."""
    output = model(
        input_ids=inputs,
        attention_mask=attention,
        position_ids=positions,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    return output.logits[:, -1]


def _left_padded(prompts: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    width = max(len(prompt) for prompt in prompts)
    ids = torch.zeros(len(prompts), width, dtype=torch.int64)
    attention = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = torch.tensor(prompt)
        attention[row, width - len(prompt) :] = 1
    return ids.to(device), attention.to(device)


def _key(seed: int, step: int, row: int) -> np.ndarray:
    return np.random.SeedSequence([seed, step % 2**32, row]).generate_state(2, np.uint64)
