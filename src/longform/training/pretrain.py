"""Continued pretraining through TRL on packed windows of text, in order and resumable.

Checkpoints are the Hugging Face Trainer's: weights, optimizer, schedule, random state and step, which is also the position
in the data. The trainer does not write them atomically, so a marker file is written last, and a checkpoint without it is
deleted. Two checkpoints are kept, so that a complete one exists while the next is written.
"""

import os
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import torch
from datasets import Dataset
from pydantic import Field, model_validator
from transformers import PreTrainedModel, PrinterCallback, TrainerCallback
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from longform.records.errors import StoppedError
from longform.training.optimizer import LossCallback, LossLog, SupervisedSettings, build_optimizer, trainer_arguments

_KEPT = 2
_MARK = "whole"


class PretrainSettings(SupervisedSettings):
    """Settings of continued pretraining."""

    max_tokens: int = Field(default=32_768, ge=2)
    """Tokens per window."""
    batch_size: int = Field(default=16, ge=1)
    """Windows per update."""
    micro_batch: int = Field(default=1, ge=1)
    """Windows per forward pass; affects memory, not the result."""
    seed: int = Field(default=0, ge=0)
    """Seed of the document order."""

    @model_validator(mode="after")
    def _check_batches(self) -> "PretrainSettings":
        if self.batch_size % self.micro_batch:
            raise ValueError(f"batch_size {self.batch_size} is not a multiple of micro_batch {self.micro_batch}")
        return self

    @property
    def update_tokens(self) -> int:
        """Tokens per update."""
        return self.batch_size * self.max_tokens


class PretrainReport(NamedTuple):
    """Result of a pretraining; losses are in nats per token."""

    updates: int
    first_loss: float
    """Mean over the updates of the first log entry."""
    final_loss: float
    """Mean over the last tenth of the updates."""


def train_on_windows(
    model: PreTrainedModel,
    tokenizer: Any,
    windows: Dataset,
    settings: PretrainSettings,
    *,
    checkpoints: Path,
    checkpoint_every: int,
    on_progress: LossCallback = lambda update, updates, loss: None,
) -> PretrainReport:
    """Train `model` in place for one epoch over the windows, in order, from the latest checkpoint if there is one.

    Args:
        model: A causal language model.
        tokenizer: Its tokenizer.
        windows: Rows of `input_ids` with `settings.max_tokens` tokens each; `settings.batch_size` rows per update.
        settings: Training settings.
        checkpoints: Folder of the checkpoints.
        checkpoint_every: Updates between checkpoints; the last update always has one.
        on_progress: Called at intervals with (update, updates, loss).

    Raises:
        StoppedError: the device is out of memory.
    """
    updates = len(windows) // settings.batch_size
    config = _trl_config(settings, checkpoints, updates=updates, checkpoint_every=checkpoint_every)
    trainer = SFTTrainer(
        model=model,
        args=config,
        train_dataset=windows,
        processing_class=tokenizer,
        optimizers=build_optimizer(model, settings, steps=updates),
        callbacks=[LossLog(on_progress), _CheckpointMarks()],
    )
    trainer.remove_callback(PrinterCallback)
    try:
        trainer.train(resume_from_checkpoint=newest_checkpoint(checkpoints))
    except torch.OutOfMemoryError as error:
        raise StoppedError(
            "the device is out of memory; continue with --resume and a smaller settings.micro_batch, or start again with "
            "a smaller settings.max_tokens"
        ) from error
    model.eval()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    last = losses[-max(1, len(losses) // 10) :]
    return PretrainReport(updates, losses[0], sum(last) / len(last))


def newest_checkpoint(folder: Path) -> str | None:
    """Return the latest complete checkpoint in a folder; incomplete ones are deleted."""
    checkpoints = {int(path.name.rpartition("-")[2]): path for path in folder.glob("checkpoint-*")}
    for number, path in list(checkpoints.items()):
        if not (path / _MARK).exists():
            shutil.rmtree(checkpoints.pop(number))
    return str(checkpoints[max(checkpoints)]) if checkpoints else None


class _CheckpointMarks(TrainerCallback):
    """Marks complete checkpoints."""

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        for path in checkpoint.iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        (checkpoint / _MARK).touch()


def _trl_config(settings: PretrainSettings, folder: Path, *, updates: int, checkpoint_every: int) -> SFTConfig:
    return SFTConfig(
        **trainer_arguments(settings, folder, steps=updates, seed=settings.seed),
        per_device_train_batch_size=settings.micro_batch,
        gradient_accumulation_steps=settings.batch_size // settings.micro_batch,
        max_length=settings.max_tokens,
        dataset_kwargs={"skip_prepare_dataset": True},  # windows are already full and in order
        train_sampling_strategy="sequential",
        save_strategy="steps",
        save_steps=checkpoint_every,
        save_total_limit=_KEPT,
    )
