"""The log of calls to endpoints: every attempt with its tokens, cost and latency, and every answer.

A recorded answer is never requested again, and the log survives a rollback of the run: after a crash at most the calls in
flight are paid for twice. API keys are never recorded.
"""

import json
import secrets
import sqlite3
import threading
import zlib
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from longform.records.database import reading
from longform.records.errors import BadInputError, StoppedError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS calls (
    id INTEGER PRIMARY KEY, request_hash TEXT NOT NULL, attempt INTEGER NOT NULL, endpoint TEXT NOT NULL,
    model TEXT NOT NULL, outcome TEXT NOT NULL, prompt_tokens INTEGER, completion_tokens INTEGER, cost REAL,
    latency_seconds REAL NOT NULL, text BLOB NOT NULL, finish_reason TEXT, thoughts BLOB NOT NULL DEFAULT x'',
    thought_tokens INTEGER, cached_tokens INTEGER, is_estimated INTEGER NOT NULL DEFAULT 0, served_model TEXT,
    message TEXT NOT NULL DEFAULT '');
CREATE TABLE IF NOT EXISTS secret (id INTEGER PRIMARY KEY CHECK (id = 1), value BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS answered_calls ON calls (request_hash) WHERE outcome = 'ok';

"""
_INDEX = "CREATE INDEX IF NOT EXISTS requested_calls ON calls (request_hash)"


class _AddedColumn(NamedTuple):
    kind: str
    default: str


_ADDED_COLUMNS = {
    "thoughts": _AddedColumn("BLOB NOT NULL DEFAULT x''", "x''"),
    "thought_tokens": _AddedColumn("INTEGER", "NULL"),
    "cached_tokens": _AddedColumn("INTEGER", "NULL"),
    "is_estimated": _AddedColumn("INTEGER NOT NULL DEFAULT 0", "0"),
    "served_model": _AddedColumn("TEXT", "NULL"),
    "message": _AddedColumn("TEXT NOT NULL DEFAULT ''", "''"),
}
"""Columns that logs of version 0.1 lack."""
_TOTALS = """
SELECT COUNT(*), COALESCE(SUM(outcome = 'ok'), 0), COALESCE(SUM(prompt_tokens), 0),
    COALESCE(SUM(completion_tokens), 0), COALESCE(SUM(thought_tokens), 0), COALESCE(SUM(cost), 0.0),
    COALESCE(SUM(cost IS NULL), 0), COALESCE(SUM(is_estimated AND cost IS NOT NULL), 0)
FROM (SELECT {columns} FROM calls)
"""


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One HTTP attempt at a request, answered or failed."""

    request_hash: str
    attempt: int
    """Number of the attempt at one request, from 1."""
    endpoint: str
    model: str
    """As it was asked for."""
    outcome: str
    """`ok`, or the reason of the failure: a cause of `longform.endpoints.errors.EndpointError`, or `fatal`."""
    prompt_tokens: int | None
    completion_tokens: int | None
    """Thoughts included."""
    cost: float | None
    """None without prices in models.yaml."""
    latency_seconds: float
    text: str
    """Without thoughts."""
    finish_reason: str | None
    thoughts: str = ""
    thought_tokens: int | None = None
    """None if the endpoint does not count them."""
    cached_tokens: int | None = None
    """Of the prompt's, those that the endpoint had in its cache."""
    is_estimated: bool = False
    """Whether tokens and cost are estimated, because the endpoint did not state them."""
    served_model: str | None = None
    """The model that answered, as the endpoint names it, with its fingerprint."""
    message: str = ""
    """Of a failure, in the provider's words."""


@dataclass(frozen=True, slots=True)
class ChatAnswer:
    """A model's answer to one chat request."""

    text: str
    """Without thoughts."""
    finish_reason: str | None
    """`length` if the answer was cut off."""
    prompt_tokens: int | None
    completion_tokens: int | None
    """Thoughts included."""
    cost: float | None
    """Cost of the original call; None without prices in models.yaml."""
    cached: bool
    """The answer was free: it was recorded, or an equal request was in flight."""
    request_hash: str
    thoughts: str = ""
    """What a reasoning model wrote before its answer."""
    thought_tokens: int | None = None
    """None if the endpoint does not count them."""

    @classmethod
    def of(cls, call: CallRecord, *, cached: bool = False) -> "ChatAnswer":
        """The answer of a call."""
        return cls(
            text=call.text,
            finish_reason=call.finish_reason,
            prompt_tokens=call.prompt_tokens,
            completion_tokens=call.completion_tokens,
            cost=call.cost,
            cached=cached,
            request_hash=call.request_hash,
            thoughts=call.thoughts,
            thought_tokens=call.thought_tokens,
        )


class RecordedBatch(NamedTuple):
    """A batch of requests that was begun and has not ended."""

    tag: str
    """By which the endpoint's batch is found again."""
    batch_id: str | None
    """That the endpoint gave it; None if it is not known to have been created."""
    hashes: list[str]
    """Of its requests."""


class CallTotals(NamedTuple):
    """Totals of a log."""

    calls: int
    answered: int
    prompt_tokens: int
    completion_tokens: int
    thought_tokens: int
    cost: float
    """Sum of the known and the estimated costs."""
    unknown_costs: int
    """Calls without a price, which are not in the sum."""
    estimated_costs: int
    """Calls whose tokens were estimated, because the endpoint did not state them."""

    @property
    def shown_cost(self) -> str:
        """The cost for people, with the number of unknown ones."""
        if self.calls and self.unknown_costs == self.calls:
            return f"unknown ({self.calls} calls; models.yaml has no prices for them)"
        unknown = f", {self.unknown_costs} of unknown cost" if self.unknown_costs else ""
        estimated = f", {self.estimated_costs} estimated" if self.estimated_costs else ""
        return f"{self.cost:.4f} ({self.calls} calls{unknown}{estimated})"


class CallLog(Protocol):
    """Where an endpoint records calls and looks up recorded answers."""

    def find(self, request_hash: str) -> ChatAnswer | None:
        """The recorded answer to a request, or None."""
        ...

    def find_cut_off(self, request_hash: str) -> str | None:
        """Why the answer to a request was cut off before any text, if its last attempt was; else None."""
        ...

    def record(self, call: CallRecord) -> None:
        """Add one attempt durably."""
        ...

    def totals(self) -> CallTotals:
        """Calls, tokens and cost over the whole log."""
        ...


class MemoryCallLog:
    """A call log that lives as long as its process."""

    def __init__(self) -> None:
        self.calls: list[CallRecord] = []
        self._answers: dict[str, ChatAnswer] = {}

    def find(self, request_hash: str) -> ChatAnswer | None:
        """The recorded answer to a request, or None."""
        return self._answers.get(request_hash)

    def find_cut_off(self, request_hash: str) -> str | None:
        """Why the answer to a request was cut off before any text, if its last attempt was; else None."""
        last = next((it for it in reversed(self.calls) if it.request_hash == request_hash), None)
        return last.message if last is not None and last.outcome == "cut_off" else None

    def record(self, call: CallRecord) -> None:
        """Add one attempt."""
        self.calls.append(call)
        if call.outcome == "ok":
            self._answers.setdefault(call.request_hash, ChatAnswer.of(call, cached=True))

    def totals(self) -> CallTotals:
        """Calls, tokens and cost over the whole log."""
        return _totals(list(self.calls))


class LayeredCallLog:
    """Finds answers in two logs and writes only to the second, so that a replay leaves its run unchanged."""

    def __init__(self, finished: CallLog, growing: CallLog) -> None:
        self._finished, self._growing = finished, growing
        self._made: list[CallRecord] = []

    def find(self, request_hash: str) -> ChatAnswer | None:
        """The recorded answer to a request, preferably of the finished log; or None."""
        return self._finished.find(request_hash) or self._growing.find(request_hash)

    def find_cut_off(self, request_hash: str) -> str | None:
        """Why the answer to a request was cut off before any text, if its last attempt was; else None."""
        return self._finished.find_cut_off(request_hash) or self._growing.find_cut_off(request_hash)

    def record(self, call: CallRecord) -> None:
        """Add one attempt to the growing log."""
        self._growing.record(call)
        self._made.append(replace(call, text="", thoughts=""))

    def totals(self) -> CallTotals:
        """Totals of the calls made through this object only."""
        return _totals(self._made)


class SqliteCallLog:
    """A call log in its own tables of an SQLite file, which may be the `run.sqlite` of a run.

    One connection behind a lock, shared by the judge thread and the training loop; each record is one commit.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        self._is_current = False
        """Whether the table has all columns and indices."""
        try:
            self._connection = sqlite3.connect(self.path, timeout=30, check_same_thread=False)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=NORMAL")
            self._columns = self._read_columns()
            if not self._columns:
                self._connection.executescript(_SCHEMA)
                self._columns = self._read_columns()
        except sqlite3.Error as error:
            raise BadInputError(f"{path}: cannot be opened as a log of calls: {error}") from error

    def __enter__(self) -> "SqliteCallLog":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; SQLite merges the write-ahead log into the file."""
        self._connection.close()

    def _read_columns(self) -> frozenset[str]:
        """The columns of the table; empty if there is none."""
        return frozenset(row[1] for row in self._connection.execute("PRAGMA table_info(calls)"))

    def _select(self, names: Iterable[str]) -> str:
        """The columns of a query; for those that a log of version 0.1 lacks, what stands for them."""
        return ", ".join(
            name if name in self._columns else f"{_ADDED_COLUMNS[name].default} AS {name}" for name in names
        )

    def _upgrade(self) -> None:
        """Bring the table of an older version to this one, before the first row is written: reading changes nothing."""
        for name, column in _ADDED_COLUMNS.items():
            if name not in self._columns:
                self._connection.execute(f"ALTER TABLE calls ADD COLUMN {name} {column.kind}")
        self._connection.execute(_INDEX)
        self._columns = self._read_columns()

    def secret(self) -> bytes:
        """The secret behind the fences in judge prompts: random, created once and stored with the calls, so that a repeated
        question is the same request. It does not depend on a seed, which the author of a text could know.
        """
        try:
            with self._lock, self._connection:
                known = self._connection.execute("SELECT value FROM secret").fetchone()
                if known is None:
                    self._connection.execute(
                        "INSERT OR IGNORE INTO secret (id, value) VALUES (1, ?)", (secrets.token_bytes(16),)
                    )
                    known = self._connection.execute("SELECT value FROM secret").fetchone()
                return known[0]
        except sqlite3.Error as error:
            raise StoppedError(f"{self.path}: cannot be written: {error}") from error

    def find(self, request_hash: str) -> ChatAnswer | None:
        """The recorded answer to a request, or None."""
        names = ["text", "thoughts", "finish_reason", "prompt_tokens", "completion_tokens", "cost", "thought_tokens"]
        query = f"SELECT {self._select(names)} FROM calls WHERE request_hash = ? AND outcome = 'ok' LIMIT 1"
        with self._lock, reading(self.path):
            found = self._connection.execute(query, (request_hash,)).fetchone()
            if found is None:
                return None
            text, thoughts, finish_reason, prompt_tokens, completion_tokens, cost, thought_tokens = found
            return ChatAnswer(
                text=unpack_text(text),
                finish_reason=finish_reason,
                prompt_tokens=prompt_tokens,
                completion_tokens=completion_tokens,
                cost=cost,
                cached=True,
                request_hash=request_hash,
                thoughts=unpack_text(thoughts),
                thought_tokens=thought_tokens,
            )

    def read(self, endpoint: str) -> list[CallRecord]:
        """All calls to an endpoint, in their order."""
        names = [it.name for it in fields(CallRecord)]
        query = f"SELECT {self._select(names)} FROM calls WHERE endpoint = ? ORDER BY id"
        with self._lock, reading(self.path):
            rows = [dict(zip(names, row, strict=True)) for row in self._connection.execute(query, (endpoint,))]
            for row in rows:
                row |= {"text": unpack_text(row["text"]), "thoughts": unpack_text(row["thoughts"])}
                row["is_estimated"] = bool(row["is_estimated"])
        return [CallRecord(**row) for row in rows]

    def find_cut_off(self, request_hash: str) -> str | None:
        """Why the answer to a request was cut off before any text, if its last attempt was; else None."""
        query = (
            f"SELECT {self._select(['outcome', 'message'])} FROM calls WHERE request_hash = ? ORDER BY id DESC LIMIT 1"
        )
        with self._lock, reading(self.path):
            last = self._connection.execute(query, (request_hash,)).fetchone()
        return last[1] if last is not None and last[0] == "cut_off" else None

    def record(self, call: CallRecord) -> None:
        """Add one attempt and commit it.

        Raises:
            StoppedError: the disk is full or the file cannot be written.
        """
        row = asdict(call) | {"text": _pack(call.text), "thoughts": _pack(call.thoughts)}
        query = f"INSERT INTO calls ({', '.join(row)}) VALUES ({', '.join(f':{name}' for name in row)})"
        try:
            with self._lock, self._connection:
                if not self._is_current:
                    self._upgrade()
                    self._is_current = True
                self._connection.execute(query, row)
        except sqlite3.Error as error:
            raise StoppedError(f"{self.path}: a call cannot be recorded: {error}") from error

    def begin_batch(self, tag: str, hashes: list[str]) -> None:
        """Record a batch before it is submitted."""
        self._change_batches("INSERT INTO batches VALUES (?, NULL, ?)", tag, _pack(json.dumps(hashes)))

    def set_batch_id(self, tag: str, batch_id: str) -> None:
        """Record the id that the endpoint gave a batch."""
        self._change_batches("UPDATE batches SET batch_id = ? WHERE tag = ?", batch_id, tag)

    def end_batch(self, tag: str) -> None:
        """Record that the answers of a batch were fetched, or that it will not be submitted."""
        self._change_batches("DELETE FROM batches WHERE tag = ?", tag)

    def open_batches(self) -> list[RecordedBatch]:
        """The batches that were begun and have not ended."""
        with self._lock:
            if not self._connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'batches'").fetchone():
                return []
            rows = self._connection.execute("SELECT tag, batch_id, hashes FROM batches").fetchall()
        return [RecordedBatch(tag, batch_id, json.loads(unpack_text(hashes))) for tag, batch_id, hashes in rows]

    def _change_batches(self, query: str, *values: Any) -> None:
        """Change the table of open batches and commit.

        Raises:
            StoppedError: the file cannot be written.
        """
        try:
            with self._lock, self._connection:
                self._connection.execute(
                    "CREATE TABLE IF NOT EXISTS batches (tag TEXT PRIMARY KEY, batch_id TEXT, hashes BLOB NOT NULL)"
                )
                self._connection.execute(query, values)
        except sqlite3.Error as error:
            raise StoppedError(f"{self.path}: a batch cannot be recorded: {error}") from error

    def totals(self) -> CallTotals:
        """Calls, tokens and cost over the whole log."""
        with self._lock, reading(self.path):
            names = ["outcome", "prompt_tokens", "completion_tokens", "cost", "thought_tokens", "is_estimated"]
            query = _TOTALS.format(columns=self._select(names))
            return CallTotals(*self._connection.execute(query).fetchone())


def models_called(path: Path, endpoints: Iterable[str]) -> dict[str, str]:
    """The model of the last answered call to each of `endpoints`, without those that never answered."""
    query = "SELECT model FROM calls WHERE endpoint = ? AND outcome = 'ok' ORDER BY id DESC LIMIT 1"
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            found = {name: connection.execute(query, (name,)).fetchone() for name in sorted(endpoints)}
    except sqlite3.Error:
        return {}  # a run without calls has no such table
    return {name: row[0] for name, row in found.items() if row is not None}


def _totals(calls: Sequence[CallRecord]) -> CallTotals:
    return CallTotals(
        calls=len(calls),
        answered=sum(call.outcome == "ok" for call in calls),
        prompt_tokens=sum(call.prompt_tokens or 0 for call in calls),
        completion_tokens=sum(call.completion_tokens or 0 for call in calls),
        thought_tokens=sum(call.thought_tokens or 0 for call in calls),
        cost=sum(call.cost or 0.0 for call in calls),
        unknown_costs=sum(call.cost is None for call in calls),
        estimated_costs=sum(call.is_estimated and call.cost is not None for call in calls),
    )


def unpack_text(stored: bytes) -> str:
    """A text of the log, which is stored compressed."""
    return zlib.decompress(stored).decode() if stored else ""


def _pack(text: str) -> bytes:
    return zlib.compress(text.encode()) if text else b""
