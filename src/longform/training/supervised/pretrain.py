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


class Leg(NamedTuple):
    """A part of a pretraining with several exports: some updates of the trunk, or a branch that ends in an export.

    The trunk keeps its learning rate after warm-up. A branch starts from one of its checkpoints and decays to 0.
    """

    share: float | None
    """Export of this share of all updates; None for a part of the trunk."""
    first: int
    """Updates that were made before it."""
    updates: int
    """Updates that have been made at its end."""


def plan_legs(exports: list[float], settings: PretrainSettings, *, updates: int) -> list[Leg]:
    """The parts of a pretraining in their order; the last export ends the trunk itself.

    Args:
        exports: Shares of all updates, ascending, 1 at the end. 0 is the initial model, which takes no part.
        settings: With `schedule: trapezoid` if there are several.
        updates: Updates of the whole pretraining.
    """
    legs: list[Leg] = []
    trunk = 0
    for share in exports:
        ends = round(share * updates)
        # A checkpoint holds the learning rate of the update after it, which must still be the peak.
        first = max(min(last_step_at_peak(settings, steps=ends), ends) - 1, 0)
        if share == 1:
            return [*legs, Leg(share, trunk, updates)]
        if ends:
            if first > trunk:
                legs.append(Leg(None, trunk, first))
                trunk = first
            legs.append(Leg(share, first, ends))
    return legs


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


def leg_settings(leg: Leg, settings: PretrainSettings, *, updates: int) -> PretrainSettings:
    """Settings of a part: the trunk does not decay; the warm-up is that of the whole pretraining."""
    warmup: dict[str, Any] = {"warmup_steps": settings.warmup(updates), "warmup_ratio": None}
    return settings.model_copy(update=warmup | ({"decay": 0.0} if leg.share is None else {}))


def leg_run(leg: Leg, run: StageRun, *, start: str | None) -> StageRun:
    """The run of a part; a branch has a folder of its own and begins from the trunk's checkpoint `start`."""
    if leg.share is None or leg.share == 1:
        return run
    assert run.checkpoints is not None
    name = f"export-{export_name(leg.share)}"
    return replace(
        run, checkpoints=run.checkpoints / name, start=start, tracking=run.tracking and run.tracking.branch(name)
    )


def export_name(share: float) -> str:
    """Percent of an export, for the name of its folder."""
    return f"{100 * share:g}"
