"""trackio: runs on this disk, or in a Hugging Face Space (TRACKIO_SPACE_ID)."""

import importlib
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import count
from typing import Any

from longform.monitors.series import Finding
from longform.tracking.tracker import PROJECT, EndState, SampleText, TrackedRun, TrackerStart, texts_table


class TrackioTracker:
    """A run of trackio."""

    def __init__(self) -> None:
        self._trackio: Any = importlib.import_module("trackio")
        # It prints to stdout, which belongs to the result of the command.
        for name in ("trackio", "trackio.run", "trackio.utils", "trackio.deploy"):
            vars(importlib.import_module(name))["print"] = lambda *args, **options: None

    def start(self, run: TrackedRun) -> TrackerStart:  # noqa: D102
        project = os.environ.get("TRACKIO_PROJECT", PROJECT)
        name = run.id or self._free_name(project, run.name)
        self._run: Any = self._trackio.init(
            project=project,
            name=name,
            config=dict(run.config),
            resume="never" if run.id is None else "allow",
            embed=False,
            auto_log_cpu=False,
        )
        # The storage knows what a killed run has written; the run's record only what was given to the library.
        held = getattr(self._run, "_next_step", run.sent + 1) - 1
        return TrackerStart(name, held, f"trackio show --project {project}")

    def log(self, step: int, metrics: Mapping[str, float]) -> None:  # noqa: D102
        self._run.log(dict(metrics), step=step)

    def texts(self, step: int, rows: Sequence[SampleText]) -> None:  # noqa: D102
        columns, data = texts_table(rows)
        self._run.log({"texts": self._trackio.Table(columns=columns, data=data)}, step=step)

    def finding(self, step: int, finding: Finding) -> None:  # noqa: ARG002, D102
        self._run.alert(title=finding.name, text=f"{finding.evidence}. {finding.advice}")

    def finish(self, state: EndState) -> None:  # noqa: ARG002, D102
        self._run.finish()

    def _free_name(self, project: str, name: str) -> str:
        """The run's name, with a number if another run of the project has it: runs are continued by name."""
        taken = set()
        with suppress(ValueError):  # there is no such project yet
            taken = {it.name for it in self._trackio.Api().runs(project)}
        numbered = (f"{name}-{number}" for number in count(2))
        return name if name not in taken else next(it for it in numbered if it not in taken)
