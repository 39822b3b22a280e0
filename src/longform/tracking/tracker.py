"""What a tracker is: the few calls that every library of experiment tracking is reduced to."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from longform.monitors.series import Finding

EndState = Literal["finished", "stopped", "failed"]
"""How a run ends: at its last step, resumably, or with an unexpected error."""
PROJECT = "longform"
"""Project or experiment that runs belong to, unless the library's own environment variable names another."""


class SampleText(NamedTuple):
    """A response of the policy, for people to read."""

    prompt: str
    reference: str
    """The text that it was compared with; empty if there is none."""
    response: str
    outcome: str | None
    """win, tie, loss; None without a verdict."""
    reward: float | None


class TrackedRun(NamedTuple):
    """What a tracker receives when a run starts or is resumed."""

    name: str
    folder: Path
    """Where a tracker may write files of its own."""
    config: Mapping[str, Any]
    """The recipe by dotted key; no keys or addresses of endpoints."""
    step: int
    """The step from which the run continues; 0 for a new one."""
    id: str | None = None
    """The tracker's run that is continued; None to begin one."""
    sent: int = -1
    """The last step that was logged to that run; greater than `step` if the run was rolled back to a checkpoint."""


class TrackerStart(NamedTuple):
    """What a tracker answers when it has started."""

    id: str
    """By which its run is found again on resume."""
    last: int
    """The last step that it holds. Steps up to it are not logged again; those after it are, from the run's records."""
    place: str = ""
    """Where to look: an address, a folder or a command."""


class Tracker(Protocol):
    """An experiment tracker. All calls come from one thread. One that raises is switched off; the run goes on."""

    def start(self, run: TrackedRun) -> TrackerStart:
        """Begin a run, or continue the one with `run.id`."""
        ...

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """The metrics of a step, as they are recorded. Steps come once, in ascending order; in a supervised stage, the
        validation of a step comes as its second part.
        """
        ...

    def texts(self, step: int, rows: Sequence[SampleText]) -> None:
        """A table of texts of the step that was logged last."""
        ...

    def finding(self, step: int, finding: Finding) -> None:
        """A failure that begins with the step that was logged last."""
        ...

    def finish(self, state: EndState) -> None:
        """The run has ended; write everything out."""
        ...


def texts_table(rows: Sequence[SampleText]) -> tuple[list[str], list[list[Any]]]:
    """Columns and rows of a table of texts, without references where there are none."""
    columns = ["prompt", "reference", "response", "outcome", "reward"]
    if not any(it.reference for it in rows):
        columns.remove("reference")
    return columns, [[getattr(it, name) for name in columns] for it in rows]
