"""Models of the supervised stages: loaded in the precision of the recipe, with adapters (LoRA) if it asks for them."""

from pathlib import Path
from typing import Any, Literal

import torch
from peft import LoraConfig, get_peft_model

from longform.records.errors import BadInputError
from longform.rl.settings import LoraSettings, MemorySettings
from longform.training.supervised.processes import find_processes
from longform.writers.loading import load_model
from longform.writers.self_check import check_saving

TaskType = Literal["CAUSAL_LM", "SEQ_CLS"]


def load_trainee(
    path: str,
    *,
    lora: LoraSettings | None,
    memory: MemorySettings,
    seed: int,
    optimizer: str,
    trust_remote_code: bool = False,
    self_check: bool = True,
) -> tuple[Any, Any]:
    """Load the tokenizer and the causal language model to train; the trainer moves it to the device.

    Args:
        path: Folder or hub id of the model.
        lora: Size of adapters; None trains all weights.
        memory: Precision of frozen weights.
        seed: Seed of new adapters.
        optimizer: Of the stage.
        trust_remote_code: Whether code in the model's folder may run.
        self_check: Whether to check that the model can be saved.

    Raises:
        BadInputError: it cannot be loaded or saved, or the processes cannot train it so.
    """
    check_sharding(lora=lora, optimizer=optimizer)
    tokenizer, model = load_model(
        path, device="cpu", dtype=weight_type(lora, memory), trust_remote_code=trust_remote_code
    )
    if self_check and find_processes().is_main:  # the only one that saves; of sharded models the others have no weights
        check_saving(model, tokenizer, path=path)
    return tokenizer, model if lora is None else add_adapters(model, lora, path=path, task="CAUSAL_LM", seed=seed)


def weight_type(lora: LoraSettings | None, memory: MemorySettings) -> torch.dtype:
    """Precision that weights are loaded in: trained ones in float32, frozen ones in that of matrix products."""
    return torch.bfloat16 if lora and memory.precision == "bfloat16" else torch.float32


def add_adapters(model: Any, lora: LoraSettings, *, path: str, task: TaskType, seed: int) -> Any:
    """Freeze a model and add adapters to every matrix inside its layers; a classifier's head is trained in full.

    Args:
        model: The model.
        lora: Size of the adapters.
        path: Where the model was loaded from; saved adapters name it as their base.
        task: Kind of model.
        seed: Seed of the adapters' initial weights.
    """
    torch.manual_seed(seed)
    config = LoraConfig(
        task_type=task,
        r=lora.rank,
        lora_alpha=lora.alpha or 2 * lora.rank,
        target_modules="all-linear",
        modules_to_save=["score"] if task == "SEQ_CLS" else None,
    )
    adapted: Any = get_peft_model(model, config)
    # Saved adapters must find their base model from any working directory.
    adapted.peft_config["default"].base_model_name_or_path = str(Path(path).resolve()) if Path(path).exists() else path
    return adapted


def check_sharding(*, lora: LoraSettings | None, optimizer: str) -> None:
    """Refuse what sharded weights (FSDP) do not support here.

    Raises:
        BadInputError: adapters of a reward model are merged, and Muon needs whole matrices.
    """
    if find_processes().is_sharded and optimizer == "muon":
        raise BadInputError("settings.optimizer: muon needs whole matrices, which FSDP shards; use adamw")
    if find_processes().is_sharded and lora is not None:
        raise BadInputError("lora: adapters are small enough for every GPU; leave FSDP out, or train all weights")
