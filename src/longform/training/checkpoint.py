"""What a checkpoint holds: models, optimizers, curriculum, step. Enough to go on as if nothing had happened."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch.optim import AdamW

from longform.curriculum.schedule import Curriculum
from longform.records.run_directory import RunDirectory
from longform.rl.settings import (
    CRITIC_WARMUP,
    POLICY_WARMUP,
    REFERENCE_LR,
    GrpoSettings,
    PpoSettings,
    learning_rate_factor,
)
from longform.training.models import PolicyModels


@dataclass(slots=True)
class TrainingState:
    """Everything that an update changes."""

    models: PolicyModels
    policy_optimizer: AdamW
    critic_optimizer: AdamW | None
    """None where the method has no critic."""
    curriculum: Curriculum
    step: int = 0

    @classmethod
    def start(cls, models: PolicyModels, curriculum: Curriculum, optim: PpoSettings | GrpoSettings) -> "TrainingState":
        """The state before the first step."""
        # On a GPU the plain loop over weights would hold further copies of all of them for a moment.
        fused = models.device.type == "cuda"
        adamw = partial(AdamW, betas=optim.betas, weight_decay=optim.weight_decay, fused=fused)
        critic_optimizer = None
        if isinstance(optim, PpoSettings):
            critic = [
                {"params": models.critic_parameters()},
                {"params": [models.as_critic().reference_weight], "peak": REFERENCE_LR if optim.critic_lr else 0.0},
            ]
            critic_optimizer = adamw(critic, lr=optim.critic_lr)
        return cls(models, adamw(models.policy_parameters(), lr=optim.lr), critic_optimizer, curriculum)

    def set_learning_rates(self, step: int, *, optim: PpoSettings | GrpoSettings, steps: int) -> None:
        """Put the learning rates of `step` into the optimizers."""
        rates = [(self.policy_optimizer, optim.lr, optim.warmup_steps, POLICY_WARMUP)]
        if self.critic_optimizer is not None and isinstance(optim, PpoSettings):
            rates.append((self.critic_optimizer, optim.critic_lr, optim.critic_warmup_steps, CRITIC_WARMUP))
        for optimizer, peak, warmup, share in rates:
            warmup_steps = round(share * steps) if warmup is None else warmup
            factor = learning_rate_factor(
                step,
                warmup_steps=warmup_steps,
                decay_steps=max(steps - warmup_steps, 0),
                end_step=steps,
                end_ratio=optim.lr_end_ratio,
            )
            for group in optimizer.param_groups:
                group["lr"] = group.get("peak", peak) * factor

    @property
    def _optimizers(self) -> dict[str, AdamW]:
        critic = {} if self.critic_optimizer is None else {"critic": self.critic_optimizer}
        return {"policy": self.policy_optimizer, **critic}

    def save(self, folder: Path) -> None:
        """Write the state into an empty folder."""
        self.models.save(folder)
        states = {name: optimizer.state_dict() for name, optimizer in self._optimizers.items()}
        torch.save(states, folder / "optimizers.pt")
        self.curriculum.save(folder)

    def load(self, folder: Path, *, step: int) -> None:
        """Take the state that `save` wrote after `step`."""
        self.models.load(folder)
        states = torch.load(folder / "optimizers.pt", weights_only=True, map_location=self.models.device)
        for name, optimizer in self._optimizers.items():
            optimizer.load_state_dict(states[name])
        self.curriculum.load(folder)
        self.step = step


def resume_from(run: RunDirectory, state: TrainingState) -> None:
    """Put `state` and the run's records back to the newest checkpoint, or to the start where there is none."""
    steps = run.checkpoint_steps()
    if steps:
        state.load(run.checkpoint_path(steps[-1]), step=steps[-1])
    run.database.roll_back_to(state.step)
