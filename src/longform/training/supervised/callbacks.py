"""Callbacks of the supervised stages: progress, updates that are not finite, and when checkpoints are written."""

import warnings
from pathlib import Path
from typing import Any

import torch
from torch.distributed.tensor import DTensor
from torch.nn.utils import get_total_norm
from transformers import TrainerCallback

from longform.records.errors import LongformWarning, StoppedError
from longform.training.supervised.resumable import mark_complete
from longform.training.supervised.settings import LossCallback, StageValidation

SKIPPED = "skipped"
"""Key of the trainer's log entries for skipped updates."""
MAX_UPDATES_SKIPPED = 3
"""Number of consecutive skipped updates at which a stage stops."""


class LossReports(TrainerCallback):
    """Passes the losses that the trainer logs to a function."""

    def __init__(self, on_progress: LossCallback) -> None:
        self._on_progress = on_progress

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:  # noqa: ARG002, D102
        if logs and "loss" in logs:
            self._on_progress(state.global_step, state.max_steps, float(logs["loss"]))


class FiniteUpdates(TrainerCallback):
    """Skips updates whose gradient is not finite, and stops the stage after `MAX_UPDATES_SKIPPED` of them in a row.

    A loss that is not finite has such a gradient. Gradients of a skipped update are removed, so the optimizer changes no
    weight. Skipped updates are entries of the trainer's log, which is part of its checkpoints.
    """

    def __init__(self) -> None:
        self._consecutive = 0

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:  # noqa: ARG002, D102
        parameters = [it for it in model.parameters() if it.grad is not None]
        local = [it.grad.to_local() if isinstance(it.grad, DTensor) else it.grad for it in parameters]
        is_skipped = 1 - get_total_norm(local).isfinite().to(args.device, torch.int32)
        if args.world_size > 1:
            torch.distributed.all_reduce(is_skipped, torch.distributed.ReduceOp.MAX)
        if not is_skipped:
            self._consecutive = 0
            return
        for parameter in parameters:
            parameter.grad = None
        self._consecutive += 1
        update = state.global_step + 1
        state.log_history.append({"step": update, SKIPPED: 1})
        if self._consecutive == MAX_UPDATES_SKIPPED:
            raise StoppedError(
                f"update {update}: loss or gradient was not finite in {MAX_UPDATES_SKIPPED} updates in a row, and no weight "
                "has changed since; start again with a lower settings.lr or with memory.precision: float32 (--resume "
                "repeats these updates)"
            )
        if self._consecutive == 1 and state.is_world_process_zero:
            message = f"update {update}: loss or gradient is not finite; the update is skipped"
            warnings.warn(message, LongformWarning, stacklevel=2)


class Checkpoints(TrainerCallback):
    """Decides when a checkpoint is written, marks it as complete, and stops a stage whose validation loss does not improve.

    Args:
        every: Updates between checkpoints; None writes none but the best.
        validation: Settings of validation, if there is one.
    """

    def __init__(self, *, every: int | None, validation: StageValidation | None) -> None:
        self._every, self._validation = every, validation

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002, D102
        if self._every is not None and state.global_step % self._every == 0:
            control.should_save = True
        if self._validation is not None and state.global_step == state.max_steps:
            control.should_evaluate = True

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002, D102
        losses = [entry["eval_loss"] for entry in state.log_history if "eval_loss" in entry]
        worse = len(losses) - 1 - losses.index(min(losses))
        if worse == 0:
            control.should_save = True
        patience = None if self._validation is None else self._validation.patience
        if patience is not None and worse >= patience:
            control.should_training_stop = True
            control.should_save = False  # a stage resumed from here would go on

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002, D102
        args.distributed_state.wait_for_everyone()
        if state.is_world_process_zero:
            mark_complete(Path(args.output_dir) / f"checkpoint-{state.global_step}")
