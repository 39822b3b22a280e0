"""What a study's plan consists of: tasks, policies, and measurements."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from longform.recipe.recipe import Recipe
from longform.records.files import write_text
from longform.studies.settings import Study
from longform.studies.work import Work, Writer


@dataclass(frozen=True, slots=True)
class StudyTask:
    """One piece of work, which is done once."""

    key: str
    """Hash of everything that its result depends on."""
    title: str
    folder: Path
    work: Work
    needs: tuple[str, ...]
    """Keys of the tasks that come before."""


@dataclass(frozen=True, slots=True)
class FinishedTask:
    """The record of a finished task."""

    title: str
    folder: str
    """Inside the study's folder."""
    seconds: float

    @classmethod
    def read(cls, folder: Path, key: str) -> "FinishedTask | None":
        """The record of a task in a study's folder; None if it is not done."""
        try:
            content = json.loads(mark_path(folder, key).read_text(encoding="utf-8"))
            return cls(str(content["title"]), str(content["folder"]), float(content["seconds"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, folder: Path, key: str) -> None:
        """Mark a task as done.

        Raises:
            BadInputError: the folder cannot be written.
        """
        path = mark_path(folder, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(asdict(self), ensure_ascii=False) + "\n")


def mark_path(folder: Path, key: str) -> Path:
    """The file that marks a task as done."""
    return folder / "done" / f"{key}.json"


class StudyFile(NamedTuple):
    """A file that a study reads: made by a step, or there before."""

    key: str
    """Hash of everything that its content depends on."""
    path: Path
    needs: tuple[str, ...] = ()
    """Keys of the tasks that make it; none for a file that was there before."""


@dataclass(frozen=True, slots=True)
class ExaminedPolicy:
    """A policy that can be examined."""

    key: str
    """Hash of everything that its weights depend on."""
    needs: tuple[str, ...]
    writer: Writer


@dataclass(frozen=True, slots=True)
class ArmRun:
    """One arm with one seed."""

    arm: str
    seed: int
    policies: Mapping[int, ExaminedPolicy]
    """By step. An arm that is not trained by reinforcement learning has one, at step 0."""
    last: int
    """The last step; 0 without reinforcement learning."""
    recipe: Recipe | None
    """None without reinforcement learning."""
    key: str | None
    """Key of the task that trains the arm; None if it is not trained."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """A column's value of one arm, seed and step: in the folder of a task, or a metric of a run."""

    column: str
    arm: str
    seed: int
    step: int
    is_last: bool
    task: str
    """Key of the task that measures the value; of a metric, of the task that trains."""
    metric: str | None = None
    """Name of the run's metric; None for a value that an examination measures."""
    where: Mapping[str, Any] = field(default_factory=dict)
    """Average over the prompts with these values only."""
    prompts: Path | None = None
    """The prompts file in which `where` is looked up; None without `where`."""


@dataclass(slots=True)
class StudyPlan:
    """All tasks, each after those that it needs, and what is measured."""

    study: Study
    folder: Path
    source: Path
    """The study file, which errors name."""
    tasks: dict[str, StudyTask] = field(default_factory=dict)
    runs: list[ArmRun] = field(default_factory=list)
    measurements: list[Measurement] = field(default_factory=list)
