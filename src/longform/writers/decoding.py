"""The decode loop over a transformers model: samples tokens with their log-probabilities; finished rows leave the batch.

Every draw is a function of (seed, step, row, token) only, so a step that is repeated after a crash generates the same texts.
When a row finishes, the last row of the batch takes its slot, so the other rows are not moved.

Shapes: R active rows, V vocabulary.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import PreTrainedModel

from longform.writers.context import Context
from longform.writers.packed_weights import packed_weights
from longform.writers.settings import GenerationSettings
from longform.writers.stops import Stops

_BLOCK = 256
"""Number of tokens per block; see `invert_cumulative`."""


class Completion(NamedTuple):
    """A response as tokens."""

    tokens: Tensor
    """[T] int64, including the end token if there is one."""
    log_probs: Tensor
    """[T] float32, under the sampling distribution before any top-p cut."""
    finish_reason: str
    """`stop`, or `length` if the response was truncated at max_tokens."""


def uniform_draws(*, seed: int, step: int, rows: Sequence[int], count: int) -> np.ndarray:
    """Return uniform numbers in [0, 1), [rows, count]: one stream per (seed, step, row), one number per token.

    Training steps count from 1; step 0 is used for validation, and step -1 - k for sample k of `longform generate`.
    """
    return np.stack([np.random.Generator(np.random.Philox(key=_key(seed, step, row))).random(count) for row in rows])


@torch.no_grad()
def decode(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    *,
    draws: np.ndarray,
    stops: Stops,
    settings: GenerationSettings,
    on_finished: Callable[[int, Completion], None] | None = None,
) -> list[Completion]:
    """Generate a response to each prompt.

    Args:
        model: A causal language model in evaluation mode.
        prompts: Token ids of each prompt, at least one token each.
        draws: [prompts, max_tokens] uniform numbers (see `uniform_draws`).
        stops: Stop conditions.
        settings: Sampling settings.
        on_finished: Called with (row, response) as soon as a row finishes, while others continue.

    Returns:
        The responses in the order of the prompts.
    """
    rows = list(range(len(prompts)))
    finished: dict[int, Completion] = {}
    device = drawing_device(model.device)
    uniforms = torch.from_numpy(draws).to(device)
    tokens = torch.zeros(len(prompts), settings.max_tokens, dtype=torch.int64, device=model.device)
    log_probs = torch.zeros(len(prompts), settings.max_tokens, dtype=torch.float32, device=model.device)

    context = Context(model, longest=settings.max_tokens)
    logits = context.read_prompts(prompts)
    for t in range(settings.max_tokens):
        drawn_tokens = choose_tokens(logits.to(device), uniforms[:, t], settings)
        chosen, chosen_log_probs = (it.to(model.device) for it in drawn_tokens)
        tokens[:, t], log_probs[:, t] = chosen, chosen_log_probs
        for slot, token in enumerate(chosen.tolist()):
            stopped = stops.may_end(token) and stops.are_reached(tokens[slot, : t + 1])
            if stopped or t == settings.max_tokens - 1:
                drawn = tokens[slot, : t + 1].clone(), log_probs[slot, : t + 1].clone()
                finished[rows[slot]] = Completion(*drawn, "stop" if stopped else "length")
                if on_finished is not None:
                    on_finished(rows[slot], finished[rows[slot]])
        if len(finished) == len(prompts):
            break
        keep = _compacted([row not in finished for row in rows])
        if len(keep) < len(rows):
            context.keep(keep)
            rows = [rows[slot] for slot in keep]
            chosen, uniforms, tokens, log_probs = (it[keep] for it in (chosen, uniforms, tokens, log_probs))
        logits = context.read_tokens(chosen)
    return [finished[row] for row in range(len(prompts))]


def decode_in_batches(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    *,
    seed: int,
    step: int,
    first_row: int = 0,
    stops: Stops,
    settings: GenerationSettings,
    on_finished: Callable[[int, Completion], None] = lambda row, written: None,
) -> list[Completion]:
    """Generate a response to each prompt in batches of `settings.batch`; see `decode` and `uniform_draws`.

    `first_row` is the row of the first prompt in the stream of draws; `on_finished` gets rows counted from 0.
    """
    finished: list[Completion] = []
    with packed_weights(model):
        for start in range(0, len(prompts), settings.batch):
            batch = prompts[start : start + settings.batch]
            rows = range(first_row + start, first_row + start + len(batch))
            draws = uniform_draws(seed=seed, step=step, rows=rows, count=settings.max_tokens)

            def report(row: int, written: Completion, start: int = start) -> None:
                on_finished(start + row, written)

            finished += decode(model, batch, draws=draws, stops=stops, settings=settings, on_finished=report)
    return finished


def choose_tokens(logits: Tensor, uniforms: Tensor, settings: GenerationSettings) -> tuple[Tensor, Tensor]:
    """Sample one token per row by inverting the cumulative distribution at a uniform number.

    Args:
        logits: [R, V].
        uniforms: [R] in [0, 1).
        settings: Temperature 0 is greedy decoding; top_p < 1 truncates the distribution before sampling.

    Returns:
        Token ids [R] and their log-probabilities at the sampling temperature [R].
    """
    log_p = torch.log_softmax(logits.float() / (settings.temperature or 1.0), dim=-1)
    if settings.temperature == 0:
        chosen = log_p.argmax(-1)
        return chosen, log_p.gather(1, chosen[:, None]).squeeze(1)
    weights = log_p.exp()
    if settings.top_p < 1:
        weights = _nucleus(weights.double(), settings.top_p)
    chosen = invert_cumulative(weights, uniforms)
    return chosen, log_p.gather(1, chosen[:, None]).squeeze(1)


def invert_cumulative(weights: Tensor, uniforms: Tensor) -> Tensor:
    """The tokens [R] at which the cumulative weights [R, V] exceed a share `uniforms` [R] of their sum.

    The block of tokens is found first, and then the token within it. A cumulative sum over a whole vocabulary in float64
    would take several times as long.
    """
    blocks = pad(weights, (0, -weights.shape[1] % _BLOCK)).view(len(weights), -1, _BLOCK)
    block, left = _find(blocks.sum(-1, dtype=torch.float64), uniforms.double(), is_share=True)
    inside, _ = _find(blocks.gather(1, block[:, None, None].expand(-1, -1, _BLOCK))[:, 0].double(), left)
    return (block * _BLOCK + inside).clamp(max=weights.shape[1] - 1)


def _find(weights: Tensor, target: Tensor, *, is_share: bool = False) -> tuple[Tensor, Tensor]:
    """Return the index [R] at which the cumulative weights [R, N] first exceed a target [R], and the target minus the sum of
    the weights before that index. With `is_share`, the target is a share of the sum of all weights.
    """
    cumulative = weights.cumsum(-1)
    total = cumulative[:, -1]
    target = target * total if is_share else target
    # Rounding must not lead past the last entry with a positive weight, and NaN must not lead past the last entry.
    target = torch.minimum(target, torch.nextafter(total, torch.zeros_like(total)))
    index = torch.searchsorted(cumulative, target[:, None], right=True).clamp(max=weights.shape[1] - 1)
    before = cumulative.gather(1, index) - weights.gather(1, index)
    return index[:, 0], target - before[:, 0]


def drawing_device(device: torch.device) -> torch.device:
    """The device on which tokens are sampled: the model's, or the CPU if the model's has no float64 (Apple's MPS)."""
    return torch.device("cpu") if device.type == "mps" else device


def _nucleus(weights: Tensor, top_p: float) -> Tensor:
    """Return the probabilities, [R, V], with everything outside the smallest set of mass `top_p` set to 0."""
    ordered, order = weights.sort(-1, descending=True)
    beyond = ordered.cumsum(-1) - ordered >= top_p
    return torch.zeros_like(weights).scatter(1, order, ordered.masked_fill(beyond, 0.0))


def _compacted(writing: Sequence[bool]) -> list[int]:
    """Return the slots of the active rows; the last of them fill the slots of finished rows, so few have to move."""
    slots = [slot for slot, is_writing in enumerate(writing) if is_writing]
    movable = [slot for slot in slots if slot >= len(slots)]
    return [slot if writing[slot] else movable.pop() for slot in range(len(slots))]


def _key(seed: int, step: int, row: int) -> np.ndarray:
    return np.random.SeedSequence([seed, step % 2**32, row]).generate_state(2, np.uint64)
