"""Continual pretraining through TRL: a model learns packed windows of text in their order, and outlives a kill.

The checkpoints are the Hugging Face Trainer's own: weights, optimizer, schedule, random numbers and step; the step is also
the place in the data. The trainer does not write them whole or not at all, so each gets a mark as its last file, and one
without a mark is thrown away. Two are kept, so a whole one is there while the next is written.
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
from longform.training.optimizer import LossLog, OptimSettings, Progress, build_optimizer, trainer_arguments

_KEPT = 2
_MARK = "whole"


class PretrainSettings(OptimSettings):
    """How a model learns from windows of text."""

    max_tokens: int = Field(default=32_768, ge=2)
    """Tokens in a window."""
    batch_size: int = Field(default=16, ge=1)
    """Windows in one update."""
    micro_batch: int = Field(default=1, ge=1)
    """Windows that go through the model side by side: a matter of memory, not of what is learned."""
    seed: int = Field(default=0, ge=0)
    """Of the order of the documents."""

    @model_validator(mode="after")
    def _check_batches(self) -> "PretrainSettings":
        if self.batch_size % self.micro_batch:
            raise ValueError(f"batch_size {self.batch_size} is no multiple of micro_batch {self.micro_batch}")
        return self

    @property
    def update_tokens(self) -> int:
        """Tokens in one update."""
        return self.batch_size * self.max_tokens


class PretrainReport(NamedTuple):
    """What a pretraining came to; losses in nats for a token."""

    updates: int
    first_loss: float
    """Mean over the first updates that were logged together."""
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
    on_progress: Progress = lambda update, updates, loss: None,
) -> PretrainReport:
    """Train `model` in place on the windows, each once and in their order, from the newest checkpoint on if there is one.

    Args:
        model: a causal language model.
        tokenizer: its tokenizer.
        windows: rows of `input_ids`, all of `settings.max_tokens`; `settings.batch_size` of them are an update.
        settings: how.
        checkpoints: folder that checkpoints go to and are taken from.
        checkpoint_every: updates between two checkpoints; there is always one of the last update.
        on_progress: called with (update, updates, loss) from time to time.

    Raises:
        StoppedError: the device has no memory left.
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
            "the device has no memory left; continue with --resume and a smaller settings.micro_batch, or start again "
            "with a smaller settings.max_tokens"
        ) from error
    model.eval()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    last = losses[-max(1, len(losses) // 10) :]
    return PretrainReport(updates, losses[0], sum(last) / len(last))


def newest_checkpoint(folder: Path) -> str | None:
    """The newest checkpoint in a folder. Those that a kill has left half-written are removed."""
    found = {int(path.name.rpartition("-")[2]): path for path in folder.glob("checkpoint-*")}
    for number, path in list(found.items()):
        if not (path / _MARK).exists():
            shutil.rmtree(found.pop(number))
    return str(found[max(found)]) if found else None


class _CheckpointMarks(TrainerCallback):
    """Marks checkpoints that are whole."""

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
        dataset_kwargs={"skip_prepare_dataset": True},  # windows are full and in order
        train_sampling_strategy="sequential",
        save_strategy="steps",
        save_steps=checkpoint_every,
        save_total_limit=_KEPT,
    )
