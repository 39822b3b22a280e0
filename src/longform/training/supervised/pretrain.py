"""Continued pretraining through TRL on packed windows of text, in order and resumable."""

from dataclasses import replace
from typing import Any, NamedTuple

from datasets import Dataset
from pydantic import Field, model_validator

from longform.training.supervised.encoding import BLANK
from longform.training.supervised.optimizer import last_step_at_peak
from longform.training.supervised.settings import LossCallback, SupervisedSettings
from longform.training.supervised.sft import sft_config
from longform.training.supervised.stage import (
    StageRun,
    SupervisedStage,
    TextTrainer,
    TrainedModel,
    checkpoint_folder,
    run_trainer,
)


class PretrainSettings(SupervisedSettings):
    """Settings of continued pretraining."""

    max_tokens: int = Field(default=32_768, ge=2)
    """Tokens per window."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Seed of the document order."""

    @model_validator(mode="before")
    @classmethod
    def _explain_micro_batch(cls, values: Any) -> Any:
        if isinstance(values, dict) and "micro_batch" in values:
            raise ValueError(
                "micro_batch was replaced by memory.max_tokens_per_microbatch, which counts tokens: "
                f"{values['micro_batch']} x max_tokens"
            )
        return values

    @property
    def update_tokens(self) -> int:
        """Tokens per update."""
        return self.batch_size * self.max_tokens


class PretrainSegment(NamedTuple):
    """A range of updates that is trained at once: a part of the trunk, or a branch that ends in an export.

    The trunk is the run itself, whose learning rate stays constant after warm-up. A branch starts from one of its
    checkpoints, and its learning rate decays to 0.
    """

    share: float | None
    """Fraction of all updates at which its export is written; None for a part of the trunk, which writes none."""
    start: int
    """Number of updates before it."""
    end: int
    """Number of updates up to and including its last one."""


def plan_segments(exports: list[float], settings: PretrainSettings, *, updates: int) -> list[PretrainSegment]:
    """The segments of a pretraining in the order in which they are trained; the last export is the end of the trunk.

    Args:
        exports: Fractions of all updates, ascending; the last one is 1. 0 is the initial model, which needs no training.
        settings: Training settings, with `schedule: trapezoid` if there are several exports.
        updates: Number of updates of the whole pretraining.
    """
    segments: list[PretrainSegment] = []
    trunk = 0
    for share in exports:
        end = round(share * updates)
        # A checkpoint holds the learning rate of the update after it, which must still be the peak.
        start = max(min(last_step_at_peak(settings, steps=end), end) - 1, 0)
        if share == 1:
            return [*segments, PretrainSegment(share, trunk, updates)]
        if end:
            if start > trunk:
                segments.append(PretrainSegment(None, trunk, start))
                trunk = start
            segments.append(PretrainSegment(share, start, end))
    return segments


def train_on_windows(
    model: Any,
    tokenizer: Any,
    windows: Dataset,
    settings: PretrainSettings,
    run: StageRun,
    *,
    validation: Dataset | None = None,
    on_progress: LossCallback = lambda update, updates, loss: None,
) -> TrainedModel:
    """Train `model` in place for one epoch over the windows, in order, from the latest checkpoint if there is one.

    Args:
        model: A causal language model, with adapters or without.
        tokenizer: Its tokenizer.
        windows: Rows of `input_ids` with `settings.max_tokens` tokens each; `settings.batch_size` rows per update.
        settings: Training settings.
        run: Memory, checkpoints and validation.
        validation: Windows of `run.validation`.
        on_progress: Called at intervals with (update, updates, loss).

    Raises:
        BadInputError: the batch cannot be divided among the processes.
        StoppedError: the device is out of memory.
    """
    stage = SupervisedStage(settings, len(windows) // settings.batch_size, run, BLANK)
    with checkpoint_folder(run) as folder:
        trainer = TextTrainer(
            stage=stage,
            model=model,
            args=sft_config(stage, folder),
            train_dataset=windows,
            eval_dataset=validation,
            processing_class=tokenizer,
        )
        return run_trainer(trainer, tokenizer, stage, on_progress=on_progress)


def segment_settings(segment: PretrainSegment, settings: PretrainSettings, *, updates: int) -> PretrainSettings:
    """Settings of a segment: a part of the trunk has no decay, and the warm-up is that of the whole pretraining."""
    warmup: dict[str, Any] = {"warmup_steps": settings.warmup(updates), "warmup_ratio": None}
    return settings.model_copy(update=warmup | ({"decay": 0.0} if segment.share is None else {}))


def segment_run(segment: PretrainSegment, run: StageRun, *, start: str | None) -> StageRun:
    """The run of a segment; a branch has a checkpoint folder of its own and starts from the trunk's checkpoint `start`."""
    if segment.share is None or segment.share == 1:
        return run
    assert run.checkpoints is not None
    name = f"export-{export_name(segment.share)}"
    return replace(
        run, checkpoints=run.checkpoints / name, start=start, tracking=run.tracking and run.tracking.branch(name)
    )


def export_name(share: float) -> str:
    """An export's share in percent, for the name of its folder, such as `10`."""
    return f"{100 * share:g}"
