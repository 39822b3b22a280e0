"""Training of the supervised stages: order of the rows, micro-batches, validation, and the trainers, which extend TRL's.

The rows of all updates are put in order before training starts, and the trainer passes over them once. So the rows of an
update depend neither on the number of processes nor on restarts. `MicroBatches` divides each process's part of a batch.
"""

import math
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from datasets import disable_progress_bars
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR
from transformers import PrinterCallback, TrainingArguments
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from longform.records.errors import LongformError, StoppedError
from longform.records.folders import disk_trouble
from longform.rl.microbatches import cut_by_tokens
from longform.rl.settings import MemorySettings
from longform.training.supervised.callbacks import SKIPPED, Checkpoints, FiniteUpdates, LossReports
from longform.training.supervised.optimizer import build_optimizer, scheduled_factor
from longform.training.supervised.processes import Processes, find_processes
from longform.training.supervised.resumable import newest_checkpoint
from longform.training.supervised.settings import (
    LossCallback,
    StageValidation,
    SupervisedMemory,
    SupervisedRecipe,
    SupervisedSettings,
)
from longform.training.supervised.tracked import StageTracking, track_stage

disable_progress_bars()

IGNORED = -100
"""Label of a token that is not learned."""
# transformers 5.2x renamed the argument and warns of the old name.
_CHECKPOINTING = next(
    name for name in ("activation_checkpointing", "gradient_checkpointing") if hasattr(TrainingArguments, name)
)
_NEVER = 10**9
ArgumentsT = TypeVar("ArgumentsT", bound=TrainingArguments)


@dataclass(frozen=True, slots=True)
class StageRun:
    """How a stage is run: its memory, checkpoints, validation and trackers."""

    memory: MemorySettings
    checkpoints: Path | None = None
    """Folder of the checkpoints; None keeps none."""
    checkpoint_every: int = 100
    keep_checkpoints: int = 2
    start: str | None = None
    """Checkpoint to begin from if there is none in `checkpoints` yet."""
    validation: StageValidation | None = None
    tracking: StageTracking | None = None

    @classmethod
    def of(cls, recipe: SupervisedRecipe | None = None) -> "StageRun":
        """The run of a recipe on this machine; without a recipe, one that keeps no checkpoints."""
        on_gpu = torch.cuda.is_available()
        if recipe is None:
            return cls(SupervisedMemory().resolved(on_gpu=on_gpu))
        return cls(
            recipe.memory.resolved(on_gpu=on_gpu),
            recipe.checkpoints,
            recipe.checkpoint_every,
            recipe.keep_checkpoints,
            validation=recipe.validation,
            tracking=StageTracking.of(recipe),
        )


@dataclass(frozen=True, slots=True)
class SupervisedStage:
    """How a stage is trained: everything except its model and rows."""

    settings: SupervisedSettings
    steps: int
    run: StageRun
    blank: Mapping[str, Any]
    """A row that adds nothing to the loss; it fills up the last batch of an epoch."""

    @property
    def processes(self) -> Processes:
        """The processes that train it."""
        return find_processes()


class Validated(NamedTuple):
    """The loss over the validation rows after an update."""

    step: int
    loss: float


class StageReport(NamedTuple):
    """Losses of a finished stage."""

    steps: int
    first_loss: float
    """Mean over the updates of the first log entry."""
    final_loss: float
    """Mean over the last tenth of the updates."""
    validations: list[Validated]
    best_step: int | None
    """Update whose weights were kept; None without validation."""
    skipped: int = 0
    """Number of updates that were skipped because loss or gradient was not finite."""


class TrainedModel(NamedTuple):
    """A trained model, before it is saved."""

    model: Any
    tokenizer: Any
    weights: Any
    """The full state dict if the model is sharded (in process 0), else None."""
    report: StageReport

    def save(self, folder: Path) -> None:
        """Write the model, or its adapters, with its tokenizer."""
        self.model.save_pretrained(folder, state_dict=self.weights)
        self.tokenizer.save_pretrained(folder)


def training_order(rows: int, *, batch_size: int, steps: int, seed: int, shuffle: bool = True) -> list[int]:
    """Positions of the rows of `steps` batches, epoch after epoch.

    Every epoch has each row once, and its last batch is filled up with blank rows, whose position is `rows`.

    Args:
        rows: Number of rows.
        batch_size: Rows of a batch.
        steps: Number of batches.
        seed: The order of epoch e is drawn with seed + e, as transformers' Trainer does.
        shuffle: Whether to shuffle the rows; if not, they are in their given order in every epoch.
    """
    order: list[int] = []
    epoch = 0
    while len(order) < steps * batch_size:
        generator = torch.Generator().manual_seed(seed + epoch)
        order += torch.randperm(rows, generator=generator).tolist() if shuffle else range(rows)
        order += [rows] * (-rows % batch_size)
        epoch += 1
    return order[: steps * batch_size]


class MicroBatches:
    """Mixin for TRL's trainers: divides a batch into micro-batches by tokens, and validates over all rows.

    The loss of a micro-batch is its share of the loss of the batch, so the gradients of micro-batches sum to those of the
    batch.
    """

    def __init__(self, *arguments: Any, stage: SupervisedStage, **keywords: Any) -> None:
        self.stage = stage
        super().__init__(*arguments, **keywords)

    def row_tokens(self: Any, inputs: Mapping[str, Tensor]) -> list[int]:
        """Number of tokens of each row; 0 for a row that adds nothing to the loss."""
        raise NotImplementedError

    def take_rows(self: Any, inputs: Mapping[str, Tensor], rows: list[int]) -> dict[str, Tensor]:
        """The rows at these positions, padded to the longest of them."""
        raise NotImplementedError

    def count_items(self: Any, inputs: Mapping[str, Tensor]) -> int:
        """Number of tokens, or pairs, that the loss is a mean over."""
        raise NotImplementedError

    def training_step(self: Any, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        """Add the gradients of this process's part of a batch."""
        losses, pieces = [], self.micro_batches(inputs)
        for number, piece in enumerate(pieces, 1):
            # Gradients are synchronized with the last micro-batch; sharded ones with each, since full ones may not fit.
            defers_sync = number < len(pieces) and not self.is_fsdp_enabled
            with self.accelerator.no_sync(model) if defers_sync else nullcontext():
                losses.append(super().training_step(model, piece, num_items_in_batch))  # pyright: ignore[reportAttributeAccessIssue]
        return torch.stack(losses).sum()

    def micro_batches(self: Any, inputs: Mapping[str, Tensor]) -> list[Mapping[str, Tensor]]:
        """The rows divided into micro-batches, of which every process has the same number."""
        tokens = self.row_tokens(inputs)
        limit = self.stage.run.memory.microbatch_tokens(on_gpu=self.args.device.type != "cpu")
        real = [row for row, size in enumerate(tokens) if size]
        blank = [row for row, size in enumerate(tokens) if not size]
        if not real:
            real, blank = blank[:1], blank[1:]
        if limit is None:
            return [inputs if len(real) == len(tokens) else self.take_rows(inputs, real)]
        sizes = [max(tokens[row], 1) for row in real]
        pieces = [[real[index] for index in piece] for piece in cut_by_tokens(sizes, max_tokens=limit)]
        for _ in range(self.max_over_processes(len(pieces)) - len(pieces)):
            largest = max(pieces, key=len)
            if len(largest) > 1:
                pieces += [largest[::2], largest[1::2]]
                pieces.remove(largest)
            else:
                pieces.append([blank.pop()])
        return [self.take_rows(inputs, piece) for piece in pieces]

    def max_over_processes(self: Any, number: int) -> int:
        """The maximum of a number over all processes."""
        if self.args.world_size == 1:
            return number
        return int(self.accelerator.gather(torch.tensor([number], device=self.args.device)).max())

    def create_optimizer(self: Any, model: Any = None) -> torch.optim.Optimizer:
        """Build the optimizer of the settings."""
        if self.optimizer is None:
            self.optimizer = build_optimizer(self.model if model is None else model, self.stage.settings)
        return self.optimizer

    def create_scheduler(self: Any, num_training_steps: int, optimizer: Any = None) -> Any:
        """Build the schedule of the settings."""
        if self.lr_scheduler is None:
            factor = partial(scheduled_factor, settings=self.stage.settings, steps=num_training_steps)
            self.lr_scheduler = LambdaLR(optimizer or self.optimizer, factor)
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def evaluate(self: Any, *_: Any, **__: Any) -> dict[str, float]:
        """Compute the loss over all validation rows, and pass it to the callbacks."""
        metrics = {"eval_loss": self.validation_loss()}
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def validation_loss(self: Any) -> float:
        """Mean loss per token or pair over all validation rows; each process computes a part."""
        processes, each = self.stage.processes, self.args.per_device_train_batch_size
        part = processes.rank // processes.per_sequence
        sums = torch.zeros(2, dtype=torch.float64, device=self.args.device)
        self.model.eval()
        for start in range(part * each, len(self.eval_dataset) + part * each, each * processes.data_parallel_size):
            rows = [self.eval_dataset[row] for row in range(start, min(start + each, len(self.eval_dataset)))]
            for piece in self.micro_batches(self._prepare_inputs(self.data_collator(rows or [dict(self.stage.blank)]))):
                items = self.count_items(piece)
                with torch.no_grad(), self.compute_loss_context_manager():
                    sums += torch.stack([self.compute_loss(self.model, dict(piece)) * items, torch.tensor(items)]).to(
                        sums
                    )
        if self.args.world_size > 1:
            sums = self.accelerator.reduce(sums)
        return (sums[0] / sums[1]).item()


class TextTrainer(MicroBatches, SFTTrainer):
    """Trains a causal language model on rows of `input_ids` and `labels`."""

    args: SFTConfig

    def row_tokens(self, inputs: Mapping[str, Tensor]) -> list[int]:  # noqa: D102
        learned = inputs["labels"][:, 1:].ne(IGNORED).any(dim=1)
        if "attention_mask" not in inputs:  # packed windows are full
            return (learned * inputs["labels"].shape[1]).tolist()
        return (learned * inputs["attention_mask"].sum(dim=1)).tolist()

    def take_rows(self, inputs: Mapping[str, Tensor], rows: list[int]) -> dict[str, Tensor]:  # noqa: D102
        width = max(max(self.row_tokens(inputs)[row] for row in rows), 2)
        multiple = int(self.args.pad_to_multiple_of or 1)
        width = math.ceil(width / multiple) * multiple
        return {name: values[rows, :width] for name, values in inputs.items()}

    def count_items(self, inputs: Mapping[str, Tensor]) -> int:  # noqa: D102
        return int(inputs["labels"][:, 1:].ne(IGNORED).sum())


def trainer_arguments(stage: SupervisedStage, folder: Path) -> dict[str, Any]:
    """Return common arguments of TRL trainers: quiet, output in `folder`, rows in the given order."""
    on_gpu, steps, validation = torch.cuda.is_available(), stage.steps, stage.run.validation
    processes = stage.processes
    arguments: dict[str, Any] = {
        "output_dir": str(folder),
        "max_steps": steps,
        "per_device_train_batch_size": processes.rows_each(stage.settings.batch_size),
        "train_sampling_strategy": "sequential",
        "max_grad_norm": stage.settings.max_grad_norm,
        "use_cpu": not on_gpu,
        "bf16": stage.run.memory.precision == "bfloat16",
        _CHECKPOINTING: stage.run.memory.gradient_checkpointing,
        "dataloader_pin_memory": on_gpu,
        "ddp_find_unused_parameters": False,
        "seed": stage.settings.seed,
        "data_seed": stage.settings.seed,
        "report_to": "none",
        "disable_tqdm": True,
        "logging_steps": max(1, min(10, steps // 10)),
        "log_level": "error",
        "save_strategy": "no",
    }
    if stage.run.checkpoints is not None or validation is not None:
        # The callback `Checkpoints` decides when to save.
        arguments |= {"save_strategy": "steps", "save_steps": _NEVER, "save_total_limit": stage.run.keep_checkpoints}
    if validation is not None:
        arguments |= {
            "save_steps": validation.every * _NEVER,
            "eval_strategy": "steps",
            "eval_steps": validation.every,
            "load_best_model_at_end": True,
            "metric_for_best_model": "eval_loss",
            "greater_is_better": False,
        }
    return arguments


def use_one_gpu(arguments: ArgumentsT) -> ArgumentsT:
    """Keep the trainer from multiplying the batch over all visible GPUs (DataParallel)."""
    arguments._n_gpu = min(arguments.n_gpu, 1)
    return arguments


@contextmanager
def checkpoint_folder(run: StageRun) -> Iterator[Path]:
    """A context with the folder for checkpoints: that of the run, or a temporary one."""
    if run.checkpoints is not None:
        yield run.checkpoints
        return
    with tempfile.TemporaryDirectory() as scratch:
        yield Path(scratch)


def run_trainer(trainer: Any, tokenizer: Any, stage: SupervisedStage, *, on_progress: LossCallback) -> TrainedModel:
    """Train to the end, from the latest checkpoint if there is one. With validation, the best weights are kept.

    Raises:
        StoppedError: the device is out of memory, a checkpoint cannot be written, or too many updates in a row are skipped.
    """
    run = stage.run
    trainer.remove_callback(PrinterCallback)
    latest = run.checkpoints and newest_checkpoint(run.checkpoints)
    try:
        with track_stage(run.tracking, run.checkpoints) as trackers:
            every = None if run.checkpoints is None else run.checkpoint_every
            checkpoints = Checkpoints(every=every, validation=run.validation)
            for callback in (LossReports(on_progress), FiniteUpdates(), checkpoints, *trackers):
                trainer.add_callback(callback)
            trainer.train(resume_from_checkpoint=latest or run.start)
    except torch.OutOfMemoryError as error:
        again = "continue with --resume and" if run.checkpoints else "start again with"
        raise StoppedError(
            f"the device is out of memory; {again} a smaller memory.max_tokens_per_microbatch, or start again with a "
            "smaller settings.max_tokens"
        ) from error
    except LongformError:
        raise
    except Exception as error:
        folder = run.checkpoints
        trouble = None if folder is None else disk_trouble(error, folder)
        if trouble is None:
            raise
        raise StoppedError(f"{folder}: cannot be written: {trouble}; continue with --resume") from error
    trainer.model.eval()
    return TrainedModel(trainer.model, tokenizer, _gather_weights(trainer), _report(trainer.state))


def _report(state: Any) -> StageReport:
    losses = [entry["loss"] for entry in state.log_history if "loss" in entry] or [float("nan")]
    last = losses[-max(1, len(losses) // 10) :]
    validations = [Validated(entry["step"], entry["eval_loss"]) for entry in state.log_history if "eval_loss" in entry]
    best = min(validations, key=lambda it: it.loss).step if validations else None
    skipped = sum(SKIPPED in entry for entry in state.log_history)
    return StageReport(state.global_step, losses[0], sum(last) / len(last), validations, best, skipped)


def _gather_weights(trainer: Any) -> Any:
    """The full state dict of a sharded model, in process 0; None if the model is not sharded."""
    if not trainer.is_fsdp_enabled:
        return None
    trainer.accelerator.state.fsdp_plugin.set_state_dict_type("FULL_STATE_DICT")
    return trainer.accelerator.get_state_dict(trainer.model)
