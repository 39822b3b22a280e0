"""Endpoints by name, with every call recorded next to an output file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from longform.endpoints.client import Endpoint
from longform.endpoints.limits import ALIKE_FAILURES, Budget, FailureWatch
from longform.endpoints.models import ModelSpec, find_model, read_models
from longform.records.calls import SqliteCallLog
from longform.records.errors import BadInputError
from longform.records.paths import check_out


class RecordedCalls:
    """The calls to the model called `name`, recorded in `OUT.calls.sqlite`. Use as a context manager.

    A recorded answer is never requested again, so a function that is called again resumes. Name and key are checked before
    a file is created.

    Args:
        out: output file of the caller; calls are recorded next to it.
        models: models.yaml.
        name: a name in it.
        budget: cost above which calls stop, over all calls recorded next to `out`.
        changes: values of keys of models.yaml that the caller sets itself.

    Raises:
        BadInputError: see `check_endpoint`; `out` is a folder or cannot be written next to.
    """

    def __init__(
        self,
        out: Path,
        models: Path,
        name: str,
        *,
        budget: float | None,
        changes: Mapping[str, Any] | None = None,
    ) -> None:
        check_out(out)
        self.path = calls_path(out)
        self._name, spec = name, check_endpoint(name, models, budget=budget)
        self._spec = spec.model_copy(update=dict(changes or {}))
        self.log = _open_log(self.path)
        self._failures: FailureWatch | None = None
        totals = self.log.totals()
        self._budget = Budget(
            budget,
            spent=totals.cost,
            unknown=totals.unknown_costs,
            estimated=totals.estimated_costs,
            resume="the same command and a larger --budget",
        )

    def __enter__(self) -> "RecordedCalls":
        return self

    def __exit__(self, *_: object) -> None:
        self.log.close()

    def endpoint(self, changes: Mapping[str, Any] | None = None) -> Endpoint:
        """The endpoint that the name stands for, with other values for some keys of models.yaml."""
        spec = self._spec.model_copy(update=dict(changes or {}))
        endpoint = Endpoint(self._name, spec, call_log=self.log, budget=self._budget, stop_after=ALIKE_FAILURES)
        self._failures = endpoint.failures
        return endpoint

    def first_failure(self) -> str:
        """The first failure of these calls with its cause, quoted; empty without one."""
        return "" if self._failures is None else self._failures.first

    def cost(self) -> str:
        """Cost and number of calls so far, in words."""
        return self.log.totals().shown_cost


def calls_path(out: Path) -> Path:
    """Where calls are recorded next to an output file."""
    return out.with_name(out.name + ".calls.sqlite")


def check_endpoint(name: str, models: Path, *, budget: float | None = None) -> ModelSpec:
    """The model called `name`, checked before anything is written or paid for.

    Raises:
        BadInputError: unknown name, missing key, or a budget for a model without prices.
    """
    spec = find_model(read_models(models), name, path=models)
    spec.read_key(name)
    spec.read_headers(name)
    if budget is not None and spec.prices is None:
        raise BadInputError(f"--budget: {models} has no prices for {name!r}, so the cost cannot be counted")
    return spec


def _open_log(path: Path) -> SqliteCallLog:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInputError(f"{path.parent}: cannot create the folder: {error.strerror}") from error
    return SqliteCallLog(path)
