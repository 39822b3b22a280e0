"""The recipe of a reinforcement-learning run, composed of the settings of each room."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from longform.curriculum.settings import CurriculumSettings
from longform.rewards.settings import RewardSettings
from longform.rl.settings import LoraSettings, MemorySettings, OptimSettings
from longform.writers.settings import GenerationSettings


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataSettings(_Section):
    """What the run trains on."""

    ladders: Path
    """A ladders file, as `longform select` writes it, or the released Writing-RL code's Parquet."""
    per_step: int = Field(default=32, ge=1)
    """Prompts in one step."""
    group: int = Field(default=1, ge=1)
    """Responses to each of them (paper: 1). A group faces one reference."""


class ValidationSettings(_Section):
    """How the run is watched by a judge that does not reward it."""

    prompts: Path
    every: int = Field(default=20, ge=1)
    """Steps between validations."""
    judge: str
    """A name of models.yaml: the examiner."""
    same_judge: bool = False
    """Allow the reward's own judge here. Its grade then shows the reward, not the writing."""


class RunSettings(_Section):
    """Name, length and safety of a run."""

    name: str = Field(min_length=1, pattern=r"^\w[\w.-]*$")
    folder: Path = Path("runs")
    """The run directory is `folder`/`name`."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    steps: int = Field(ge=1)
    checkpoint_every: int = Field(default=50, ge=1)
    keep_checkpoints: int = Field(default=2, ge=1)
    budget: float | None = Field(default=None, gt=0)
    """Stop, resumably, before the judge calls of the run cost more than this, in the currency of models.yaml."""


MINI_BATCH = 16
"""Of the paper."""


class Recipe(_Section):
    """Everything that decides a run. Running the same recipe again repeats it."""

    method: Literal["ppo"] = "ppo"
    engine: Literal["local"] = "local"
    policy: str
    """Folder or hub id of the writer to train."""
    policy_name: str = "policy"
    """The model name that the policy's own responses carry in the ladders."""
    models: Path = Path("models.yaml")
    """What the names of judges mean."""
    data: DataSettings
    rewards: list[RewardSettings] = Field(min_length=1, max_length=1)
    curriculum: CurriculumSettings = CurriculumSettings()
    validation: ValidationSettings | None = None
    generation: GenerationSettings = GenerationSettings()
    optim: OptimSettings = OptimSettings()
    lora: LoraSettings | None = None
    """Train adapters in place of all weights."""
    memory: MemorySettings = MemorySettings()
    run: RunSettings

    @property
    def rollouts(self) -> int:
        """Responses written in a step."""
        return self.data.per_step * self.data.group

    @property
    def mini_batch(self) -> int:
        """Rollouts in one update."""
        return self.optim.mini_batch or min(MINI_BATCH, self.rollouts)

    @property
    def run_path(self) -> Path:
        """Where the run directory stands."""
        return self.run.folder / self.run.name

    @model_validator(mode="after")
    def _check_examiner(self) -> "Recipe":
        judges = {name for reward in self.rewards for name in reward.judges}
        if self.validation and self.validation.judge in judges and not self.validation.same_judge:
            raise ValueError(
                f"validation.judge: {self.validation.judge!r} also gives the reward; "
                "name another judge, or set validation.same_judge: true"
            )
        return self

    @model_validator(mode="after")
    def _check_batches(self) -> "Recipe":
        if self.mini_batch > self.rollouts:
            raise ValueError(f"optim.mini_batch: {self.mini_batch} is more than a step's {self.rollouts} rollouts")
        return self
