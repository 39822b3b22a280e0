"""The losses of a supervised stage in experiment trackers (tracking/), as a callback of TRL's trainers."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from transformers import TrainerCallback

from longform.records.files import write_text
from longform.tracking.background import TrackedStep
from longform.tracking.run import Tracking, tracked_config
from longform.tracking.tracker import TrackedRun
from longform.training.supervised.processes import find_processes
from longform.training.supervised.settings import SupervisedRecipe

_VALIDATION = "eval_"
_STORED = "trackers.json"


class StageTracking(NamedTuple):
    """What the trackers of a stage receive."""

    names: list[str]
    run: str
    """Name of the run."""
    folder: Path
    """Folder for files of the trackers."""
    config: Mapping[str, Any]

    @classmethod
    def of(cls, recipe: SupervisedRecipe) -> "StageTracking":
        """The tracking of a recipe: its run is named after `out`, and the trackers write their files to `OUT.tracking`."""
        folder = recipe.out.with_name(f"{recipe.out.name}.tracking")
        return cls(recipe.track, recipe.out.name, folder, tracked_config(recipe.model_dump(mode="json")))

    def branch(self, name: str) -> "StageTracking":
        """The tracking of a branch of pretraining, which is a run of its own."""
        return self._replace(run=f"{self.run}-{name}", folder=self.folder / name)


class StageStore:
    """State that trackers need to resume, stored next to the checkpoints, and the losses logged before the checkpoint.

    Args:
        folder: Folder of the checkpoints.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / _STORED
        self._lock = Lock()
        self._history: dict[int, dict[str, float]] = {}

    def remember(self, history: list[dict[str, Any]]) -> None:
        """Take over the log entries of the checkpoint that training continues from."""
        for entry in history:
            self._history.setdefault(entry["step"], {}).update(named_losses(entry))

    def read(self, name: str) -> str | None:  # noqa: D102
        return self._stored().get(name)

    def write(self, name: str, value: str) -> None:  # noqa: D102
        with self._lock:  # each tracker has its own thread
            write_text(self._path, json.dumps(self._stored() | {name: value}))

    def metrics(self, first: int, last: int) -> Iterator[tuple[int, Mapping[str, float]]]:  # noqa: D102
        yield from ((step, metrics) for step, metrics in sorted(self._history.items()) if first <= step <= last)

    def _stored(self) -> dict[str, str]:
        return json.loads(self._path.read_text(encoding="utf-8")) if self._path.exists() else {}


class TrackedLosses(TrainerCallback):
    """Passes what the trainer logs to the trackers."""

    def __init__(self, tracking: Tracking, store: StageStore) -> None:
        self._tracking, self._store = tracking, store

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002, D102
        self._store.remember(state.log_history)
        self._tracking.start(state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:  # noqa: ARG002, D102
        if logs:
            self._tracking.log(TrackedStep(state.global_step, named_losses(logs)))


def named_losses(logs: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a log entry, under the names that transformers uses in trackers: `train/loss`, `eval/loss`."""
    numbers = {name: float(value) for name, value in logs.items() if isinstance(value, int | float) and name != "step"}
    return {
        f"eval/{name.removeprefix(_VALIDATION)}" if name.startswith(_VALIDATION) else f"train/{name}": value
        for name, value in numbers.items()
    }


@contextmanager
def track_stage(tracking: StageTracking | None, checkpoints: Path | None) -> Iterator[list[TrainerCallback]]:
    """A context with the callbacks that track a stage: one in process 0 if it has trackers, else none."""
    if tracking is None or not tracking.names or checkpoints is None or not find_processes().is_main:
        yield []
        return
    store = StageStore(checkpoints)
    run = TrackedRun(tracking.run, tracking.folder, tracking.config, step=0)
    with Tracking(tracking.names, run, store) as started:
        yield [TrackedLosses(started, store)]
