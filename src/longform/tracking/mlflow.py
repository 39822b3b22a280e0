"""MLflow, on the server or store that MLFLOW_TRACKING_URI names; MLFLOW_EXPERIMENT_NAME names the experiment."""

import importlib
import os
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from longform.monitors.series import Finding
from longform.tracking.tracker import PROJECT, EndState, SampleText, TrackedRun, TrackerStart, texts_table

_LAST_STEP = "longform.step"
"""Tag that is written together with the metrics of a step."""
_PARAMS_AT_ONCE = 100
_PARAM_LENGTH = 6000
_STATES: dict[EndState, str] = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}


class MlflowTracker:
    """A run of MLflow, through its client: the library's current run stays the user's."""

    def __init__(self) -> None:
        self._mlflow: Any = importlib.import_module("mlflow")
        self._entities: Any = importlib.import_module("mlflow.entities")

    def start(self, run: TrackedRun) -> TrackerStart:  # noqa: D102
        self._client: Any = self._mlflow.MlflowClient()
        if run.id is not None:
            self._id = run.id
            self._client.update_run(run.id, status="RUNNING")
            tag = self._client.get_run(run.id).data.tags.get(_LAST_STEP, "")
            last = int(tag) if tag.isdecimal() else run.sent  # a file store may hold an empty tag of a killed run
        else:
            self._id, last = self._create(run), -1
        return TrackerStart(self._id, last, f"{self._mlflow.get_tracking_uri()} run {self._id}")

    def log(self, step: int, metrics: Mapping[str, float]) -> None:  # noqa: D102
        now = int(time.time() * 1000)
        values = [self._entities.Metric(_key(name), value, now, step) for name, value in metrics.items()]
        self._client.log_batch(self._id, metrics=values, tags=[self._entities.RunTag(_LAST_STEP, str(step))])

    def texts(self, step: int, rows: Sequence[SampleText]) -> None:  # noqa: D102
        columns, data = texts_table(rows)
        self._client.log_dict(self._id, {"columns": columns, "data": data}, f"texts/step-{step:06d}.json")

    def finding(self, step: int, finding: Finding) -> None:  # noqa: D102
        self._client.set_tag(self._id, f"finding.{finding.name}", f"step {step}: {finding.evidence}. {finding.advice}")

    def finish(self, state: EndState) -> None:  # noqa: D102
        self._client.set_terminated(self._id, _STATES[state])

    def _create(self, run: TrackedRun) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        experiment = self._client.get_experiment_by_name(name)
        experiment_id = self._client.create_experiment(name) if experiment is None else experiment.experiment_id
        run_id = self._client.create_run(experiment_id, run_name=run.name).info.run_id
        params = [self._entities.Param(_key(key), str(value)[:_PARAM_LENGTH]) for key, value in run.config.items()]
        for start in range(0, len(params), _PARAMS_AT_ONCE):
            self._client.log_batch(run_id, params=params[start : start + _PARAMS_AT_ONCE])
        return run_id


def _key(name: str) -> str:
    """A name with only the characters that every store of MLflow takes."""
    return re.sub(r"[^\w./ -]", "_", name)
