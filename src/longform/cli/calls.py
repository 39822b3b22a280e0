"""What the commands that ask endpoints share: the endpoint behind a name, and where its calls are recorded."""

import secrets
from pathlib import Path

from longform.endpoints.budget import Budget
from longform.endpoints.client import Endpoint
from longform.endpoints.models import find_model, read_models
from longform.records.calls import SqliteCallLog


class RecordedCalls:
    """The calls of one command, recorded in `OUT.calls.sqlite`. Use as a context manager.

    A command that is started again finds the answers it already has there.
    """

    def __init__(self, out: Path, models: Path, *, budget: float | None) -> None:
        self.path = out.with_name(out.name + ".calls.sqlite")
        self._models = models
        self._specs = read_models(models)
        out.parent.mkdir(parents=True, exist_ok=True)
        self.log = SqliteCallLog(self.path)
        totals = self.log.totals()
        self._budget = Budget(
            budget, spent=totals.cost, unknown=totals.unknown_costs, resume="the same command and a larger --budget"
        )

    def __enter__(self) -> "RecordedCalls":
        return self

    def __exit__(self, *_: object) -> None:
        self.log.close()

    def endpoint(self, name: str) -> Endpoint:
        """The endpoint of a name in models.yaml, its key checked."""
        spec = find_model(self._specs, name, path=self._models)
        spec.read_key(name)
        return Endpoint(name, spec, call_log=self.log, budget=self._budget)

    def secret(self) -> bytes:
        """The secret behind the judge's fences, made once and kept beside the calls: a repeated question is the same."""
        path = self.path.with_suffix(".secret")
        if not path.exists():
            path.write_bytes(secrets.token_bytes(16))
            path.chmod(0o600)
        return path.read_bytes()

    def cost(self) -> str:
        """Cost and calls so far, in words."""
        totals = self.log.totals()
        unknown = f", {totals.unknown_costs} of unknown cost" if totals.unknown_costs else ""
        return f"{totals.cost:.4f} ({totals.calls} calls{unknown})"
