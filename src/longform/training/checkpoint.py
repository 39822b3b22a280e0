"""What a checkpoint holds: policy, critic, optimizers, curriculum, step. Enough to go on as if nothing had happened."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch.optim import AdamW

from longform.curriculum.schedule import Curriculum
from longform.records.run_directory import RunDirectory
from longform.rl.settings import CRITIC_WARMUP, POLICY_WARMUP, OptimSettings, learning_rate_factor
from longform.training.models import PolicyModels


@dataclass(slots=True)
class TrainingState:
    """Everything that an update changes."""

    models: PolicyModels
    policy_optimizer: AdamW
    critic_optimizer: AdamW
    curriculum: Curriculum
    step: int = 0

    @classmethod
    def start(cls, models: PolicyModels, curriculum: Curriculum, optim: OptimSettings) -> "TrainingState":
        """The state before the first step."""
        # On a GPU the plain loop over weights would hold further copies of all of them for a moment.
        fused = models.device.type == "cuda"
        adamw = partial(AdamW, betas=optim.betas, weight_decay=optim.weight_decay, fused=fused)
        critic = [
            {"params": models.critic_parameters()},
            {"params": [models.as_critic().reference_weight], "peak": optim.reference_lr},
        ]
        return cls(
            models, adamw(models.policy_parameters(), lr=optim.lr), adamw(critic, lr=optim.critic_lr), curriculum
        )

    def set_learning_rates(self, step: int, *, optim: OptimSettings, steps: int) -> None:
        """Put the learning rates of `step` into the optimizers."""
        for optimizer, peak, warmup, share in (
            (self.policy_optimizer, optim.lr, optim.warmup_steps, POLICY_WARMUP),
            (self.critic_optimizer, optim.critic_lr, optim.critic_warmup_steps, CRITIC_WARMUP),
        ):
            warmup_steps = round(share * steps) if warmup is None else warmup
            factor = learning_rate_factor(step, warmup_steps=warmup_steps, final=optim.final_lr, steps=steps)
            for group in optimizer.param_groups:
                group["lr"] = group.get("peak", peak) * factor

    def save(self, folder: Path) -> None:
        """Write the state into an empty folder."""
        self.models.save(folder)
        optimizers = {"policy": self.policy_optimizer.state_dict(), "critic": self.critic_optimizer.state_dict()}
        torch.save(optimizers, folder / "optimizers.pt")
        self.curriculum.save(folder)

    def load(self, folder: Path, *, step: int) -> None:
        """Take the state that `save` wrote after `step`."""
        self.models.load(folder)
        optimizers = torch.load(folder / "optimizers.pt", weights_only=True, map_location=self.models.device)
        self.policy_optimizer.load_state_dict(optimizers["policy"])
        self.critic_optimizer.load_state_dict(optimizers["critic"])
        self.curriculum.load(folder)
        self.step = step


def resume_from(run: RunDirectory, state: TrainingState) -> None:
    """Put `state` and the run's records back to the newest checkpoint, or to the start where there is none."""
    steps = run.checkpoint_steps()
    if steps:
        state.load(run.checkpoint_path(steps[-1]), step=steps[-1])
    run.database.roll_back_to(state.step)
