"""The recipe of a reinforcement-learning run, composed of the settings of each package."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from longform.curriculum.settings import CurriculumSettings
from longform.planning.settings import ClusterSettings
from longform.rewards.settings import (
    ConstraintSettings,
    GroupSettings,
    JudgedSettings,
    LikelihoodSettings,
    PairwiseSettings,
    PointwiseSettings,
    RewardSettings,
    WritingSettings,
)
from longform.rl.group_advantages import MIN_RESPONSES
from longform.rl.settings import GrpoSettings, LoraSettings, MemorySettings, PpoSettings
from longform.writers.settings import Device, GenerationSettings


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SourceSettings(_Section):
    """One of several sources of prompts that train together."""

    name: str = Field(min_length=1, pattern=r"^\w[\w.-]*$")
    """By which rewards name it in their `sources`."""
    ladders: Path | None = None
    """A ladders file, as in `data`."""
    prompts: Path | None = None
    """A prompts file, as in `data`."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Columns of the prompts file that are called otherwise, as in `data`."""
    weight: float = Field(default=1.0, gt=0)
    """Its part of each step's prompts; only the ratio of the weights counts."""

    @property
    def path(self) -> Path:
        """The file of ladders or prompts."""
        path = self.ladders or self.prompts
        assert path is not None, "checked by _check_file"
        return path

    @model_validator(mode="after")
    def _check_file(self) -> "SourceSettings":
        if (self.ladders is None) == (self.prompts is None):
            raise ValueError("name either `ladders` or `prompts`")
        return self


class DataSettings(_Section):
    """The training data of a run."""

    sources: list[SourceSettings] = Field(default_factory=list)
    """Several files instead of one: the prompts of a step are drawn from all of them, by weight, and a reward may be for
    some of them (`rewards.sources`). Ids are unique over all. For engine local."""
    ladders: Path | None = None
    """A ladders file, from `longform select` or in the Parquet format of the released Writing-RL code."""
    prompts: Path | None = None
    """A prompts file, instead of ladders, if no reward compares with a reference: .jsonl, .json, .csv, .tsv, .txt, .parquet,
    a folder of such files, or a dataset."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Columns of the prompts file that are called otherwise, such as {prompt: question, id: key}."""
    per_step: int = Field(default=32, ge=1)
    """Prompts per step."""
    group: int = Field(default=1, ge=1)
    """Responses per prompt (Writing-RL: 1; LongWriter-Zero: 32), all compared with the same reference. grpo
    needs at least 2."""
    flat_groups: Literal["judge"] | None = None
    """judge: a group reward sees only groups whose other rewards have no spread, which would teach nothing; elsewhere it is
    not computed. None: it sees every group."""

    @property
    def parts(self) -> list[SourceSettings]:
        """The sources; a single file is one whose prompts know of none."""
        single = {"ladders": self.ladders, "prompts": self.prompts, "columns": self.columns}
        return self.sources or [SourceSettings(name="prompts", **single)]

    @property
    def path(self) -> Path:
        """The file of ladders or prompts; of several sources, the first."""
        return self.parts[0].path

    @property
    def has_ladders(self) -> bool:
        """Whether some prompts have references."""
        return any(it.ladders is not None for it in self.parts)

    @property
    def shown_path(self) -> str:
        """The files, for messages."""
        return ", ".join(str(it.path) for it in self.parts)

    def path_of(self, source: str | None) -> Path:
        """The file of a prompt, by its source."""
        return next((it.path for it in self.parts if it.name == source), self.parts[0].path)

    def share(self, sources: Sequence[str] | None) -> float:
        """The share of the prompts that come from some sources; 1 for None, which is all of them."""
        total = sum(it.weight for it in self.parts)
        return sum(it.weight for it in self.parts if sources is None or it.name in sources) / total

    @model_validator(mode="after")
    def _check_source(self) -> "DataSettings":
        if self.sources and (self.ladders is not None or self.prompts is not None or self.columns):
            raise ValueError(
                "`sources` has files and columns of its own: name no `ladders`, `prompts` or `columns` beside it"
            )
        if not self.sources and (self.ladders is None) == (self.prompts is None):
            raise ValueError("name either `ladders` or `prompts`")
        if len({it.name for it in self.sources}) < len(self.sources):
            raise ValueError("`sources` names one twice")
        return self


class ValidationSettings(_Section):
    """Validation on held-out prompts by a judge that gives no reward (the examiner)."""

    prompts: Path
    """A file of held-out prompts."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Columns of this file that are called otherwise, as in `data`."""
    every: int = Field(default=20, ge=1)
    """Steps between validations."""
    judge: str
    """The examiner, by its name in models.yaml."""
    per_criterion: bool = False
    """Ask about each of the prompt's criteria in a call of its own and average the scores."""
    without_criteria: bool = False
    """Also grade without the prompts' criteria, so that `longform doctor` shows the gain under both."""
    same_judge: bool = False
    """Allow a judge that also gives the reward. Its grades then measure the reward rather than the writing."""


class RunSettings(_Section):
    """Name, length and safety of a run."""

    name: str = Field(min_length=1, pattern=r"^\w[\w.-]*$")
    """Names the run directory."""
    folder: Path = Path("runs")
    """The run directory is `folder`/`name`."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Of every random draw."""
    steps: int = Field(ge=1)
    """Length of the run."""
    checkpoint_every: int = Field(default=50, ge=1)
    """Steps between checkpoints."""
    checkpoint_minutes: float | None = Field(default=30.0, gt=0)
    """For engine local: a checkpoint is also written when the newest one is this old. None: only by steps."""
    keep_checkpoints: int = Field(default=2, ge=1)
    """Checkpoints to keep, the newest ones."""
    keep_policies: int | None = Field(default=None, ge=1)
    """Steps between copies of the policy's weights alone, which are kept for good in `policies/`. On a cluster a multiple of
    `checkpoint_every`."""
    budget: float | None = Field(default=None, gt=0)
    """Stop the run, resumably, before its judge calls cost more than this, in the currency of models.yaml."""
    track: list[str] = Field(default_factory=list)
    """Experiment trackers that get metrics, texts and warnings: trackio, wandb, tensorboard, mlflow, or a plugin,
    `module.path:Name`."""
    show_every: int = Field(default=10, ge=0)
    """Steps from one sample of the step's texts to the next, on the terminal and in the trackers; 0: none."""

    @field_validator("track")
    @classmethod
    def _check_trackers(cls, names: list[str]) -> list[str]:
        if len(set(names)) < len(names):
            raise ValueError("a tracker is named twice")
        return names


MINI_BATCH = 16
"""Of PPO, as in Writing-RL."""


class Recipe(_Section):
    """All settings of a run. Running the same recipe again repeats it."""

    method: Literal["ppo", "grpo"] = "ppo"
    """ppo: with a critic (Writing-RL). grpo: groups of responses instead of a critic (LongWriter-Zero)."""
    engine: Literal["local", "cluster"] = "local"
    """local: this process and its device. cluster: verl on the machines of section `cluster`."""
    policy: str
    """The model to train, a folder or a hub id."""
    trust_remote_code: bool = False
    """Whether to run code from the policy's folder. Read that code first: it runs with your permissions."""
    device: Device = "auto"
    """For engine local. auto takes the first GPU if there is one, else Apple's, else the
    processor."""
    policy_name: str = "policy"
    """The model name of the policy's own responses in the ladders."""
    models: Path = Path("models.yaml")
    """File that defines the judges."""
    data: DataSettings
    rewards: list[RewardSettings] = Field(min_length=1)
    """At most one of each kind. ppo uses their weighted mean."""
    advantages: Literal["balanced", "summed"] = "balanced"
    """For grpo with several rewards. balanced: normalise each reward within its group, then average the advantages
    (LongWriter-Zero, eq. 5). summed: average the rewards first, so that the one with the largest spread dominates."""
    curriculum: CurriculumSettings = CurriculumSettings()
    validation: ValidationSettings | None = None
    generation: GenerationSettings = GenerationSettings()
    optim: PpoSettings | GrpoSettings = Field(default_factory=lambda read: _optim_settings(read)())
    lora: LoraSettings | None = None
    """Train adapters instead of all weights."""
    memory: MemorySettings = MemorySettings()
    cluster: ClusterSettings | None = None
    """For engine `cluster`."""
    run: RunSettings

    @property
    def ppo(self) -> PpoSettings:
        """The settings of ppo; the method must be ppo."""
        assert isinstance(self.optim, PpoSettings), "another method"
        return self.optim

    @property
    def grpo(self) -> GrpoSettings:
        """The settings of grpo; the method must be grpo."""
        assert isinstance(self.optim, GrpoSettings), "another method"
        return self.optim

    @property
    def judged(self) -> list[JudgedSettings]:
        """Rewards that call a judge."""
        return [it for it in self.rewards if isinstance(it, JudgedSettings)]

    @property
    def served(self) -> list[WritingSettings]:
        """Writing rewards whose reward models are served behind endpoints."""
        return [it for it in self.rewards if isinstance(it, WritingSettings) and it.endpoints]

    @property
    def asked(self) -> set[str]:
        """Names of models.yaml that rewards call."""
        judges = {name for reward in self.judged for name in reward.judges}
        return judges | {name for reward in self.served for name in reward.endpoints}

    @property
    def asked_with_validation(self) -> list[str]:
        """Names of models.yaml that rewards or the validation call, sorted."""
        return sorted(self.asked | ({self.validation.judge} if self.validation is not None else set()))

    @property
    def weights(self) -> list[float]:
        """Weights of the rewards, in order."""
        return [it.weight for it in self.rewards]

    @property
    def kinds(self) -> list[str]:
        """Kinds of the rewards, in order."""
        return [it.kind for it in self.rewards]

    @property
    def required(self) -> list[float | None]:
        """Minimum score of each reward that is a constraint, else None."""
        return [it.required if isinstance(it, ConstraintSettings) else None for it in self.rewards]

    @property
    def judge_failure_limit(self) -> tuple[float, str]:
        """The strictest `max_judge_failure_rate` of all rewards that call a model, and its key."""
        asking: list[JudgedSettings | WritingSettings] = [*self.judged, *self.served]
        strictest = min(asking, key=lambda it: it.max_judge_failure_rate, default=None)
        return (
            (1.0, "")
            if strictest is None
            else (strictest.max_judge_failure_rate, f"rewards.{strictest.kind}.max_judge_failure_rate")
        )

    @property
    def compares(self) -> bool:
        """Whether responses are compared with references, so that there are outcomes."""
        return any(map(self.compares_with_references, self.rewards))

    def compares_with_references(self, reward: RewardSettings) -> bool:
        """Whether a reward compares responses with the references that their prompts face."""
        if isinstance(reward, GroupSettings):
            return reward.by == "anchors" or self.curriculum.promote_by == "sample"
        return isinstance(reward, PairwiseSettings)

    @property
    def min_responses(self) -> int:
        """Responses with rewards that a group needs for an update."""
        return MIN_RESPONSES if self.method == "grpo" else 1

    @property
    def rollouts(self) -> int:
        """Responses per step."""
        return self.data.per_step * self.data.group

    @property
    def mini_batch(self) -> int:
        """Rollouts per update."""
        default = min(MINI_BATCH, self.rollouts) if self.method == "ppo" else self.rollouts
        return self.optim.mini_batch or default

    @property
    def warmup_steps(self) -> int:
        """Steps of the policy's warm-up."""
        steps = self.optim.warmup_steps
        return round(self.optim.default_warmup * self.run.steps) if steps is None else steps

    @property
    def resolved(self) -> "Recipe":
        """The recipe with the defaults written out that depend on other keys."""
        recipe = self.changed("optim.mini_batch", self.mini_batch)
        return recipe.changed("optim.warmup_steps", self.warmup_steps)

    @property
    def machines(self) -> ClusterSettings:
        """The cluster, with defaults if the recipe has no such section."""
        return self.cluster or ClusterSettings()

    @property
    def run_path(self) -> Path:
        """The run directory."""
        return self.run.folder / self.run.name

    def changed(self, key: str, value: Any) -> "Recipe":
        """The recipe with another value of `key`: a name of the top level, or one inside sections, with dots between."""
        content = self.model_dump(mode="json")
        *sections, name = key.split(".")
        inside = content
        for section in sections:
            inside[section] = inside[section] or {}
            inside = inside[section]
        inside[name] = value
        return Recipe.model_validate(content)

    @field_validator("optim", mode="before")
    @classmethod
    def _read_optim(cls, value: Any, info: ValidationInfo) -> Any:
        """Validate with the settings of the method, so that an error names the key."""
        return _optim_settings(info.data).model_validate(value) if isinstance(value, Mapping) else value

    @field_validator("rewards")
    @classmethod
    def _check_kinds(cls, rewards: list[RewardSettings]) -> list[RewardSettings]:
        kinds = [it.kind for it in rewards]
        twice = sorted({kind for kind in kinds if kinds.count(kind) > 1})
        if twice:
            raise ValueError(f"duplicate reward {twice[0]}; `judge: [A, B]` uses several judges")
        return rewards

    @model_validator(mode="after")
    def _check_method(self) -> "Recipe":
        if self.method == "grpo" and self.data.group < MIN_RESPONSES:
            raise ValueError("data.group: must be at least 2 with grpo, which compares the responses of a group")
        if self.method == "grpo" and self.generation.temperature == 0:
            raise ValueError("generation.temperature: must not be 0 with grpo: all responses of a group would be equal")
        if self.method == "ppo" and self.advantages != "balanced":
            raise ValueError("advantages: only valid with method: grpo; ppo averages the weighted rewards")
        if self.method == "ppo" and any(least is not None for least in self.required):
            raise ValueError("rewards: `required` is only valid with method: grpo")
        if self.curriculum.criteria != "all" and not any(isinstance(it, PointwiseSettings) for it in self.rewards):
            raise ValueError("curriculum.criteria: only valid with a pointwise reward, which scores by criteria")
        multiplies = isinstance(self.optim, GrpoSettings) and self.optim.diversity
        if multiplies and any(isinstance(it, WritingSettings) for it in self.rewards):
            raise ValueError("optim.diversity: not with the writing reward, which may be negative")
        if multiplies and self.data.group == MIN_RESPONSES:
            raise ValueError("optim.diversity: needs data.group of at least 3; two responses are equally far apart")
        if self.generation.think != "on" and any(isinstance(it, LikelihoodSettings) for it in self.rewards):
            raise ValueError("generation.think: must be on with the likelihood reward, which scores plans")
        if self.compares and not self.data.has_ladders:
            needing = next(it.kind for it in self.rewards if self.compares_with_references(it))
            raise ValueError(f"data.ladders: required by the {needing} reward, which compares with references")
        return self

    @model_validator(mode="after")
    def _check_groups(self) -> "Recipe":
        group = next((it for it in self.rewards if isinstance(it, GroupSettings)), None)
        if group is not None and self.method == "ppo":
            raise ValueError("rewards: kind: group is only valid with method: grpo, which has groups; use pairwise")
        if self.data.flat_groups is not None and (group is None or len(self.rewards) == 1):
            raise ValueError(
                "data.flat_groups: needs a reward of kind: group, and others that show which groups are flat"
            )
        if self.curriculum.promote_by == "sample":
            if group is None or group.by == "anchors" or any(isinstance(it, PairwiseSettings) for it in self.rewards):
                raise ValueError(
                    "curriculum.promote_by: sample is for a reward of kind: group whose responses meet each other; pairwise "
                    "and by: anchors have verdicts against the reference anyway, so use verdicts"
                )
            if self.curriculum.mode != "dynamic":
                raise ValueError("curriculum.promote_by: sample is only valid with mode: dynamic, where prompts climb")
        return self

    @model_validator(mode="after")
    def _check_sources(self) -> "Recipe":
        names = [it.name for it in self.data.sources]
        for reward in self.rewards:
            if reward.sources is not None and not names:
                raise ValueError(f"rewards.{reward.kind}.sources: only valid with data.sources")
            if unknown := [it for it in reward.sources or () if it not in names]:
                raise ValueError(
                    f"rewards.{reward.kind}.sources: no {unknown[0]!r} in data.sources: {', '.join(names)}"
                )
        for source in self.data.sources:
            rewards = [it for it in self.rewards if it.applies_to(source.name)]
            if not rewards:
                raise ValueError(f"data.sources: no reward is for {source.name!r}")
            needing = next((it.kind for it in rewards if self.compares_with_references(it)), None)
            if source.ladders is None and needing is not None:
                raise ValueError(
                    f"data.sources: {source.name!r} has no ladders, which the {needing} reward needs; name the sources that "
                    f"have some in rewards.{needing}.sources"
                )
        if names and self.engine == "cluster":
            raise ValueError("data.sources: only valid with engine: local")
        if names and self.curriculum.top == "retire":
            raise ValueError("curriculum.top: retire is not possible with data.sources, whose weights it would change")
        return self

    @model_validator(mode="after")
    def _check_examiner(self) -> "Recipe":
        if self.validation and self.validation.judge in self.asked and not self.validation.same_judge:
            raise ValueError(
                f"validation.judge: {self.validation.judge!r} also gives the reward; "
                "choose another judge, or set validation.same_judge: true"
            )
        return self

    @model_validator(mode="after")
    def _check_engine(self) -> "Recipe":
        if self.engine == "local" and self.cluster is not None:
            raise ValueError("cluster: only valid with engine: cluster")
        if self.engine == "cluster" and self.generation.engine != "own":
            raise ValueError(
                "generation.engine: only valid with engine: local; cluster.rollout names the cluster's engine"
            )
        if self.memory.quantize is not None and (self.lora is None or self.engine == "cluster"):
            raise ValueError("memory.quantize: only valid with lora and engine: local; other weights are trained")
        if self.memory.optimizer_bits != 32 and self.engine == "cluster":
            raise ValueError("memory.optimizer_bits: only valid with engine: local")
        if self.generation.engine != "own" and self.generation.top_p < 1:
            raise ValueError(
                f"generation.top_p: must be 1 with generation.engine: {self.generation.engine}, whose log-probabilities "
                "would be those of the cut distribution; or use engine: own"
            )
        return self

    @model_validator(mode="after")
    def _check_batches(self) -> "Recipe":
        if self.mini_batch > self.rollouts:
            raise ValueError(f"optim.mini_batch: {self.mini_batch} exceeds the {self.rollouts} rollouts of a step")
        if isinstance(self.optim, GrpoSettings) and (self.optim.down_sample or 0) > self.data.group:
            raise ValueError(
                f"optim.down_sample: {self.optim.down_sample} exceeds the {self.data.group} responses of a group"
            )
        return self


def _optim_settings(read: Mapping[str, Any]) -> type[PpoSettings] | type[GrpoSettings]:
    """The settings class of the method, which was validated before."""
    return GrpoSettings if read.get("method") == "grpo" else PpoSettings
