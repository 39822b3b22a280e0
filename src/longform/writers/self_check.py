"""Self-check before a model generates: generation agrees with a plain forward pass, and the model can be saved.

Each failure is one line that names the model, what disagrees and by how much, and the remedy. The checks before training
are in training/self_check.py.
"""

import tempfile
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from transformers import GenerationConfig, PreTrainedModel
from transformers.modeling_utils import remove_tied_weights_from_state_dict

from longform.records.errors import BadInputError
from longform.writers.decoding import Completion
from longform.writers.engines import write_completions
from longform.writers.loading import context_length, load_config
from longform.writers.paths import model_below
from longform.writers.rope import settle_rope
from longform.writers.settings import SERVED, Engine, GenerationSettings
from longform.writers.small_model import SWITCH, small_model, switch_positions
from longform.writers.stops import Stops, find_stops

PROMPT_LENGTHS = (7, 2, 7)
"""Lengths of the prompts in tokens. The two of equal length are the same prompt."""
_TOKENS = 6
_CAUSAL_TOKENS = 8
_STOP_EVERY = 8
"""Every eighth token of the vocabulary is an end token, so that some rows end early."""
SEED = 7


class SampledRows(NamedTuple):
    """A few short texts that a model wrote for the check."""

    prompts: list[list[int]]
    completions: list[Completion]


class Tolerance(NamedTuple):
    """Tolerated differences between log-probabilities of the same tokens, in nats."""

    largest: float
    mean: float


def tolerance_of(dtype: torch.dtype) -> Tolerance:
    """Differences that rounding can cause. In bfloat16, single tokens differ by tenths of a nat."""
    return Tolerance(5e-3, 1e-3) if dtype in (torch.float32, torch.float64) else Tolerance(1.0, 0.1)


def working_dtype(model: PreTrainedModel) -> torch.dtype:
    """The type of a model's matrix products, which depends on whether autocast is enabled."""
    device = model.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else model.dtype


def check_model(
    model: PreTrainedModel,
    tokenizer: Any,
    *,
    path: str,
    settings: GenerationSettings,
    longest_prompt: int,
) -> SampledRows:
    """Check a loaded model before it writes.

    Args:
        model: In evaluation mode.
        tokenizer: Its tokenizer.
        path: Of the model, for errors.
        settings: How it will write.
        longest_prompt: In tokens.

    Returns:
        The texts that were written for it.

    Raises:
        BadInputError: a check failed.
    """
    check_context(model.config, path=path, settings=settings, longest_prompt=longest_prompt)
    check_saving(model, tokenizer, path=path)
    check_switches(model.config, path=path, settings=settings, longest_prompt=longest_prompt)
    return check_generation(model, path=path, settings=settings)


def check_context(config: Any, *, path: str, settings: GenerationSettings, longest_prompt: int) -> None:
    """Check that prompt and response fit into the context of the model.

    Raises:
        BadInputError: they do not.
    """
    context = context_length(config)
    if context is not None and longest_prompt + settings.max_tokens > context:
        room = context - longest_prompt
        remedy = (
            f"set max_tokens to at most {room}" if room > 0 else "use shorter prompts, or a model with a longer context"
        )
        raise BadInputError(
            f"{path}: a prompt of {longest_prompt} tokens and a response of max_tokens {settings.max_tokens} do not fit "
            f"into its context of {context} tokens; {remedy}"
        )


def check_stops(tokenizer: Any, *, path: str, settings: GenerationSettings, trust_remote_code: bool = False) -> None:
    """Check that something ends a response.

    Raises:
        BadInputError: there is no end token and no stop string, so every response would be cut off at `max_tokens`.
    """
    below = model_below(path)
    try:
        configured = GenerationConfig.from_pretrained(below)
    except OSError:  # as in transformers: a model may have none
        configured = GenerationConfig.from_model_config(load_config(path, trust_remote_code=trust_remote_code))
    stops = find_stops(tokenizer, settings, generation_config=configured)
    if not stops.tokens and not stops.searched:
        raise BadInputError(
            f"{path}: neither its tokenizer nor its generation config has an end token, so no response would end before "
            "max_tokens; name it as eos_token in tokenizer_config.json, or set generation.stop"
        )


def check_saving(model: Any, tokenizer: Any, *, path: str) -> None:
    """Check that a model can be saved, without writing its weights.

    Raises:
        BadInputError: transformers would refuse to save it.
    """
    try:
        with tempfile.TemporaryDirectory() as folder:
            model.config.save_pretrained(folder)
            if model.can_generate() and model.generation_config is not None:
                model.generation_config.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
        remove_tied_weights_from_state_dict(model.state_dict(), model)
    except Exception as error:  # what transformers raises is open-ended
        reason = " ".join(str(error).split())[:300]
        raise BadInputError(
            f"{path}: can be loaded, but transformers refuses to save it: {reason}; repair the files of the model first"
        ) from error


def check_causal(config: Any, *, path: str) -> None:
    """Check on a small random model that no token sees later ones: an encoder would learn to copy them, not to write.

    An architecture that transformers cannot build without its weights is not checked.

    Raises:
        BadInputError: tokens see later ones.
    """
    try:
        model = small_model(config, longest=_CAUSAL_TOKENS)
    except Exception:  # what transformers raises is open-ended
        return
    tokens = torch.arange(_CAUSAL_TOKENS).repeat(2, 1)
    tokens[1, -1] += 1
    with torch.no_grad():
        one, other = model(input_ids=tokens).logits[:, :-1]
    if not torch.allclose(one, other, rtol=0, atol=1e-3):
        raise BadInputError(
            f"{path}: its tokens see those after them ({config.model_type} is an encoder), so it cannot learn to write; "
            "take a causal language model"
        )


def check_switches(config: Any, *, path: str, settings: GenerationSettings, longest_prompt: int) -> None:
    """Check generation past the windows and RoPE switches that a text can cross, on a small random model.

    Raises:
        BadInputError: log-probabilities disagree there.
    """
    longest = longest_prompt + settings.max_tokens
    crossed = {name: position for name, position in switch_positions(config).items() if position < longest}
    if not crossed:
        return
    model = small_model(config, longest=longest)
    settle_rope(model, longest=longest)
    names = " and ".join(f"{name} at token {position}" for name, position in crossed.items())
    lowest = min(crossed.values())
    _check_rows(
        model,
        prompt_lengths=(SWITCH - 4, 3, SWITCH + 3, SWITCH - 2),
        tokens=SWITCH // 2,
        temperature=settings.temperature or 1.0,
        engine=settings.engine,
        path=path,
        where=f" past {names} (seen on a small random model)",
        remedy=f"keep prompt and response within {lowest} tokens (max_tokens at most {max(lowest - longest_prompt, 0)}), "
        "or take another model",
    )


def check_generation(model: PreTrainedModel, *, path: str, settings: GenerationSettings) -> SampledRows:
    """Check that log-probabilities at generation are those of a forward pass without a cache, row by row.

    Raises:
        BadInputError: they are not, or the decode loop does not support the model.
    """
    return _check_rows(
        model,
        prompt_lengths=PROMPT_LENGTHS,
        tokens=_TOKENS,
        temperature=settings.temperature or 1.0,
        engine=settings.engine,
        path=path,
        where="",
        remedy="longform cannot write with this architecture; take another model",
    )


def _check_rows(
    model: PreTrainedModel,
    *,
    prompt_lengths: Sequence[int],
    tokens: int,
    temperature: float,
    engine: Engine,
    path: str,
    where: str,
    remedy: str,
) -> SampledRows:
    vocabulary = _vocabulary(model)
    prompts = random_prompts(model, prompt_lengths)
    ends = frozenset(range(0, vocabulary, _STOP_EVERY))
    # A server is checked by itself, once it runs (training/self_check.py).
    settings = GenerationSettings(
        max_tokens=tokens, temperature=temperature, engine="own" if engine in SERVED else engine
    )
    try:
        completions = write_completions(
            model, prompts, seed=SEED, step=0, stops=Stops(ends, read=str), settings=settings
        )
        expected = [
            uncached_log_probs(model, prompt, it.tokens, temperature=temperature)
            for prompt, it in zip(prompts, completions, strict=True)
        ]
    except (BadInputError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # what an architecture raises in a loop that it was not made for is open-ended
        reason = " ".join(str(error).split())[:200]
        raise BadInputError(
            f"{path}: generation fails for this architecture ({type(model).__name__}){where}: "
            f"{type(error).__name__}: {reason}; "
            f"{remedy}"
        ) from error
    compare(
        torch.cat([it.log_probs for it in completions]),
        torch.cat(expected),
        dtype=working_dtype(model),
        path=path,
        what=f"log-probabilities at generation and of a plain forward pass disagree{where}",
        remedy=remedy,
    )
    return SampledRows(prompts, completions)


def random_prompts(model: PreTrainedModel, lengths: Sequence[int] = PROMPT_LENGTHS) -> list[list[int]]:
    """Prompts of random tokens for a check; the last one equals the first, if it is as long."""
    random = torch.Generator().manual_seed(SEED)
    prompts = [torch.randint(_vocabulary(model), (length,), generator=random).tolist() for length in lengths]
    return [*prompts[:-1], prompts[0] if lengths[-1] == lengths[0] else prompts[-1]]


def _vocabulary(model: PreTrainedModel) -> int:
    embeddings: Any = model.get_input_embeddings()
    return int(embeddings.weight.shape[0])


@torch.inference_mode()
def uncached_log_probs(
    model: PreTrainedModel, prompt: Sequence[int], tokens: torch.Tensor, *, temperature: float
) -> torch.Tensor:
    """[T] log-probabilities of a response's tokens after a prompt, by one forward pass without a cache or padding."""
    ids = torch.cat([torch.tensor(prompt, device=tokens.device), tokens])[None]
    logits = model(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 : -1].float() / temperature
    return torch.log_softmax(logits, -1).gather(1, tokens[:, None])[:, 0]


def compare(
    found: torch.Tensor, expected: torch.Tensor, *, dtype: torch.dtype, path: str, what: str, remedy: str
) -> None:
    """Compare log-probabilities of the same tokens.

    Raises:
        BadInputError: they differ by more than rounding explains.
    """
    difference = (found.float() - expected.float()).abs()
    largest, mean = float(difference.max()), float(difference.mean())
    allowed = tolerance_of(dtype)
    if not (largest <= allowed.largest and mean <= allowed.mean):  # NaN fails too
        raise BadInputError(f"{path}: {what} by up to {largest:.3g} nats ({mean:.3g} on average); {remedy}")
