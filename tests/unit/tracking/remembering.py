"""A tracker that remembers its calls, and a store in memory."""

import threading
from typing import Any

from longform.tracking.tracker import TrackerStart


class RememberingTracker:
    """Keeps what it is given.

    Args:
        holds: the last step that it claims to hold; None: the one that the run's record names.
        raises_at: the call, or the step, that raises.
        waits: set by the test; until then `log` hangs.
    """

    def __init__(
        self, *, holds: int | None = None, raises_at: Any = None, waits: threading.Event | None = None
    ) -> None:
        self.holds, self.raises_at, self.waits = holds, raises_at, waits
        self.run: Any = None
        self.logged: list[tuple[int, dict[str, float]]] = []
        self.texts_seen: list[Any] = []
        self.findings: list[Any] = []
        self.state = ""

    def start(self, run):
        self._may_raise("start")
        self.run = run
        return TrackerStart(run.id or "new", run.sent if self.holds is None else self.holds, "a place")

    def log(self, step, metrics):
        if self.waits is not None:
            self.waits.wait(20)
        self._may_raise("log")
        self._may_raise(step)
        self.logged.append((step, dict(metrics)))

    def texts(self, step, rows):
        self._may_raise("texts")
        self.texts_seen.append((step, list(rows)))

    def finding(self, step, finding):
        self._may_raise("finding")
        self.findings.append((step, finding))

    def finish(self, state):
        self._may_raise("finish")
        self.state = state

    @property
    def steps(self):
        return [step for step, _ in self.logged]

    def _may_raise(self, place):
        if self.raises_at == place:
            raise ConnectionError(f"no answer to {place}")


class MemoryStore:
    """A store of which nothing is written to a disk."""

    def __init__(self, metrics=None):
        self.facts: dict[str, str] = {}
        self.recorded: dict[int, dict[str, float]] = metrics or {}

    def read(self, name):
        return self.facts.get(name)

    def write(self, name, value):
        self.facts[name] = value

    def metrics(self, first, last):
        yield from ((step, it) for step, it in sorted(self.recorded.items()) if first <= step <= last)
