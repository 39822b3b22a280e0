"""What the supervised stages share of the training itself: order of the rows, micro-batches, validation, checkpoints.

A stage is one pass over the rows of all its updates, laid out in order beforehand. So an update's rows depend neither on the
number of processes nor on a restart. The trainers are TRL's; `MicroBatches` cuts each process's part of a batch by tokens.
"""

import math
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from datasets import disable_progress_bars
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.nn.utils import get_total_norm
from torch.optim.lr_scheduler import LambdaLR
from transformers import PrinterCallback, TrainerCallback, TrainingArguments
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from longform.records.errors import LongformError, LongformWarning, StoppedError
from longform.records.folders import disk_trouble
from longform.rl.microbatches import cut_by_tokens
from longform.rl.settings import MemorySettings
from longform.training.supervised.optimizer import build_optimizer, scheduled_factor
from longform.training.supervised.processes import Processes, find_processes
from longform.training.supervised.resumable import mark_complete, newest_checkpoint
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
_SKIPPED = "skipped"
MAX_UPDATES_SKIPPED = 3
"""Updates in a row that are skipped before a stage stops."""
ArgumentsT = TypeVar("ArgumentsT", bound=TrainingArguments)


@dataclass(frozen=True, slots=True)
class StageRun:
    """What a recipe says about the run of a stage: memory, checkpoints, validation."""

    memory: MemorySettings
    checkpoints: Path | None = None
    """Folder of the checkpoints; None: none are kept."""
    checkpoint_every: int = 100
    keep_checkpoints: int = 2
    start: str | None = None
    """Checkpoint to begin from if there is none in `checkpoints` yet."""
    validation: StageValidation | None = None
    tracking: StageTracking | None = None

    @classmethod
    def of(cls, recipe: SupervisedRecipe | None = None) -> "StageRun":
        """The run of a recipe on this machine; without one, a run that keeps nothing."""
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
    """How a stage is trained, besides its model and rows."""

    settings: SupervisedSettings
    steps: int
    run: StageRun
    blank: Mapping[str, Any]
    """A row that adds nothing to a loss; fills up the last batch of an epoch."""

    @property
    def processes(self) -> Processes:
        """The processes that train it."""
        return find_processes()


class Validated(NamedTuple):
    """A validation."""

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
    """Updates that changed nothing because loss or gradient was not finite."""


class TrainedModel(NamedTuple):
    """A trained model, before it is saved."""

    model: Any
    tokenizer: Any
    weights: Any
    """Its whole weights if the model is sharded, else None."""
    report: StageReport

    def save(self, folder: Path) -> None:
        """Write the model, or its adapters, with its tokenizer."""
        self.model.save_pretrained(folder, state_dict=self.weights)
        self.tokenizer.save_pretrained(folder)


def training_order(rows: int, *, batch_size: int, steps: int, seed: int, shuffle: bool = True) -> list[int]:
    """Positions of the rows of `steps` batches, epoch after epoch; `rows` stands for a blank row.

    Every epoch has each row once. Its last batch is filled up with blank rows.

    Args:
        rows: Number of rows.
        batch_size: Rows of a batch.
        steps: Number of batches.
        seed: The order of epoch e is drawn with seed + e, as transformers' Trainer does.
        shuffle: Whether to draw an order at all.
    """
    order: list[int] = []
    for epoch in count():
        generator = torch.Generator().manual_seed(seed + epoch)
        order += torch.randperm(rows, generator=generator).tolist() if shuffle else range(rows)
        order += [rows] * (-rows % batch_size)
        if len(order) >= steps * batch_size:
            return order[: steps * batch_size]
    raise AssertionError  # unreachable


class MicroBatches:
    """Mixed into a trainer of TRL: an update's rows in micro-batches by tokens, and validation over all rows.

    The loss of a micro-batch is its part of the loss of the whole batch, so the gradients sum to those of the batch.
    """

    def __init__(self, *arguments: Any, stage: SupervisedStage, **keywords: Any) -> None:
        self.stage = stage
        super().__init__(*arguments, **keywords)

    def row_tokens(self: Any, inputs: Mapping[str, Tensor]) -> list[int]:
        """Tokens of each row; 0 for a row that adds nothing to the loss."""
        raise NotImplementedError

    def take_rows(self: Any, inputs: Mapping[str, Tensor], rows: list[int]) -> dict[str, Tensor]:
        """Some of the rows, cut to the longest of them."""
        raise NotImplementedError

    def count_items(self: Any, inputs: Mapping[str, Tensor]) -> int:
        """What the loss is a mean over: tokens or pairs."""
        raise NotImplementedError

    def training_step(self: Any, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        """Add the gradients of this process's part of a batch."""
        losses, pieces = [], self.cut(inputs)
        for number, piece in enumerate(pieces, 1):
            # Sharded gradients are reduced every time: whole ones would not fit.
            waits = number < len(pieces) and not self.is_fsdp_enabled
            with self.accelerator.no_sync(model) if waits else nullcontext():
                losses.append(super().training_step(model, piece, num_items_in_batch))  # pyright: ignore[reportAttributeAccessIssue]
        return torch.stack(losses).sum()

    def cut(self: Any, inputs: Mapping[str, Tensor]) -> list[Mapping[str, Tensor]]:
        """The rows in micro-batches, as many in every process."""
        tokens, limit = self.row_tokens(inputs), self.stage.run.memory.max_tokens_per_microbatch
        real = [row for row, size in enumerate(tokens) if size]
        blank = [row for row, size in enumerate(tokens) if not size]
        if not real:
            real, blank = blank[:1], blank[1:]
        if limit is None:
            return [inputs if len(real) == len(tokens) else self.take_rows(inputs, real)]
        sizes = [max(tokens[row], 1) for row in real]
        pieces = [[real[place] for place in piece] for piece in cut_by_tokens(sizes, max_tokens=limit)]
        for _ in range(self.most(len(pieces)) - len(pieces)):
            largest = max(pieces, key=len)
            if len(largest) > 1:
                pieces += [largest[::2], largest[1::2]]
                pieces.remove(largest)
            else:
                pieces.append([blank.pop()])
        return [self.take_rows(inputs, piece) for piece in pieces]

    def most(self: Any, number: int) -> int:
        """The largest of the processes' numbers."""
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
        """Compute the loss over all validation rows, and tell the callbacks."""
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
        for start in range(part * each, len(self.eval_dataset) + part * each, each * processes.copies):
            rows = [self.eval_dataset[row] for row in range(start, min(start + each, len(self.eval_dataset)))]
            for piece in self.cut(self._prepare_inputs(self.data_collator(rows or [dict(self.stage.blank)]))):
                items = self.count_items(piece)
                with torch.no_grad(), self.compute_loss_context_manager():
                    sums += torch.stack([self.compute_loss(self.model, dict(piece)) * items, torch.tensor(items)]).to(
                        sums
                    )
        if self.args.world_size > 1:
            sums = self.accelerator.reduce(sums)
        return (sums[0] / sums[1]).item()


class TextTrainer(MicroBatches, SFTTrainer):
    """Learns rows of `input_ids` and `labels`."""

    args: SFTConfig

    def row_tokens(self, inputs: Mapping[str, Tensor]) -> list[int]:  # noqa: D102
        learned = inputs["labels"][:, 1:].ne(IGNORED).any(dim=1)
        if "attention_mask" not in inputs:  # full windows of several texts
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
        # `Checkpoints` says when.
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
    """The folder of checkpoints, or a temporary one."""
    if run.checkpoints is not None:
        yield run.checkpoints
        return
    with tempfile.TemporaryDirectory() as scratch:
        yield Path(scratch)


def run_trainer(trainer: Any, tokenizer: Any, stage: SupervisedStage, *, on_progress: LossCallback) -> TrainedModel:
    """Train from the latest checkpoint, if there is one, to the end, with the best weights if there is validation.

    Raises:
        StoppedError: the device is out of memory, a checkpoint cannot be written, or loss or gradient stay non-finite.
    """
    trainer.remove_callback(PrinterCallback)
    latest = stage.run.checkpoints and newest_checkpoint(stage.run.checkpoints)
    try:
        with track_stage(stage.run.tracking, stage.run.checkpoints) as trackers:
            for callback in (LossReports(on_progress), FiniteUpdates(), Checkpoints(stage.run), *trackers):
                trainer.add_callback(callback)
            trainer.train(resume_from_checkpoint=latest or stage.run.start)
    except torch.OutOfMemoryError as error:
        again = "continue with --resume and" if stage.run.checkpoints else "start again with"
        raise StoppedError(
            f"the device is out of memory; {again} a smaller memory.max_tokens_per_microbatch, or start again with a "
            "smaller settings.max_tokens"
        ) from error
    except LongformError:
        raise
    except Exception as error:
        folder = stage.run.checkpoints
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
    skipped = sum(_SKIPPED in entry for entry in state.log_history)
    return StageReport(state.global_step, losses[0], sum(last) / len(last), validations, best, skipped)


def _gather_weights(trainer: Any) -> Any:
    """The whole weights of a sharded model in process 0, for `save_pretrained`; None where nothing is sharded."""
    if not trainer.is_fsdp_enabled:
        return None
    trainer.accelerator.state.fsdp_plugin.set_state_dict_type("FULL_STATE_DICT")
    return trainer.accelerator.get_state_dict(trainer.model)


class LossReports(TrainerCallback):
    """Reports losses."""

    def __init__(self, on_progress: LossCallback) -> None:
        self._on_progress = on_progress

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:  # noqa: ARG002, D102
        if logs and "loss" in logs:
            self._on_progress(state.global_step, state.max_steps, float(logs["loss"]))


class FiniteUpdates(TrainerCallback):
    """Skips updates whose gradient is not finite, as it is where the loss is not, and stops a stage that only has such.

    The optimizers leave weights without a gradient as they are. Skipped updates are entries of the trainer's log, and so
    of its checkpoints.
    """

    def __init__(self) -> None:
        self._in_a_row = 0

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:  # noqa: ARG002, D102
        parameters = [it for it in model.parameters() if it.grad is not None]
        local = [it.grad.to_local() if isinstance(it.grad, DTensor) else it.grad for it in parameters]
        is_bad = 1 - get_total_norm(local).isfinite().to(args.device, torch.int32)
        if args.world_size > 1:
            torch.distributed.all_reduce(is_bad, torch.distributed.ReduceOp.MAX)
        if not is_bad:
            self._in_a_row = 0
            return
        for parameter in parameters:
            parameter.grad = None
        self._in_a_row += 1
        update = state.global_step + 1
        state.log_history.append({"step": update, _SKIPPED: 1})
        if self._in_a_row == MAX_UPDATES_SKIPPED:
            raise StoppedError(
                f"update {update}: loss or gradient was not finite in {self._in_a_row} updates in a row, and no weight has "
                "changed since; start again with a lower settings.lr or with memory.precision: float32 (--resume repeats "
                "these updates)"
            )
        if self._in_a_row == 1 and state.is_world_process_zero:
            message = f"update {update}: loss or gradient is not finite; the update is skipped"
            warnings.warn(message, LongformWarning, stacklevel=2)


class Checkpoints(TrainerCallback):
    """Decides when a checkpoint is written, marks complete ones, and stops a stage that no longer improves."""

    def __init__(self, run: StageRun) -> None:
        self._run = run

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002, D102
        if self._run.checkpoints is not None and state.global_step % self._run.checkpoint_every == 0:
            control.should_save = True
        if self._run.validation is not None and state.global_step == state.max_steps:
            control.should_evaluate = True

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002, D102
        losses = [entry["eval_loss"] for entry in state.log_history if "eval_loss" in entry]
        worse = len(losses) - 1 - losses.index(min(losses))
        if worse == 0:
            control.should_save = True
        if self._run.validation is not None and worse == self._run.validation.patience:
            control.should_training_stop = True

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002, D102
        args.distributed_state.wait_for_everyone()
        if state.is_world_process_zero:
            mark_complete(Path(args.output_dir) / f"checkpoint-{state.global_step}")
