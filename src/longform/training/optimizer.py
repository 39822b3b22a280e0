"""Shared by the TRL stages: optimizer, learning-rate schedule and loss log.

With `optimizer: muon`, the model's hidden matrices are trained with Muon (orthogonalized momentum; Jordan et al. 2024) and
all other weights with AdamW. Small models trained from scratch then learn to copy from the prompt in far fewer steps.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn
from transformers import PreTrainedModel, TrainerCallback, TrainingArguments

from longform.rl.settings import learning_rate_factor

_BETAS = (0.9, 0.95)
LossCallback = Callable[[int, int, float], None]
"""Called at intervals with (step, steps, loss)."""


class SupervisedSettings(BaseModel):
    """Optimizer settings shared by the supervised stages."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    optimizer: Literal["adamw", "muon"] = "adamw"
    lr: float = Field(default=1e-5, gt=0)
    """Peak learning rate of AdamW."""
    muon_lr: float = Field(default=0.02, gt=0)
    """Peak learning rate of Muon."""
    weight_decay: float = Field(default=0.0, ge=0)
    warmup_steps: int = Field(default=20, ge=0)
    decay: float = Field(default=0.4, ge=0, le=1)
    """Final fraction of the steps in which the learning rates decay linearly to 0."""
    max_grad_norm: float = Field(default=1.0, gt=0)


# transformers 5.2x renamed the argument and warns of the old name.
_CHECKPOINTING = next(
    name for name in ("activation_checkpointing", "gradient_checkpointing") if hasattr(TrainingArguments, name)
)


def trainer_arguments(settings: SupervisedSettings, folder: Path, *, steps: int, seed: int) -> dict[str, Any]:
    """Return common arguments of TRL trainers: quiet, bfloat16 if there is a GPU, output in `folder`."""
    on_gpu = torch.cuda.is_available()
    return {
        "output_dir": str(folder),
        "max_steps": steps,
        "max_grad_norm": settings.max_grad_norm,
        "use_cpu": not on_gpu,
        "bf16": on_gpu,
        _CHECKPOINTING: on_gpu,
        "dataloader_pin_memory": on_gpu,
        "seed": seed,
        "data_seed": seed,
        "report_to": "none",
        "disable_tqdm": True,
        "logging_steps": max(1, min(10, steps // 10)),
        "log_level": "error",
    }


class MuonWithAdamW(torch.optim.Optimizer):
    """One optimizer that applies Muon to hidden matrices and AdamW to embeddings, head, norms and biases."""

    def __init__(self, model: PreTrainedModel, settings: SupervisedSettings) -> None:
        ends = {id(parameter) for module in _end_modules(model) for parameter in module.parameters()}
        inner = [p for p in model.parameters() if p.requires_grad and p.ndim == 2 and id(p) not in ends]
        chosen = {id(parameter) for parameter in inner}
        others = [p for p in model.parameters() if p.requires_grad and id(p) not in chosen]
        self.parts: list[torch.optim.Optimizer] = [
            torch.optim.Muon(inner, lr=settings.muon_lr, weight_decay=settings.weight_decay),
            torch.optim.AdamW(others, lr=settings.lr, betas=_BETAS, weight_decay=settings.weight_decay),
        ]
        super().__init__([group for part in self.parts for group in part.param_groups], {})

    def step(self, closure: Any = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Step both optimizers with the current learning rates of this optimizer's groups.

        The groups are passed down at each step because accelerate replaces them when it prepares an optimizer.
        """
        assert closure is None
        for part, group in zip(self.parts, self.param_groups, strict=True):
            part.param_groups = [group]
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """Return the state of both optimizers."""
        return {**super().state_dict(), "parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state from `state_dict`."""
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        super().load_state_dict({name: value for name, value in state_dict.items() if name != "parts"})


def build_optimizer(model: PreTrainedModel, settings: SupervisedSettings, *, steps: int) -> tuple[Any, Any]:
    """Build the optimizer of the trainable weights and its learning-rate schedule over `steps` steps."""
    if settings.optimizer == "muon":
        optimizer: torch.optim.Optimizer = MuonWithAdamW(model, settings)
    else:
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(parameters, settings.lr, betas=_BETAS, weight_decay=settings.weight_decay)

    def factor(done: int) -> float:
        return learning_rate_factor(
            done + 1,
            warmup_steps=settings.warmup_steps,
            decay_steps=settings.decay * steps,
            end_step=steps + 1,  # the rate reaches 0 only after the last step
        )

    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


class LossLog(TrainerCallback):
    """Reports and stores the trainer's losses."""

    def __init__(self, on_progress: LossCallback) -> None:
        self._on_progress = on_progress
        self.losses: list[float] = []

    @property
    def final_loss(self) -> float:
        """Mean over the last tenth of the logged losses; NaN without any."""
        last = self.losses[-max(1, len(self.losses) // 10) :]
        return sum(last) / len(last) if last else float("nan")

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:  # noqa: ARG002, D102
        if logs and "loss" in logs:
            self.losses.append(float(logs["loss"]))
            self._on_progress(state.global_step, state.max_steps, self.losses[-1])


def _end_modules(model: PreTrainedModel) -> list[nn.Module]:
    """Return the embeddings, and the head of a language model or classifier."""
    ends = [model.get_input_embeddings(), model.get_output_embeddings(), getattr(model, "score", None)]
    return [module for module in ends if isinstance(module, nn.Module)]
