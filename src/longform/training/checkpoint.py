"""Save and restore training state (models, optimizers, curriculum, step); resuming is exact."""

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch.optim import AdamW, Optimizer

from longform.curriculum.schedule import Curriculum
from longform.recipe.recipe import Recipe
from longform.records.errors import BadInputError, CheckpointWarning, LongformError, StoppedError
from longform.records.run_directory import RunDirectory
from longform.rl.settings import (
    CRITIC_WARMUP,
    REFERENCE_LR,
    GrpoSettings,
    PpoSettings,
    learning_rate_factor,
)
from longform.training.models import PolicyModels
from longform.writers.quantization import require_bitsandbytes

MAX_STEPS_WITHOUT_UPDATE = 3
"""Number of consecutive steps without an update at which a run stops."""


@dataclass(slots=True)
class TrainingState:
    """Everything that an update changes."""

    models: PolicyModels
    optimizers: dict[str, Optimizer]
    """`policy` and, with PPO, `critic`."""
    curriculum: Curriculum
    step: int = 0
    saved_at: float = field(default_factory=lambda: time.monotonic())
    """Monotonic time in seconds of the newest checkpoint; without one, of this process's start."""
    steps_without_update: int = 0
    """Number of consecutive steps in which every update was skipped."""

    @classmethod
    def start(
        cls,
        models: PolicyModels,
        curriculum: Curriculum,
        optim: PpoSettings | GrpoSettings,
        *,
        optimizer_bits: Literal[32, 8] = 32,
    ) -> "TrainingState":
        """The state before the first step.

        Raises:
            BadInputError: `optimizer_bits` is 8, and bitsandbytes or a GPU is missing.
        """
        adamw = partial(_adamw(models, bits=optimizer_bits), betas=optim.betas, weight_decay=optim.weight_decay)
        optimizers = {"policy": adamw(models.policy_parameters(), lr=optim.lr)}
        if isinstance(optim, PpoSettings):
            with models.as_critic() as critic:
                reference_weight = critic.reference_weight
            groups = [
                {"params": models.critic_parameters()},
                {"params": [reference_weight], "peak": REFERENCE_LR if optim.critic_lr else 0.0},
            ]
            optimizers["critic"] = adamw(groups, lr=optim.critic_lr)
        return cls(models, optimizers, curriculum)

    def remaining(self, steps: int) -> range:
        """The steps that are left of a run of `steps`."""
        return range(self.step + 1, steps + 1)

    def set_learning_rates(self, step: int, *, optim: PpoSettings | GrpoSettings, steps: int) -> None:
        """Set the learning rates of `step` in the optimizers."""
        rates = {"policy": (optim.lr, optim.warmup_steps, optim.default_warmup)}
        if isinstance(optim, PpoSettings):
            rates["critic"] = optim.critic_lr, optim.critic_warmup_steps, CRITIC_WARMUP
        for name, (peak, warmup, fraction) in rates.items():
            warmup_steps = round(fraction * steps) if warmup is None else warmup
            factor = learning_rate_factor(
                step,
                warmup_steps=warmup_steps,
                decay_steps=max(steps - warmup_steps, 0),
                end_step=steps,
                end_ratio=optim.lr_end_ratio,
            )
            for group in self.optimizers[name].param_groups:
                group["lr"] = group.get("peak", peak) * factor

    def check_updates(self, metrics: Sequence[Mapping[str, float]], *, step: int) -> None:
        """Count the steps in a row that changed no weight of policy or critic because loss or gradient were not finite.

        Args:
            metrics: of each update of the step, with `policy/skipped` or `critic/skipped` 1 where it was skipped.
            step: its number.

        Raises:
            StoppedError: there were `MAX_STEPS_WITHOUT_UPDATE`; the newest checkpoint is from before them, or from between.
        """
        skipped = [[it[name] for it in metrics if name in it] for name in ("policy/skipped", "critic/skipped")]
        is_stuck = any(of_role and all(of_role) for of_role in skipped)
        self.steps_without_update = self.steps_without_update + 1 if is_stuck else 0
        if self.steps_without_update >= MAX_STEPS_WITHOUT_UPDATE:
            raise StoppedError(
                f"step {step}: loss or gradient was not finite in every update of {self.steps_without_update} steps, and no "
                "weight has changed since; start a new run from an earlier policy with a lower optim.lr or with "
                "memory.precision: float32 (--resume repeats these steps)"
            )

    def save(self, folder: Path) -> None:
        """Write the state into an empty folder."""
        self.models.save(folder)
        states = {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()}
        torch.save(states, folder / "optimizers.pt")
        self.curriculum.save(folder)

    def load(self, folder: Path, *, step: int) -> None:
        """Take the state that `save` wrote after `step`."""
        self.models.load(folder)
        states = torch.load(folder / "optimizers.pt", weights_only=True, map_location=self.models.device)
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(states[name])
        self.curriculum.load(folder)
        self.step = step


def _adamw(models: PolicyModels, *, bits: Literal[32, 8]) -> Callable[..., Any]:
    """AdamW whose moments have this number of bits.

    Raises:
        BadInputError: 8 bits are asked for without a GPU or bitsandbytes.
    """
    on_gpu = models.device.type == "cuda"
    if bits == 32:
        # On a GPU the unfused optimizer would briefly hold further copies of all weights.
        return partial(AdamW, fused=on_gpu)
    require_bitsandbytes("memory.optimizer_bits")
    if not on_gpu:
        raise BadInputError(
            f"memory.optimizer_bits: 8 needs a GPU, and this run uses {models.device.type}; set it to 32"
        )
    from bitsandbytes.optim import AdamW8bit  # pyright: ignore[reportMissingImports]

    return AdamW8bit


def finish_step(step: int, *, recipe: Recipe, run: RunDirectory, state: TrainingState) -> None:
    """Advance the state past `step`, and write a checkpoint, or a copy of the policy to keep, if one is due."""
    state.step = step
    settings, minutes = recipe.run, recipe.run.checkpoint_minutes
    is_old = minutes is not None and time.monotonic() - state.saved_at >= 60 * minutes
    if step % settings.checkpoint_every == 0 or step == settings.steps or is_old:
        run.write_checkpoint(step, state.save, keep=settings.keep_checkpoints)
        state.saved_at = time.monotonic()
    if settings.keep_policies is not None and step % settings.keep_policies == 0:
        run.keep_policy(step, state.models.save_policy)


def resume_from(run: RunDirectory, state: TrainingState) -> None:
    """Put `state` and the run's records back to the newest checkpoint that can be read, or to the start if there is none.

    A damaged checkpoint is set aside, with a warning; a run without any starts over, with a warning too.

    Raises:
        BadInputError: there are checkpoints, and all are damaged.
    """
    damaged = ""
    for step in reversed(run.checkpoint_steps()):
        folder = run.checkpoint_path(step)
        try:
            state.load(folder, step=step)
        except (LongformError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # what reads weights raises exceptions of any type for a damaged file
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            damaged = f"{folder}: this checkpoint is damaged: {reason}"
            aside = run.set_aside(step)
            warnings.warn(f"{damaged}; moved to {aside.name}", CheckpointWarning, stacklevel=2)
        else:
            break
    else:
        if damaged:
            raise BadInputError(
                f"{damaged}; no other checkpoint is left: restore a copy, or start a new run under another run.name"
            )
        if lost := run.database.last_step():
            steps = f"{lost} step{'s' * (lost > 1)}"
            message = f"{run.path}: stopped before its first checkpoint; {steps} will be repeated"
            warnings.warn(message, CheckpointWarning, stacklevel=2)
    run.database.roll_back_to(state.step)
