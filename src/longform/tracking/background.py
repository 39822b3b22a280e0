"""Calls a tracker on a thread of its own, so that it can neither stop nor slow the training."""

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from queue import Full, Queue
from typing import NamedTuple, Protocol

from longform.monitors.series import Finding
from longform.plugins import describe_error
from longform.tracking.tracker import EndState, SampleText, TrackedRun, Tracker

QUEUED_STEPS = 64
"""Maximum number of steps in the queue of a slow tracker."""


class TrackingStore(Protocol):
    """Storage of the state that a run's trackers need to resume, and of the metrics of its steps."""

    def read(self, name: str) -> str | None:
        """Return the value that was stored under a name; None if there is none."""
        ...

    def write(self, name: str, value: str) -> None:
        """Store a value under a name."""
        ...

    def metrics(self, first: int, last: int) -> Iterator[tuple[int, Mapping[str, float]]]:
        """The recorded metrics of the steps from `first` to `last`."""
        ...


class TrackedStep(NamedTuple):
    """What trackers are given of a step."""

    step: int
    metrics: Mapping[str, float]
    texts: Sequence[SampleText] = ()
    findings: Sequence[Finding] = ()


class BackgroundTracker:
    """A tracker on a daemon thread, behind a bounded queue.

    Steps that the tracker missed, because it was slow or the run was killed, are logged from the records of the run before
    the next step. If a call raises an error, the tracker is switched off.

    Args:
        name: the tracker's name in the recipe.
        build: creates the tracker; it is called on the thread, which imports the tracker's library.
        run: the tracked run; its id and last step are read from the store.
        store: storage of the run.
    """

    def __init__(self, name: str, build: Callable[[], Tracker], run: TrackedRun, store: TrackingStore) -> None:
        self.name = name
        self.messages: deque[str] = deque()
        """What went wrong, for the user; filled on the thread."""
        self.places: deque[str] = deque()
        """Where to look, once it is known."""
        self._build, self._run, self._store = build, run, store
        self._queue: Queue[TrackedStep | EndState] = Queue(QUEUED_STEPS)
        self._is_off, self._is_late = False, False
        self._last, self._held = -1, -1
        self._thread = threading.Thread(target=self._work, name=f"tracker {name}", daemon=True)
        self._thread.start()

    def put(self, step: TrackedStep) -> None:
        """Pass on a step, or leave it out if the queue is full; never waits."""
        if self._is_off:
            return
        try:
            self._queue.put_nowait(step)
        except Full:
            if not self._is_late:
                self._is_late = True
                self.messages.append(
                    f"{self.name} is {QUEUED_STEPS} steps behind; until it answers, it gets no texts and no warnings"
                )

    def end(self, state: EndState, deadline: float) -> None:
        """Let it finish; `join` waits for that. Both return by `deadline` (of `time.monotonic`)."""
        if not self._is_off:
            with suppress(Full):
                self._queue.put(state, timeout=max(deadline - time.monotonic(), 0))

    def join(self, deadline: float) -> None:
        """Wait until it has finished."""
        if self._is_off:
            return
        self._thread.join(max(deadline - time.monotonic(), 0))
        if self._thread.is_alive():
            self._is_off = True
            self.messages.append(f"{self.name} does not answer and was not finished")

    def _work(self) -> None:
        try:
            tracker = self._started()
            while isinstance(item := self._queue.get(), TrackedStep):
                if item.step > self._held:
                    self._catch_up(tracker, item.step - 1)
                    self._log(tracker, item.step, item.metrics)
                    if item.texts:
                        tracker.texts(item.step, item.texts)
                    for finding in item.findings:
                        tracker.finding(item.step, finding)
            tracker.finish(item)
        except (Exception, SystemExit) as error:
            self.messages.append(f"{self.name} is switched off: {describe_error(error)[:500]}")
            self._is_off = True

    def _started(self) -> Tracker:
        tracker = self._build()
        stored = json.loads(self._store.read(self.name) or "{}")
        start = tracker.start(self._run._replace(id=stored.get("id"), sent=stored.get("step", -1)))
        self._id, self._last = start.id, start.last
        self._held = start.last
        if start.place:
            self.places.append(f"{self.name}: {start.place}")
        self._catch_up(tracker, self._run.step)
        self._remember()
        return tracker

    def _catch_up(self, tracker: Tracker, last: int) -> None:
        """Log the steps up to `last` that the tracker does not hold, from the records of the run."""
        if last > self._last:
            for step, metrics in self._store.metrics(self._last + 1, last):
                self._log(tracker, step, metrics)

    def _log(self, tracker: Tracker, step: int, metrics: Mapping[str, float]) -> None:
        tracker.log(step, {name: value for name, value in metrics.items() if value == value})  # as recorded: no NaN
        self._last = max(self._last, step)
        self._remember()

    def _remember(self) -> None:
        self._store.write(self.name, json.dumps({"id": self._id, "step": self._last}))
