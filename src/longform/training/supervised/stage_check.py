"""Checks of a supervised stage before its model is loaded: weights, context length and memory."""

from longform.planning.device import device_memory
from longform.planning.memory import GIB
from longform.planning.shapes import fetch_shape
from longform.planning.supervised import SupervisedPlan, SupervisedWorkload, check_supervised
from longform.records.errors import BadInputError
from longform.training.supervised.settings import SupervisedRecipe, SupervisedSettings
from longform.writers.loading import check_weights, context_length, load_config
from longform.writers.self_check import check_causal


def check_stage_model(recipe: SupervisedRecipe, model: str, *, longest: int, has_head: bool = True) -> None:
    """Check the headers of a model's weights, and that a row of `longest` tokens fits into its context.

    Args:
        recipe: The recipe.
        model: Folder or hub id of the model to train.
        longest: Tokens of the longest row.
        has_head: Whether the output head of a language model is needed; a reward model gets a new head.

    Raises:
        BadInputError: weights are missing or damaged, the row is too long, the model is an encoder, or its configuration
            cannot be read.
    """
    check_weights(
        model,
        trust_remote_code=recipe.trust_remote_code,
        has_head=has_head,
        may_be_elsewhere=recipe.memory.limit_gb is not None,
    )
    config = load_config(model, trust_remote_code=recipe.trust_remote_code)
    if has_head:
        check_causal(config, path=model)
    context = context_length(config)
    if context is not None and longest > context:
        raise BadInputError(
            f"settings.max_tokens: {longest} is more than the context of {model} ({context} tokens); set it to {context} at "
            "most"
        )


def check_stage_memory(
    recipe: SupervisedRecipe,
    model: str,
    settings: SupervisedSettings,
    *,
    longest: int | None = None,
    texts_per_row: int = 1,
) -> SupervisedPlan:
    """Plan the memory of a stage on the devices of its recipe, or on those that it was started on.

    Args:
        recipe: The recipe.
        model: Folder or hub id of the model to train.
        settings: The recipe's settings.
        longest: Tokens of the longest row; by default `settings.max_tokens`.
        texts_per_row: 1 for a language model, 2 for the pairs of a reward model.

    Raises:
        BadInputError: the stage does not fit; the error names the key that frees most memory.
    """
    import torch

    limit_gb = recipe.memory.limit_gb
    on_gpu = torch.cuda.is_available() or limit_gb is not None
    devices = recipe.planned_devices
    work = SupervisedWorkload(
        fetch_shape(model),
        rows=devices.rows_each(settings.batch_size),
        longest=longest or settings.max_tokens,
        memory=recipe.memory.resolved(on_gpu=on_gpu),
        lora=recipe.lora,
        optimizer=settings.optimizer,
        texts_per_row=texts_per_row,
        has_head=texts_per_row == 1,
        shards=devices.count if devices.is_sharded else 1,
        per_sequence=devices.per_sequence,
        on_gpu=on_gpu,
    )
    available = "this machine has" if limit_gb is None else "memory.limit_gb is"
    limit = device_memory() if limit_gb is None else limit_gb * GIB
    return check_supervised(work, model=model, limit=limit, available=available)
