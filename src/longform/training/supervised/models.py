"""Models of the supervised stages: loaded in the precision of the recipe, with adapters (LoRA) if it asks for them."""

import warnings
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


def load_trainable(
    path: str,
    *,
    lora: LoraSettings | None,
    memory: MemorySettings,
    seed: int,
    optimizer: str,
    trust_remote_code: bool = False,
    self_check: bool = True,
) -> tuple[Any, Any]:
    """Load the tokenizer and the causal language model of a stage on the CPU; the trainer moves the model to its device.

    Args:
        path: Folder or hub id of the model.
        lora: Size of adapters; None trains all weights.
        memory: Decides the precision of frozen weights.
        seed: Seed of the adapters' initial weights.
        optimizer: Optimizer of the stage, `adamw` or `muon`.
        trust_remote_code: Whether code in the model's folder may run.
        self_check: Whether to check that the model can be saved.

    Raises:
        BadInputError: it cannot be loaded or saved, or FSDP does not support adapters or the optimizer.
    """
    check_sharding(lora=lora, optimizer=optimizer)
    tokenizer, model = load_model(
        path, device="cpu", dtype=weight_type(lora, memory), trust_remote_code=trust_remote_code
    )
    if self_check and find_processes().is_main:  # the only one that saves; of sharded models the others have no weights
        check_saving(model, tokenizer, path=path)
    return tokenizer, model if lora is None else add_adapters(model, lora, path=path, task="CAUSAL_LM", seed=seed)


def weight_type(lora: LoraSettings | None, memory: MemorySettings) -> torch.dtype:
    """Precision to load weights in: float32 if they are trained, that of matrix products if they are frozen."""
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
    # When adapters on adapters are saved, peft looks for the vocabulary of a config.json beside the lower ones.
    warnings.filterwarnings("ignore", message="Could not find a config file in")
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
    """Refuse settings that do not work with sharded weights (FSDP).

    Raises:
        BadInputError: weights are sharded, and the optimizer is Muon or adapters are trained.
    """
    if find_processes().is_sharded and optimizer == "muon":
        raise BadInputError("settings.optimizer: muon needs whole matrices, and FSDP shards them; use adamw")
    if find_processes().is_sharded and lora is not None:
        raise BadInputError(
            "lora: adapters cannot be trained with FSDP; they fit on every GPU, so start without FSDP, or train all weights"
        )
