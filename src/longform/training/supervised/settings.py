"""Settings that the supervised stages (`sft`, `pretrain`, `reward-model`) share."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from longform.rl.settings import LoraSettings, MemorySettings
from longform.training.supervised.processes import Processes, find_processes

LossCallback = Callable[[int, int, float], None]
"""Called at intervals with (step, steps, loss)."""
Schedule = Literal["trapezoid", "linear", "cosine", "constant"]


class SupervisedSettings(BaseModel):
    """Optimizer, learning-rate schedule and batch. The updates do not depend on the number of processes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    batch_size: int = Field(default=16, ge=1)
    """Rows per update (windows in pretraining, pairs for a reward model), over all processes."""
    max_tokens: int = Field(default=4096, ge=2)
    """Maximum length of a row in tokens; longer rows are truncated."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    lr: float = Field(default=1e-5, gt=0)
    """Peak learning rate of AdamW."""
    muon_lr: float = Field(default=0.02, gt=0)
    """Peak learning rate of Muon."""
    weight_decay: float = Field(default=0.0, ge=0)
    warmup_steps: int = Field(default=20, ge=0)
    """Updates in which the learning rates rise from 0."""
    warmup_ratio: float | None = Field(default=None, ge=0, le=1)
    """The warm-up as a fraction of all updates, in place of `warmup_steps`."""
    schedule: Schedule = "trapezoid"
    """Learning rates after warm-up. trapezoid: constant, then linear to 0 in the last `decay` of the updates. linear and
    cosine: to 0 at the end. constant: no decay."""
    decay: float = Field(default=0.4, ge=0, le=1)
    """With `schedule: trapezoid`, the final fraction of the updates in which the learning rates decay linearly to 0."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Seed of the order of the rows and of new weights (adapters, the head of a reward model)."""

    @model_validator(mode="after")
    def _check_schedule(self) -> "SupervisedSettings":
        if self.warmup_ratio is not None and self.differs("warmup_steps"):
            raise ValueError("warmup_steps and warmup_ratio both set the warm-up; keep one of them")
        if self.schedule != "trapezoid" and self.differs("decay"):
            raise ValueError(f"decay belongs to `schedule: trapezoid`, not to {self.schedule}; remove it")
        return self

    def differs(self, name: str) -> bool:
        """Whether a setting differs from its default. A resolved recipe states every setting, so `is set` would not do."""
        return getattr(self, name) != type(self).model_fields[name].default

    def warmup(self, steps: int) -> int:
        """Updates of the warm-up in a run of `steps` updates."""
        return self.warmup_steps if self.warmup_ratio is None else round(self.warmup_ratio * steps)


class EpochSettings(SupervisedSettings):
    """Settings of a stage that passes over its rows in epochs."""

    steps: int = Field(default=1000, ge=1)
    """Number of updates; the rows are repeated as needed."""
    epochs: float | None = Field(default=None, gt=0)
    """Passes over the rows, in place of `steps`."""

    @model_validator(mode="after")
    def _check_length(self) -> "EpochSettings":
        if self.epochs is not None and self.differs("steps"):
            raise ValueError("steps and epochs both set the number of updates; keep one of them")
        return self

    def updates(self, rows: int) -> int:
        """Number of updates for this number of rows; the last batch of an epoch may be smaller than the others."""
        if self.epochs is None:
            return self.steps
        return max(round(self.epochs * -(-rows // self.batch_size)), 1)


class SupervisedMemory(BaseModel):
    """Memory of a stage. These settings change no result, except for the rounding of bfloat16."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of matrix products and, with `lora`, of the frozen weights. Trained weights and optimizer state are always
    float32. auto: bfloat16 on a GPU, float32 on a CPU."""
    gradient_checkpointing: bool | None = None
    """Keep only the input of each layer for the backward pass, and recompute the rest. By default on a GPU only."""
    max_tokens_per_microbatch: int | None = Field(default=None, ge=1)
    """Maximum number of tokens in a micro-batch of one process, padding included; a longer row is a micro-batch of its own.
    Gradients are summed over micro-batches, so an update does not depend on this setting. None: one micro-batch, on a CPU
    512 tokens."""
    limit_gb: float | None = Field(default=None, gt=0)
    """Memory of each GPU in GiB that the plan must fit into; it need not be a GPU of this machine. By default the memory of
    this machine's device."""

    def resolved(self, *, on_gpu: bool) -> MemorySettings:
        """The settings with `auto` and the defaults replaced by their values on a GPU or a CPU."""
        precision = self.precision if self.precision != "auto" else "bfloat16" if on_gpu else "float32"
        return MemorySettings(
            precision=precision,
            gradient_checkpointing=on_gpu if self.gradient_checkpointing is None else self.gradient_checkpointing,
            max_tokens_per_microbatch=self.max_tokens_per_microbatch,
            limit_gb=self.limit_gb,
        )


class StageValidation(BaseModel):
    """Validation on rows that are never trained on; the weights with the lowest loss are kept."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    share: float | None = Field(default=None, gt=0, lt=1)
    """Fraction of the prompts to hold out with all their rows; chosen by hash of the prompt and `settings.seed`."""
    file: Path | None = None
    """A file of rows in place of `share`, of the same kind as the training rows."""
    every: int = Field(default=50, ge=1)
    """Updates between validations. There is always one at the end."""
    patience: int | None = Field(default=None, ge=1)
    """Stop after this many validations in a row without a lower loss. None: never."""

    @model_validator(mode="after")
    def _check_source(self) -> "StageValidation":
        if (self.share is None) == (self.file is None):
            raise ValueError("needs either `share` or `file`")
        return self


class Devices(BaseModel):
    """GPUs that a recipe is planned for. `accelerate launch` decides how many processes there are."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    count: int = Field(default=1, ge=1)
    """Total number of GPUs."""
    sharded: bool = False
    """Weights, gradients and optimizer are shared among all GPUs (accelerate/fsdp2.yaml)."""
    per_sequence: int = Field(default=1, ge=1)
    """GPUs that share a sequence (accelerate/fsdp2-context.yaml)."""

    @model_validator(mode="after")
    def _check_count(self) -> "Devices":
        if self.count % self.per_sequence:
            raise ValueError(f"count {self.count} is not a multiple of per_sequence {self.per_sequence}")
        return self


class SupervisedRecipe(BaseModel):
    """What the recipes of all stages contain."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    out: Path
    """Folder of the trained model, in Hugging Face format; must not exist."""
    trust_remote_code: bool = False
    """Whether to run code from the model's folder. Read that code first: it runs with your permissions."""
    lora: LoraSettings | None = None
    """Train adapters instead of all weights."""
    memory: SupervisedMemory = SupervisedMemory()
    devices: Devices = Devices()
    validation: StageValidation | None = None
    checkpoint_every: int = Field(default=100, ge=1)
    """Updates between checkpoints, which `--resume` continues from."""
    keep_checkpoints: int = Field(default=2, ge=2)
    """Number of latest checkpoints to keep: at least 2, so that a complete one exists while the next is written. The best
    one is kept in addition."""
    track: list[str] = Field(default_factory=list)
    """Experiment trackers that get the losses: trackio, wandb, tensorboard, mlflow, or a plugin, `module.path:Name`."""

    @property
    def validation_files(self) -> list[Path]:
        """The file of validation rows, if there is one."""
        return [self.validation.file] if self.validation is not None and self.validation.file is not None else []

    @property
    def planned_devices(self) -> Processes:
        """The processes that were started; if this is the only one, the processes that the recipe is planned for."""
        started, planned = find_processes(), self.devices
        if started.count > 1:
            return started
        return Processes(0, planned.count, planned.per_sequence, planned.sharded)

    @property
    def checkpoints(self) -> Path:
        """Folder of the state for resuming; removed when `out` is complete."""
        return self.out.with_name(f"{self.out.name}.checkpoints")
