"""The runs under a folder, with their progress, as the files in it say; the names of folders do not matter."""

import fcntl
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from longform.records.errors import BadInputError
from longform.records.run_directory import RunDirectory
from longform.records.yaml_files import read_yaml

RunState = Literal["running", "finished", "stopped", "damaged"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """A run and its progress."""

    path: Path
    state: RunState
    """`running` if a process is writing it; `finished` if it has reached its target."""
    problem: str = ""
    """Why it is `damaged`: its database cannot be read."""
    step: int = 0
    steps: int | None = None
    """Target number of steps; None if the run has no readable recipe."""
    seconds: float = 0.0
    mean_rung: float | None = None
    first_grade: float | None = None
    """Mean validation grade of the initial policy."""
    last_grade: float | None = None


def list_runs(folder: Path) -> list[RunSummary]:
    """Summarize the runs at any depth of a folder, by path.

    Raises:
        BadInputError: there are none.
    """
    found = sorted(path.parent for path in folder.rglob("run.sqlite"))
    if not found:
        raise BadInputError(f"{folder}: no runs found (no run.sqlite at any depth)")
    return [summarize_run(path) for path in found]


def is_running(path: Path) -> bool:
    """Whether a process is writing the run."""
    return _is_locked(path / "lock")


def summarize_run(path: Path) -> RunSummary:
    """Summarize one run."""
    steps, has_ladders = _target(path / "recipe.yaml")
    try:
        with RunDirectory.read(path) as run:
            step, seconds = run.database.last_step(), run.database.seconds()
            grades = run.database.metric("validation/grade")
            rungs = run.database.metric("curriculum/mean_rung")
    except BadInputError as error:
        return RunSummary(path=path, state="damaged", problem=str(error), steps=steps)
    done: RunState = "finished" if steps is not None and step >= steps else "stopped"
    return RunSummary(
        path=path,
        state="running" if _is_locked(path / "lock") else done,
        step=step,
        steps=steps,
        seconds=seconds,
        mean_rung=rungs[-1][1] if rungs and has_ladders else None,
        first_grade=grades[0][1] if grades else None,
        last_grade=grades[-1][1] if grades else None,
    )


def _target(recipe: Path) -> tuple[int | None, bool]:
    """The steps of a recipe, and whether its prompts have ladders, as far as it can be read."""
    try:
        content = read_yaml(recipe)
        steps = content["run"]["steps"]
    except (BadInputError, KeyError, TypeError):
        return None, True
    try:
        data = content["data"]
        has_ladders = any(it.get("ladders") is not None for it in (data, *data.get("sources", ())))
    except (KeyError, TypeError, AttributeError):
        has_ladders = True
    return (steps if isinstance(steps, int) else None), has_ladders


def _is_locked(lock: Path) -> bool:
    """Whether another process holds the lock of a run; False if that is unknown."""
    try:
        with lock.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
