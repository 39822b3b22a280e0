"""Generation by transformers' continuous batching: rows that end are replaced at once, and prompts share their cache.

It uses the policy's weights in a thread of its own, with paged attention; the model's attention is restored afterwards.
Log-probabilities are returned with the tokens. Random draws depend on (seed, step) and on the order of the batches. So a
step that is repeated on the same machine usually gives the same texts, but only their distribution is guaranteed.

This engine is for GPUs; on a CPU the decode loop of writers/decoding.py is faster.
"""

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from transformers import ContinuousBatchingConfig, GenerationConfig

from longform.records.errors import BadInputError
from longform.writers.decoding import Completion
from longform.writers.settings import GenerationSettings
from longform.writers.stops import Stops

BLOCK = {"cpu": 32, "cuda": 256}
"""Tokens of a block of the cache, by device."""
PREFILL_TOKENS = 2048
"""Maximum tokens of a forward pass, unless more rows are generated at once."""
_POLL_SECONDS = 1.0
_logger = logging.getLogger("ContinuousBatchingLogger")


def decode_paged(
    model: Any,
    prompts: Sequence[Sequence[int]],
    *,
    seed: int,
    step: int,
    first_row: int = 0,
    stops: Stops,
    settings: GenerationSettings,
    on_finished: Callable[[int, Completion], None] = lambda row, written: None,
) -> list[Completion]:
    """Generate a response to each prompt; as `decoding.decode_in_batches`, but for the draws.

    Args:
        model: A causal language model, or one with adapters.
        prompts: Token ids of each prompt.
        seed, step, first_row: Decide the draws.
        stops: Stop conditions.
        settings: Sampling settings; at most `batch` rows are written at once.
        on_finished: Called with (row, response) as soon as a row finishes, while others continue.

    Raises:
        BadInputError: the architecture cannot run with paged attention.
    """
    if not prompts:
        return []
    model = model.get_base_model() if hasattr(model, "get_base_model") else model
    finished: dict[int, Completion] = {}

    def finish(row: int, tokens: list[int], log_probs: list[float], *, stopped: bool) -> None:
        written = (
            torch.tensor(tokens, dtype=torch.int64, device=model.device),
            torch.tensor(log_probs, dtype=torch.float32, device=model.device),
        )
        finished[row] = Completion(*written, "stop" if stopped else "length")
        on_finished(row, finished[row])

    longest = max(map(len, prompts)) + settings.max_tokens
    with (
        _quiet(),
        torch.random.fork_rng(_devices(model)),
        _manager(
            model, settings, stops, seed=_seed_of(seed, step, first_row), rows=len(prompts), longest=longest
        ) as manager,
    ):
        rows = {
            manager.add_request(
                list(prompt),
                max_new_tokens=settings.max_tokens,
                eos_token_id=sorted(stops.tokens) or -1,
                streaming=bool(stops.completing),
            ): row
            for row, prompt in enumerate(prompts)
        }
        while len(finished) < len(prompts):
            output = manager.get_result(timeout=_POLL_SECONDS)
            if output is None:
                _check_alive(model, manager)
                continue
            row = rows[output.request_id]
            if row in finished:
                continue  # tokens after a stop string
            if output.error:
                raise _refusal(model, RuntimeError(output.error))
            tokens = output.generated_tokens
            if stops.completing:
                end = stops.find_end(torch.tensor(tokens))
                reached = end < len(tokens) or (
                    bool(tokens) and stops.may_end(tokens[-1]) and stops.are_reached(torch.tensor(tokens))
                )
                if reached and not output.is_finished():
                    manager.cancel_request(output.request_id)
                if reached or output.is_finished():
                    finish(row, tokens[:end], output.logprobs[:end], stopped=reached)
            elif output.is_finished():
                finish(row, tokens, output.logprobs, stopped=bool(tokens) and tokens[-1] in stops.tokens)
    return [finished[row] for row in range(len(prompts))]


@contextmanager
def _manager(
    model: Any, settings: GenerationSettings, stops: Stops, *, seed: int, rows: int, longest: int
) -> Iterator[Any]:
    """A manager of continuous batching, with a cache that holds as many rows as are written at once."""
    block = BLOCK.get(model.device.type, BLOCK["cuda"])
    at_once = min(rows, settings.batch)
    sampling = GenerationConfig(
        do_sample=settings.temperature > 0,
        temperature=settings.temperature or None,
        top_p=1.0,
        top_k=0,
        max_new_tokens=settings.max_tokens,
        eos_token_id=sorted(stops.tokens) or -1,
        pad_token_id=0,
    )
    batching = ContinuousBatchingConfig(
        block_size=block,
        num_blocks=at_once * math.ceil(longest / block) + 1,
        max_batch_tokens=max(PREFILL_TOKENS, at_once),
        return_logprobs=True,
        seed=seed,
    )
    try:
        manager = model.init_continuous_batching(generation_config=sampling, continuous_batching_config=batching)
    except Exception as error:  # what an architecture raises that it was not made for is open-ended
        raise _refusal(model, error) from error
    manager.model = _AsTheCallerComputes(model)
    try:
        _cast_cached_states(manager)
    except Exception as error:
        raise _refusal(model, error) from error
    manager.start()
    try:
        yield manager
    finally:
        manager.stop(block=True, hard_stop=True)
        manager.destroy()


class _AsTheCallerComputes:
    """A model for the manager's thread, where neither the caller's autocast nor its `no_grad` holds.

    Args:
        model: The model.
    """

    def __init__(self, model: Any) -> None:
        kind = model.device.type
        self._model, self._kind = model, kind
        self._is_cast = torch.is_autocast_enabled(kind)
        self.dtype = torch.get_autocast_dtype(kind) if self._is_cast else model.dtype
        """Of the cache."""

    def __call__(self, **inputs: Any) -> Any:
        with torch.no_grad(), torch.autocast(self._kind, dtype=self.dtype, enabled=self._is_cast):
            return self._model(**inputs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)


def _cast_cached_states(manager: Any) -> None:
    """Cast keys and values to the cache's type. Under autocast, the rotary embedding makes keys float32, but not values."""
    manager.batch_processor = manager._create_batch_processor()
    cache = manager.batch_processor.cache
    update, dtype = cache.update, cache.dtype

    def cast_and_update(key_states: torch.Tensor, value_states: torch.Tensor, *arguments: Any, **named: Any) -> Any:
        return update(key_states.to(dtype), value_states.to(dtype), *arguments, **named)

    cache.update = cast_and_update


def _check_alive(model: Any, manager: Any) -> None:
    """Name what ended the manager's thread.

    Raises:
        BadInputError: something did.
    """
    if manager.fatal_error is not None:
        raise _refusal(model, manager.fatal_error) from manager.fatal_error
    if not manager.is_running():
        raise _refusal(model, RuntimeError("the generation thread ended"))


def _refusal(model: Any, error: Exception) -> Exception:
    if isinstance(error, torch.OutOfMemoryError):
        return error
    return BadInputError(
        f"generation.engine: paged cannot write with {type(model).__name__} "
        f"({type(error).__name__}: {' '.join(str(error).split())[:160]}); use engine: own"
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """The manager logs what is raised here anyway."""
    level = _logger.level
    _logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        _logger.setLevel(level)


def _devices(model: Any) -> list[torch.device]:
    """The devices whose random state the manager changes; it is restored afterwards, so a run's own draws are unaffected."""
    return [model.device] if model.device.type == "cuda" else []


def _seed_of(seed: int, step: int, first_row: int) -> int:
    return int(np.random.SeedSequence([seed, step % 2**32, first_row]).generate_state(1)[0])
