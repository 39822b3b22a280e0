"""Reading a log of calls: which calls were made, what was answered, and what they came to."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from longform.records.calls import CallTotals, unpack_text
from longform.records.database import reading
from longform.records.errors import BadInputError

_SUFFIX = ".calls.sqlite"
_COLUMNS = {
    "id": "0",
    "request_hash": "''",
    "endpoint": "''",
    "model": "''",
    "outcome": "''",
    "attempt": "1",
    "prompt_tokens": "NULL",
    "completion_tokens": "NULL",
    "thought_tokens": "NULL",
    "cached_tokens": "NULL",
    "cost": "NULL",
    "is_estimated": "0",
    "latency_seconds": "0",
    "finish_reason": "NULL",
    "served_model": "NULL",
    "message": "''",
    "text": "x''",
    "thoughts": "x''",
}
"""Columns, and what stands for one that a log of an older version lacks."""


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """One call on record."""

    id: int
    request_hash: str
    endpoint: str
    model: str
    outcome: str
    attempt: int
    prompt_tokens: int | None
    completion_tokens: int | None
    thought_tokens: int | None
    cached_tokens: int | None
    cost: float | None
    is_estimated: bool
    latency_seconds: float
    finish_reason: str | None
    served_model: str | None
    message: str
    """Of a failure, in the provider's words."""
    text: str
    thoughts: str


@dataclass(slots=True)
class CallSum:
    """What the calls of one endpoint with one outcome came to."""

    endpoint: str
    model: str
    outcome: str
    calls: int
    prompt_tokens: int
    completion_tokens: int
    thought_tokens: int
    cost: float
    unknown_costs: int
    estimated_costs: int
    seconds: float
    """Mean latency."""


def find_call_log(path: Path) -> Path:
    """The log of a run directory, of an output file, or the file itself.

    Raises:
        BadInputError: there is none, or a folder that is no run directory has several.
    """
    if path.is_dir():
        own = [it for it in (path / "run.sqlite", path / "calls.sqlite") if it.is_file()]
        logs = own[:1] or sorted(path.glob(f"*{_SUFFIX}"))
        if not logs:
            raise BadInputError(f"{path}: has neither run.sqlite nor a file *{_SUFFIX}")
        if len(logs) > 1:
            raise BadInputError(f"{path}: has several logs of calls; name one: {', '.join(it.name for it in logs)}")
        return logs[0]
    beside = path.with_name(path.name + _SUFFIX)
    if beside.is_file():
        return beside
    if path.is_file():
        return path
    raise BadInputError(f"{path}: no such file, and no {beside.name} beside it")


def read_calls(
    path: Path,
    *,
    hashes: Sequence[str] | None = None,
    outcome: str | None = None,
    model: str | None = None,
    limit: int | None = None,
) -> Iterator[RecordedCall]:
    """The calls on record, in their order.

    Args:
        path: of the log; see `find_call_log`.
        hashes: only those of these requests.
        outcome: only these: `ok`, or the cause of a failure; `failed` for all failures.
        model: only these, by the model's name or its name in models.yaml.
        limit: read only this many of the last calls.

    Raises:
        BadInputError: the file is not a log of calls.
    """
    with reading(path), closing(_open(path)) as connection:
        where, values = _condition(outcome, model, hashes)
        query = f"SELECT {_selection(connection, path)} FROM calls {where} ORDER BY id DESC"
        if limit is not None:
            query += " LIMIT ?"
            values.append(limit)
        rows = connection.execute(f"SELECT * FROM ({query}) ORDER BY id", values)
        for row in rows:
            fields: dict[str, Any] = dict(zip(_COLUMNS, row, strict=True))
            fields |= {"text": unpack_text(fields["text"]), "thoughts": unpack_text(fields["thoughts"])}
            fields["is_estimated"] = bool(fields["is_estimated"])
            yield RecordedCall(**fields)


def has_calls(path: Path) -> bool:
    """Whether a file has a table of calls; a run without a judge has none."""
    with reading(path), closing(_open(path)) as connection:
        return connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'calls'").fetchone() is not None


def sum_calls(path: Path, *, outcome: str | None = None, model: str | None = None) -> list[CallSum]:
    """Tokens and money by endpoint and outcome.

    Raises:
        BadInputError: the file is not a log of calls.
    """
    with reading(path), closing(_open(path)) as connection:
        where, values = _condition(outcome, model)
        query = (
            "SELECT endpoint, model, outcome, COUNT(*), COALESCE(SUM(prompt_tokens), 0), "
            "COALESCE(SUM(completion_tokens), 0), COALESCE(SUM(thought_tokens), 0), COALESCE(SUM(cost), 0.0), "
            "COALESCE(SUM(cost IS NULL), 0), COALESCE(SUM(is_estimated AND cost IS NOT NULL), 0), AVG(latency_seconds) "
            f"FROM (SELECT {_selection(connection, path)} FROM calls {where}) "
            "GROUP BY endpoint, model, outcome ORDER BY endpoint, model, outcome = 'ok' DESC, COUNT(*) DESC"
        )
        return [CallSum(*row) for row in connection.execute(query, values)]


def total_calls(path: Path) -> CallTotals:
    """Totals of all calls; zeros for a file without calls.

    Raises:
        BadInputError: the file is damaged.
    """
    sums = sum_calls(path) if has_calls(path) else []
    return CallTotals(
        calls=sum(it.calls for it in sums),
        answered=sum(it.calls for it in sums if it.outcome == "ok"),
        prompt_tokens=sum(it.prompt_tokens for it in sums),
        completion_tokens=sum(it.completion_tokens for it in sums),
        thought_tokens=sum(it.thought_tokens for it in sums),
        cost=sum(it.cost for it in sums),
        unknown_costs=sum(it.unknown_costs for it in sums),
        estimated_costs=sum(it.estimated_costs for it in sums),
    )


def models_of(path: Path) -> dict[str, list[str]]:
    """The models that were asked, by endpoint; empty for a file without calls.

    Raises:
        BadInputError: the file is damaged.
    """
    models: dict[str, list[str]] = {}
    for it in sum_calls(path) if has_calls(path) else []:
        known = models.setdefault(it.endpoint, [])
        if it.model not in known:
            known.append(it.model)
    return models


def model_changes(path: Path) -> list[str]:
    """For each endpoint whose answers came from several models or fingerprints: which, in the order of their first answer,
    and how many answers each gave. Empty for a file without calls.
    """
    served: dict[str, dict[str, int]] = {}
    with reading(path), closing(_open(path)) as connection:
        try:
            columns = _selection(connection, path)
        except BadInputError:
            return []
        query = (
            f"SELECT endpoint, served_model, COUNT(*) FROM (SELECT {columns} FROM calls "
            "WHERE outcome = 'ok') WHERE served_model IS NOT NULL GROUP BY endpoint, served_model ORDER BY MIN(id)"
        )
        for endpoint, model, count in connection.execute(query):
            served.setdefault(endpoint, {})[model] = count
    return [
        f"{endpoint} was answered by {' and then '.join(f'{model} ({count:,} answers)' for model, count in models.items())}"
        for endpoint, models in sorted(served.items())
        if len(models) > 1
    ]


def _open(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)


def _selection(connection: sqlite3.Connection, path: Path) -> str:
    try:
        known = {row[1] for row in connection.execute("PRAGMA table_info(calls)")}
    except sqlite3.Error as error:
        raise BadInputError(f"{path}: cannot be read as a log of calls: {error}") from error
    if "request_hash" not in known:
        raise BadInputError(f"{path}: holds no calls")
    return ", ".join(name if name in known else f"{default} AS {name}" for name, default in _COLUMNS.items())


def _condition(outcome: str | None, model: str | None, hashes: Sequence[str] | None = None) -> tuple[str, list[Any]]:
    conditions: list[str] = []
    values: list[Any] = []
    if hashes is not None:
        conditions.append(f"request_hash IN ({', '.join('?' * len(hashes))})")
        values += hashes
    if outcome == "failed":
        conditions.append("outcome <> 'ok'")
    elif outcome is not None:
        conditions.append("outcome = ?")
        values.append(outcome)
    if model is not None:
        conditions.append("(model = ? OR endpoint = ?)")
        values += [model, model]
    return (f"WHERE {' AND '.join(conditions)}" if conditions else ""), values
