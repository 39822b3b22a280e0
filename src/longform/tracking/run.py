"""The trackers of a run: started with it, given each step, finished with it."""

import re
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from longform.recipe.recipe import Recipe
from longform.records.database import RunDatabase
from longform.records.errors import LongformWarning, StoppedError
from longform.records.resume import flatten
from longform.tracking.available import build_tracker
from longform.tracking.background import BackgroundTracker, TrackedStep, TrackingStore
from longform.tracking.tracker import EndState, TrackedRun

FINISH_SECONDS = 60.0
"""How long the end of a run waits for its trackers."""
_SECRET = re.compile(r"(^|_)(key|token|secret|password)$")


class TrackerWarning(LongformWarning):
    """A tracker was switched off, or does not answer; the run continues without it."""


class Tracking:
    """The trackers of a run or of a supervised stage. Use as a context manager: leaving it finishes them.

    Args:
        names: names of the trackers in the recipe.
        run: the tracked run.
        store: storage of the run.
        on_place: called once for each tracker with a line that says where to find the run.
    """

    def __init__(
        self,
        names: Sequence[str],
        run: TrackedRun,
        store: TrackingStore,
        *,
        on_place: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._names, self._run, self._store = names, run, store
        self._on_place = on_place
        self._trackers: list[BackgroundTracker] = []

    def start(self, step: int) -> None:
        """Start the trackers; the run continues from `step`, 0 for a new one."""
        run = self._run._replace(step=step)
        self._trackers = [
            BackgroundTracker(name, partial(build_tracker, name), run, self._store) for name in self._names
        ]

    def log(self, step: TrackedStep) -> None:
        """Pass on a step that is on record."""
        for tracker in self._trackers:
            tracker.put(step)
        self._say()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        state: EndState = "finished"
        if error is not None:
            state = "stopped" if isinstance(error, StoppedError | KeyboardInterrupt) else "failed"
        deadline = time.monotonic() + FINISH_SECONDS
        for tracker in self._trackers:
            tracker.end(state, deadline)
        for tracker in self._trackers:
            tracker.join(deadline)
        self._say()

    def _say(self) -> None:
        for tracker in self._trackers:
            while tracker.places:
                self._on_place(tracker.places.popleft())
            while tracker.messages:
                warnings.warn(f"tracker {tracker.messages.popleft()}", TrackerWarning, stacklevel=3)


class RunStore:
    """The records of a run, for its trackers: a connection for each call, since each tracker has its own thread."""

    def __init__(self, database: Path) -> None:
        self._path = database

    def read(self, name: str) -> str | None:  # noqa: D102
        with closing(RunDatabase(self._path, create=False)) as database:
            return database.fact(_fact(name))

    def write(self, name: str, value: str) -> None:  # noqa: D102
        with closing(RunDatabase(self._path)) as database:
            database.set_fact(_fact(name), value)

    def metrics(self, first: int, last: int) -> Iterator[tuple[int, Mapping[str, float]]]:  # noqa: D102
        found: dict[int, dict[str, float]] = {}
        with closing(RunDatabase(self._path, create=False)) as database:
            for name, points in database.metrics().items():
                for step, value in points:
                    if first <= step <= last:
                        found.setdefault(step, {})[name] = value
        yield from sorted(found.items())


def track_run(recipe: Recipe, *, on_place: Callable[[str], None] = lambda line: None) -> Tracking:
    """The trackers of a recipe's run; none of them is started yet."""
    config = tracked_config(recipe.resolved.model_dump(mode="json"))
    run = TrackedRun(recipe.run.name, recipe.run_path, config, step=0)
    return Tracking(recipe.run.track, run, RunStore(recipe.run_path / "run.sqlite"), on_place=on_place)


def tracked_config(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by dotted name. Those that look like a secret are left out: settings of a plugin may hold anything."""
    return {name: value for name, value in flatten(settings).items() if not _SECRET.search(name.rpartition(".")[2])}


def _fact(name: str) -> str:
    """Name of the fact that holds a tracker's run and last step."""
    return f"tracker/{name}"
