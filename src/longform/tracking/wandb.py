"""Weights & Biases; its environment variables (WANDB_API_KEY, WANDB_PROJECT, WANDB_ENTITY, WANDB_MODE) apply."""

import importlib
import os
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from longform.monitors.series import Finding
from longform.tracking.tracker import PROJECT, EndState, SampleText, TrackedRun, TrackerStart, texts_table


class WandbTracker:
    """A run of Weights & Biases."""

    def __init__(self) -> None:
        self._wandb: Any = importlib.import_module("wandb")

    def start(self, run: TrackedRun) -> TrackerStart:  # noqa: D102
        settings = self._wandb.Settings(silent=True, console="off")  # nothing is printed, or taken from the terminal
        mode = self._wandb.setup(settings=settings).settings.mode
        if mode in {"online", "run", "shared"} and not self._wandb.login(prompt=False):
            raise RuntimeError("there is no API key: run `wandb login`, or set WANDB_MODE=offline")
        run_id = run.id or secrets.token_hex(4)
        self._run: Any = self._wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            id=run_id,
            name=run.name,
            config=dict(run.config),
            resume="allow",
            settings=settings,
        )
        # The service knows what it holds. Without a connection each process writes a folder of its own, and a killed one
        # leaves an incomplete folder behind: the new one gets all steps.
        held = self._run.step - 1 if self._run.resumed else -1
        folder = self._run.dir.removesuffix("/files")
        return TrackerStart(run_id, held, f"wandb sync {folder}" if self._run.offline else self._run.url or "")

    def log(self, step: int, metrics: Mapping[str, float]) -> None:  # noqa: D102
        self._run.log(dict(metrics), step=step)

    def texts(self, step: int, rows: Sequence[SampleText]) -> None:  # noqa: D102
        columns, data = texts_table(rows)
        self._run.log({"texts": self._wandb.Table(columns=columns, data=data)}, step=step)

    def finding(self, step: int, finding: Finding) -> None:  # noqa: D102
        self._run.alert(title=finding.name, text=f"step {step}: {finding.evidence}. {finding.advice}", level="WARN")

    def finish(self, state: EndState) -> None:  # noqa: D102
        self._run.finish(exit_code=int(state != "finished"))
