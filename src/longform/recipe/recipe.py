"""The recipe of a reinforcement-learning run, composed of the settings of each room."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from longform.curriculum.settings import CurriculumSettings
from longform.planning.settings import ClusterSettings
from longform.rewards.group_advantages import MIN_RESPONSES
from longform.rewards.settings import (
    JudgedSettings,
    MeasuredSettings,
    PairwiseSettings,
    RewardSettings,
    WritingSettings,
)
from longform.rl.settings import GrpoSettings, LoraSettings, MemorySettings, PpoSettings
from longform.writers.settings import GenerationSettings


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataSettings(_Section):
    """What the run trains on."""

    ladders: Path | None = None
    """A ladders file, as `longform select` writes it, or the released Writing-RL code's Parquet."""
    prompts: Path | None = None
    """A prompts file, in place of ladders, where no reward compares with a reference."""
    per_step: int = Field(default=32, ge=1)
    """Prompts in one step."""
    group: int = Field(default=1, ge=1)
    """Responses to each of them (Writing-RL: 1; LongWriter-Zero: 32). A group faces one reference; grpo needs two."""

    @property
    def path(self) -> Path:
        """The file that the prompts are read from."""
        path = self.ladders or self.prompts
        assert path is not None, "checked below"
        return path

    @model_validator(mode="after")
    def _check_source(self) -> "DataSettings":
        if (self.ladders is None) == (self.prompts is None):
            raise ValueError("name either `ladders` or `prompts`")
        return self


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

    method: Literal["ppo", "grpo"] = "ppo"
    engine: Literal["local", "cluster"] = "local"
    """local: this process and its device. cluster: verl, on the machines of `cluster`."""
    policy: str
    """Folder or hub id of the writer to train."""
    policy_name: str = "policy"
    """The model name that the policy's own responses carry in the ladders."""
    models: Path = Path("models.yaml")
    """What the names of judges mean."""
    data: DataSettings
    rewards: list[RewardSettings] = Field(min_length=1)
    """Each kind at most once. With ppo their weighted mean is the reward."""
    advantages: Literal["balanced", "summed"] = "balanced"
    """grpo with several rewards. balanced: each reward is normalised within its group, and the advantages are averaged
    (LongWriter-Zero, eq. 5). summed: the rewards are averaged first, so the one with the largest spread leads."""
    curriculum: CurriculumSettings = CurriculumSettings()
    validation: ValidationSettings | None = None
    generation: GenerationSettings = GenerationSettings()
    optim: PpoSettings | GrpoSettings = Field(default_factory=lambda read: _optim_settings(read)())
    lora: LoraSettings | None = None
    """Train adapters in place of all weights."""
    memory: MemorySettings = MemorySettings()
    cluster: ClusterSettings | None = None
    """Of engine `cluster`."""
    run: RunSettings

    @property
    def ppo(self) -> PpoSettings:
        """The optimisation of a recipe whose method is ppo."""
        assert isinstance(self.optim, PpoSettings), "of another method"
        return self.optim

    @property
    def grpo(self) -> GrpoSettings:
        """The optimisation of a recipe whose method is grpo."""
        assert isinstance(self.optim, GrpoSettings), "of another method"
        return self.optim

    @property
    def judged(self) -> list[JudgedSettings]:
        """The rewards that ask a judge."""
        return [it for it in self.rewards if isinstance(it, JudgedSettings)]

    @property
    def served(self) -> list[WritingSettings]:
        """The writing reward, where its reward models stand behind endpoints."""
        return [it for it in self.rewards if isinstance(it, WritingSettings) and it.endpoints]

    @property
    def asked(self) -> set[str]:
        """The names of models.yaml that rewards ask."""
        judges = {name for reward in self.judged for name in reward.judges}
        return judges | {name for reward in self.served for name in reward.endpoints}

    @property
    def weights(self) -> list[float]:
        """Of the rewards, in their order."""
        return [it.weight for it in self.rewards]

    @property
    def required(self) -> list[float | None]:
        """The least score that each reward asks for, where it is a constraint."""
        return [it.required if isinstance(it, MeasuredSettings) else None for it in self.rewards]

    @property
    def verdict_limit(self) -> tuple[float, str]:
        """The strictest `max_judge_failure_rate` of the rewards that ask somebody, and what it is called."""
        asking: list[JudgedSettings | WritingSettings] = [*self.judged, *self.served]
        strictest = min(asking, key=lambda it: it.max_judge_failure_rate, default=None)
        return (
            (1.0, "")
            if strictest is None
            else (strictest.max_judge_failure_rate, f"rewards.{strictest.kind}.max_judge_failure_rate")
        )

    @property
    def compares(self) -> bool:
        """Whether a reward compares with a reference."""
        return any(isinstance(it, PairwiseSettings) for it in self.rewards)

    @property
    def min_responses(self) -> int:
        """With rewards, that a group needs to take part in an update."""
        return MIN_RESPONSES if self.method == "grpo" else 1

    @property
    def rollouts(self) -> int:
        """Responses written in a step."""
        return self.data.per_step * self.data.group

    @property
    def mini_batch(self) -> int:
        """Rollouts in one update."""
        return self.optim.mini_batch or min(MINI_BATCH, self.rollouts)

    @property
    def machines(self) -> ClusterSettings:
        """The cluster of a recipe whose engine is one; its defaults where the recipe says nothing."""
        return self.cluster or ClusterSettings()

    @property
    def run_path(self) -> Path:
        """Where the run directory stands."""
        return self.run.folder / self.run.name

    def changed(self, key: str, value: Any) -> "Recipe":
        """The recipe with another value of `key`: a name of the top level, or `section.name`."""
        content = self.model_dump(mode="json")
        *section, name = key.split(".")
        if section:
            content[section[0]] = {**(content[section[0]] or {}), name: value}
        else:
            content[name] = value
        return Recipe.model_validate(content)

    @field_validator("optim", mode="before")
    @classmethod
    def _read_optim(cls, value: Any, info: ValidationInfo) -> Any:
        """Each method has settings of its own, and an error names the key."""
        return _optim_settings(info.data).model_validate(value) if isinstance(value, Mapping) else value

    @field_validator("rewards")
    @classmethod
    def _check_kinds(cls, rewards: list[RewardSettings]) -> list[RewardSettings]:
        kinds = [it.kind for it in rewards]
        twice = sorted({kind for kind in kinds if kinds.count(kind) > 1})
        if twice:
            raise ValueError(f"{twice[0]} stands there twice; `judge: [A, B]` asks several judges")
        return rewards

    @model_validator(mode="after")
    def _check_method(self) -> "Recipe":
        if self.method == "grpo" and self.data.group < MIN_RESPONSES:
            raise ValueError("data.group: grpo compares the responses of a group, so it needs at least 2")
        if self.method == "grpo" and self.generation.temperature == 0:
            raise ValueError(
                "generation.temperature: at 0 all responses of a group are the same, and grpo learns nothing"
            )
        if self.method == "ppo" and self.advantages != "balanced":
            raise ValueError("advantages: goes with grpo; ppo adds the weighted rewards up")
        if self.method == "ppo" and any(least is not None for least in self.required):
            raise ValueError("rewards: `required` goes with grpo, which compares the responses of a group")
        if self.compares and self.data.ladders is None:
            raise ValueError("data.ladders: the pairwise reward compares with references, which a prompts file has not")
        return self

    @model_validator(mode="after")
    def _check_examiner(self) -> "Recipe":
        if self.validation and self.validation.judge in self.asked and not self.validation.same_judge:
            raise ValueError(
                f"validation.judge: {self.validation.judge!r} also gives the reward; "
                "name another judge, or set validation.same_judge: true"
            )
        return self

    @model_validator(mode="after")
    def _check_engine(self) -> "Recipe":
        if self.engine == "local" and self.cluster is not None:
            raise ValueError("cluster: goes with engine: cluster")
        return self

    @model_validator(mode="after")
    def _check_batches(self) -> "Recipe":
        if self.mini_batch > self.rollouts:
            raise ValueError(f"optim.mini_batch: {self.mini_batch} is more than a step's {self.rollouts} rollouts")
        return self


def _optim_settings(read: Mapping[str, Any]) -> type[PpoSettings] | type[GrpoSettings]:
    """Of the method that was read before; an unknown one has been refused."""
    return GrpoSettings if read.get("method") == "grpo" else PpoSettings
