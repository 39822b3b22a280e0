"""The decoding engines of this process behind one function; `generation.engine` chooses. Servers: see served/."""

from collections.abc import Callable, Sequence
from typing import Any

from longform.writers.decoding import Completion, decode_in_batches
from longform.writers.settings import GenerationSettings
from longform.writers.stops import Stops


def write_completions(
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
    """Generate a response to each prompt, with the engine of the settings.

    Args:
        model: A causal language model in evaluation mode.
        prompts: Token ids of each prompt, at least one token each.
        seed, step, first_row: Decide the draws: with `own` each token's is a function of (seed, step, row, token).
        stops: Stop conditions.
        settings: Sampling settings.
        on_finished: Called with (row, response), rows from 0, as soon as a row finishes, while others continue.

    Raises:
        BadInputError: the engine cannot run the model.
    """
    decode = decode_in_batches
    if settings.engine == "paged":
        from longform.writers.paged import decode_paged

        decode = decode_paged
    return decode(
        model,
        prompts,
        seed=seed,
        step=step,
        first_row=first_row,
        stops=stops,
        settings=settings,
        on_finished=on_finished,
    )
