"""A model proves that it can be trained: its training forward pass agrees with generation, and with itself."""

import torch
from transformers import PreTrainedModel

from longform.records.errors import BadInputError
from longform.rl.settings import MemorySettings
from longform.training.forward import response_log_probs
from longform.training.models import PolicyModels, learning_mode, prepare_learning, set_attention
from longform.training.policy_writer import PolicyWriter
from longform.training.rollouts import pad_batch
from longform.writers.loading import check_vocabulary, load_config, load_tokenizer
from longform.writers.rope import settle_rope
from longform.writers.self_check import (
    SEED,
    SampledRows,
    check_context,
    check_generation,
    check_model,
    check_switches,
    compare,
    random_prompts,
    uncached_log_probs,
    working_dtype,
)
from longform.writers.served.server import EngineServer
from longform.writers.settings import GenerationSettings
from longform.writers.small_model import small_model

_SERVED_TOKENS = 16


def check_models(
    models: PolicyModels, *, path: str, settings: GenerationSettings, longest_prompt: int, packed: bool = False
) -> None:
    """Check the policy of a run before its first step, in generation (writers/self_check.py) and in training.

    Args:
        models: Of the run.
        path: Of the policy, for errors.
        settings: How it will write.
        longest_prompt: In tokens.
        packed: Whether rows are read end to end in training.

    Raises:
        BadInputError: a check failed; one line with the model, what disagrees by how much, and the remedy.
    """
    with models.as_policy() as policy, models.autocast():
        rows = check_model(policy, models.tokenizer, path=path, settings=settings, longest_prompt=longest_prompt)
        with models.learning():
            check_training_forward(policy, rows, path=path, temperature=settings.temperature or 1.0, packed=packed)


def check_architecture(
    path: str,
    *,
    settings: GenerationSettings,
    longest_prompt: int,
    memory: MemorySettings = MemorySettings(),  # noqa: B008  frozen
    trust_remote_code: bool = False,
) -> str:
    """The same checks on a small random model of the configuration, for a run whose weights are not loaded.

    Returns:
        What was checked, in words.

    Raises:
        BadInputError: a check failed.
    """
    config = load_config(path, trust_remote_code=trust_remote_code)
    longest = longest_prompt + settings.max_tokens
    check_context(config, path=path, settings=settings, longest_prompt=longest_prompt)
    tokenizer = load_tokenizer(path, trust_remote_code=trust_remote_code)
    try:
        small = small_model(config, longest=longest)
    except Exception as error:  # what transformers raises is open-ended
        reason = " ".join(str(error).split())[:100]
        return f"its architecture cannot be checked without its weights: {type(error).__name__}: {reason}"
    settle_rope(small, longest=longest)
    check_vocabulary(tokenizer, config.get_text_config(decoder=True).vocab_size, path=path)
    rows = check_generation(small, path=path, settings=settings)
    check_switches(config, path=path, settings=settings, longest_prompt=longest_prompt)
    prepare_learning([small], gradient_checkpointing=memory.gradient_checkpointing)
    set_attention([small], memory.attention)
    with learning_mode([small]):
        check_training_forward(small, rows, path=path, temperature=settings.temperature or 1.0, packed=memory.packing)
    return "generation and training agree on a small random model of its architecture"


def check_served(models: PolicyModels, server: EngineServer, *, path: str, settings: GenerationSettings) -> None:
    """Check that a server writes with the policy's weights, and reports the log-probabilities of a plain forward pass.

    Args:
        models: Of the run.
        server: That writes for it.
        path: Of the policy, for errors.
        settings: How it will write.

    Raises:
        BadInputError: log-probabilities disagree.
        StoppedError: the server cannot be used.
    """
    writer = PolicyWriter(models, settings.model_copy(update={"max_tokens": _SERVED_TOKENS}), seed=SEED, server=server)
    with models.as_policy() as policy:
        prompts = random_prompts(policy)
    completions = writer.write(prompts, step=0)
    with models.as_policy() as policy, models.autocast():
        expected = [
            uncached_log_probs(policy, prompt, it.tokens.to(policy.device), temperature=settings.temperature or 1.0)
            for prompt, it in zip(prompts, completions, strict=True)
        ]
        compare(
            torch.cat([it.log_probs for it in completions]),
            torch.cat(expected).cpu(),
            dtype=working_dtype(policy),
            path=path,
            what=f"log-probabilities of the {settings.engine} server and of a plain forward pass disagree",
            remedy="start it with the precision of memory.precision; vllm also with --logprobs-mode processed_logprobs",
        )


def check_training_forward(
    policy: PreTrainedModel, rows: SampledRows, *, path: str, temperature: float, packed: bool = False
) -> None:
    """Check that log-probabilities in training are those of generation, and the same in two passes.

    Args:
        policy: In the mode in which it learns.
        rows: Texts that it wrote.
        path: Of the policy, for errors.
        temperature: Of the sampling.
        packed: Whether rows are read end to end.

    Raises:
        BadInputError: they are not, or the forward pass does not support the architecture.
    """
    scores = [0.0] * len(rows.prompts)
    batch = pad_batch(rows.prompts, rows.completions, reference_scores=scores, device=policy.device, packed=packed)
    try:
        first, second = (response_log_probs(policy, batch, temperature=temperature).detach() for _ in range(2))
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # what an unknown architecture raises is open-ended
        reason = " ".join(str(error).split())[:200]
        raise BadInputError(
            f"{path}: the training forward pass fails for this architecture: {type(error).__name__}: {reason}; "
            "train another model"
        ) from error
    chosen, dtype = batch.mask.bool(), working_dtype(policy)
    compare(
        second[chosen],
        first[chosen],
        dtype=dtype,
        path=path,
        what="two training passes over the same text at the same weights disagree",
        remedy="something random stays on in training, such as dropout: set it to 0 in the model's config.json",
    )
    compare(
        first[chosen],
        batch.log_probs[chosen],
        dtype=dtype,
        path=path,
        what="log-probabilities in training and at generation disagree",
        remedy="this architecture does not keep packed rows apart; set memory.packing: false"
        if packed
        else "its output head does something that longform does not know; train another model",
    )
