"""Protocols of the part of a recipe that the planner reads; `recipe.Recipe` satisfies them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, Self, TypeVar

from longform.curriculum.settings import CurriculumSettings
from longform.planning.settings import ClusterSettings
from longform.rewards.settings import JudgedSettings, RewardSettings, WritingSettings
from longform.rl.settings import GrpoSettings, LoraSettings, MemorySettings, PpoSettings
from longform.writers.settings import GenerationSettings


class PromptSource(Protocol):
    """A file of prompts or ladders."""

    @property
    def ladders(self) -> Path | None: ...  # noqa: D102
    @property
    def prompts(self) -> Path | None: ...  # noqa: D102
    @property
    def path(self) -> Path: ...  # noqa: D102
    @property
    def columns(self) -> Mapping[str, str]: ...  # noqa: D102


class TrainingData(Protocol):
    """Where the prompts of a run come from."""

    @property
    def parts(self) -> Sequence[PromptSource]: ...  # noqa: D102
    @property
    def per_step(self) -> int: ...  # noqa: D102
    @property
    def group(self) -> int: ...  # noqa: D102
    @property
    def flat_groups(self) -> Literal["judge"] | None: ...  # noqa: D102

    def share(self, sources: Sequence[str] | None) -> float:
        """The share of the prompts that come from some sources; 1 for None."""
        ...


class ValidationPlan(Protocol):
    """How often a run validates, on what, and who grades."""

    @property
    def prompts(self) -> Path: ...  # noqa: D102
    @property
    def columns(self) -> Mapping[str, str]: ...  # noqa: D102
    @property
    def every(self) -> int: ...  # noqa: D102
    @property
    def judge(self) -> str: ...  # noqa: D102
    @property
    def per_criterion(self) -> bool: ...  # noqa: D102
    @property
    def without_criteria(self) -> bool: ...  # noqa: D102


class RunLength(Protocol):
    """How long a run is, and what it keeps."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def steps(self) -> int: ...  # noqa: D102
    @property
    def keep_checkpoints(self) -> int: ...  # noqa: D102


class Workload(Protocol):
    """A run to be planned."""

    @property
    def method(self) -> Literal["ppo", "grpo"]: ...  # noqa: D102
    @property
    def engine(self) -> Literal["local", "cluster"]: ...  # noqa: D102
    @property
    def policy(self) -> str: ...  # noqa: D102
    @property
    def models(self) -> Path: ...  # noqa: D102
    @property
    def data(self) -> TrainingData: ...  # noqa: D102
    @property
    def rewards(self) -> Sequence[RewardSettings]: ...  # noqa: D102
    @property
    def judged(self) -> Sequence[JudgedSettings]: ...  # noqa: D102
    @property
    def served(self) -> Sequence[WritingSettings]: ...  # noqa: D102
    @property
    def asked(self) -> set[str]: ...  # noqa: D102
    @property
    def validation(self) -> ValidationPlan | None: ...  # noqa: D102
    @property
    def curriculum(self) -> CurriculumSettings: ...  # noqa: D102
    @property
    def generation(self) -> GenerationSettings: ...  # noqa: D102
    @property
    def optim(self) -> PpoSettings | GrpoSettings: ...  # noqa: D102
    @property
    def ppo(self) -> PpoSettings: ...  # noqa: D102
    @property
    def grpo(self) -> GrpoSettings: ...  # noqa: D102
    @property
    def lora(self) -> LoraSettings | None: ...  # noqa: D102
    @property
    def memory(self) -> MemorySettings: ...  # noqa: D102
    @property
    def machines(self) -> ClusterSettings: ...  # noqa: D102
    @property
    def run(self) -> RunLength: ...  # noqa: D102
    @property
    def run_path(self) -> Path: ...  # noqa: D102
    @property
    def rollouts(self) -> int: ...  # noqa: D102
    @property
    def mini_batch(self) -> int: ...  # noqa: D102

    def changed(self, key: str, value: Any) -> Self:
        """The same run with another value of one key, such as `memory.precision`."""
        ...


WorkloadT = TypeVar("WorkloadT", bound=Workload)


def longest_sequence(run: Workload) -> int:
    """Tokens of the longest prompt and response that a run allows."""
    return run.generation.max_prompt_tokens + run.generation.max_tokens
