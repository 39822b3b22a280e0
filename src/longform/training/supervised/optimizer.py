"""Optimizer and learning-rate schedule of the supervised stages.

With `optimizer: muon`, the model's hidden matrices are trained with Muon (orthogonalized momentum; Jordan et al. 2024) and
all other weights with AdamW. Small models trained from scratch then learn to copy from the prompt in far fewer steps.
"""

import math
from typing import Any

import torch
from torch import nn

from longform.rl.settings import learning_rate_factor
from longform.training.supervised.settings import SupervisedSettings

_BETAS = (0.9, 0.95)


class MuonWithAdamW(torch.optim.Optimizer):
    """One optimizer that applies Muon to hidden matrices and AdamW to embeddings, head, norms and biases."""

    def __init__(self, model: Any, settings: SupervisedSettings) -> None:
        ends = {id(parameter) for module in _end_modules(model) for parameter in module.parameters()}
        inner = [p for p in model.parameters() if p.requires_grad and p.ndim == 2 and id(p) not in ends]
        chosen = {id(parameter) for parameter in inner}
        others = [p for p in model.parameters() if p.requires_grad and id(p) not in chosen]
        self.parts: list[torch.optim.Optimizer] = [
            torch.optim.Muon(inner, lr=settings.muon_lr, weight_decay=settings.weight_decay)
        ]
        if others:  # adapters are matrices without exception
            self.parts.append(
                torch.optim.AdamW(others, lr=settings.lr, betas=_BETAS, weight_decay=settings.weight_decay)
            )
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


def build_optimizer(model: Any, settings: SupervisedSettings) -> torch.optim.Optimizer:
    """Build the optimizer of the trainable weights."""
    if settings.optimizer == "muon":
        return MuonWithAdamW(model, settings)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return torch.optim.AdamW(parameters, settings.lr, betas=_BETAS, weight_decay=settings.weight_decay)


def scheduled_factor(done: int, settings: SupervisedSettings, *, steps: int) -> float:
    """The learning rate of an update as a fraction of its peak. It is never 0: a decay would reach 0 after the last update.

    Args:
        done: Number of updates before this one.
        settings: Settings with the schedule and its warm-up.
        steps: Number of updates of the whole run.
    """
    step, warmup = done + 1, settings.warmup(steps)
    if settings.schedule == "cosine":
        if step < warmup:
            return step / warmup
        return 0.5 * (1 + math.cos(math.pi * min((step - warmup) / (steps + 1 - warmup), 1.0)))
    decays = {"trapezoid": settings.decay * steps, "linear": steps + 1 - warmup, "constant": 0.0}
    return learning_rate_factor(
        step,
        warmup_steps=warmup,
        decay_steps=max(decays[settings.schedule], 0.0),
        end_step=steps + 1,  # the rate reaches 0 only after the last step
    )


def last_step_at_peak(settings: SupervisedSettings, *, steps: int) -> int:
    """The last update before the decay of `schedule: trapezoid` in a run of `steps` updates; 0 if there is none."""
    return max(math.floor(steps + 1 - settings.decay * steps), 0) if settings.decay else steps


def _end_modules(model: Any) -> list[nn.Module]:
    """Return the embeddings, and the head of a language model or classifier."""
    ends = [model.get_input_embeddings(), model.get_output_embeddings(), getattr(model, "score", None)]
    return [module for module in ends if isinstance(module, nn.Module)]
