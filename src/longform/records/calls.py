"""The log of calls to endpoints: every attempt with its tokens, cost and latency, and the answers that came back.

An answer in the log is never requested again, so the log outlives a rollback of the run: after a crash at most the
calls that were in flight are paid for twice. Keys of endpoints never get here.
"""

import secrets
import sqlite3
import threading
import zlib
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple, Protocol

from longform.records.errors import BadInputError, StoppedError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS calls (
    id INTEGER PRIMARY KEY, request_hash TEXT NOT NULL, attempt INTEGER NOT NULL, endpoint TEXT NOT NULL,
    model TEXT NOT NULL, outcome TEXT NOT NULL, prompt_tokens INTEGER, completion_tokens INTEGER, cost REAL,
    latency_seconds REAL NOT NULL, text BLOB NOT NULL, finish_reason TEXT);
CREATE TABLE IF NOT EXISTS secret (id INTEGER PRIMARY KEY CHECK (id = 1), value BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS answered_calls ON calls (request_hash) WHERE outcome = 'ok';
"""
_TOTALS = """
SELECT COUNT(*), COALESCE(SUM(outcome = 'ok'), 0), COALESCE(SUM(prompt_tokens), 0),
    COALESCE(SUM(completion_tokens), 0), COALESCE(SUM(cost), 0.0), COALESCE(SUM(cost IS NULL), 0)
FROM calls
"""


@dataclass(frozen=True, slots=True)
class ChatAnswer:
    """A model's answer to one chat request."""

    text: str
    finish_reason: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    cost: float | None
    """What the answer cost when it was first given; None where the price or the usage is not known."""
    cached: bool
    """True for an answer that this request did not pay for: it was on record, or an equal request was in flight."""
    request_hash: str


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One HTTP attempt at a request, answered or failed."""

    request_hash: str
    attempt: int
    """Counts the tries of one request, from 1."""
    endpoint: str
    model: str
    outcome: str
    """`ok`, or why it failed: a cause of `longform.endpoints.errors.EndpointError`, or `fatal`."""
    prompt_tokens: int | None
    completion_tokens: int | None
    cost: float | None
    """None where it could not be known: no price, no usage reported, or cut off before the answer came."""
    latency_seconds: float
    text: str
    finish_reason: str | None


class CallTotals(NamedTuple):
    """What all calls of a log amount to."""

    calls: int
    answered: int
    prompt_tokens: int
    completion_tokens: int
    cost: float
    """Sum of the known costs."""
    unknown_costs: int
    """Calls whose cost is not in the sum because it could not be known."""

    @property
    def shown_cost(self) -> str:
        """The cost in words, with what is not known about it."""
        if self.calls and self.unknown_costs == self.calls:
            return f"unknown ({self.calls} calls; models.yaml has no prices for them)"
        unknown = f", {self.unknown_costs} of unknown cost" if self.unknown_costs else ""
        return f"{self.cost:.4f} ({self.calls} calls{unknown})"


class CallLog(Protocol):
    """Where an endpoint records its calls and looks for answers that it already has."""

    def find(self, request_hash: str) -> ChatAnswer | None:
        """The recorded answer to a request, or None."""
        ...

    def record(self, call: CallRecord) -> None:
        """Add one attempt; it survives the death of the process from here on."""
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

    def record(self, call: CallRecord) -> None:
        """Add one attempt."""
        self.calls.append(call)
        if call.outcome == "ok":
            self._answers.setdefault(call.request_hash, _answer(call))

    def totals(self) -> CallTotals:
        """Calls, tokens and cost over the whole log."""
        return _totals(list(self.calls))


class LayeredCallLog:
    """Finds answers in two logs and writes to the second alone: what is asked beside a run leaves the run as it was."""

    def __init__(self, finished: CallLog, growing: CallLog) -> None:
        self._finished, self._growing = finished, growing
        self._made: list[CallRecord] = []

    def find(self, request_hash: str) -> ChatAnswer | None:
        """The recorded answer to a request, of the finished log where both have one; or None."""
        return self._finished.find(request_hash) or self._growing.find(request_hash)

    def record(self, call: CallRecord) -> None:
        """Add one attempt to the growing log."""
        self._growing.record(call)
        self._made.append(replace(call, text=""))

    def totals(self) -> CallTotals:
        """Of the calls that were made through this log, not of those that either log held before."""
        return _totals(self._made)


class SqliteCallLog:
    """A call log in an SQLite file, which may be a run's `run.sqlite`: it keeps to a table of its own.

    One connection behind a lock, so that a judge thread and the training loop can share it; each record is a commit.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        try:
            self._connection = sqlite3.connect(self.path, timeout=30, check_same_thread=False)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=NORMAL")
            self._connection.executescript(_SCHEMA)
        except sqlite3.Error as error:
            raise BadInputError(f"{path}: cannot be opened as a log of calls: {error}") from error

    def __enter__(self) -> "SqliteCallLog":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the write-ahead log is folded in."""
        self._connection.close()

    def secret(self) -> bytes:
        """The secret behind the judge's fences: random, made once and kept with the calls, so that a repeated question is
        the same question. It is not a function of a seed, which whoever wrote the texts could know.
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
        query = (
            "SELECT text, finish_reason, prompt_tokens, completion_tokens, cost FROM calls "
            "WHERE request_hash = ? AND outcome = 'ok' LIMIT 1"
        )
        with self._lock:
            found = self._connection.execute(query, (request_hash,)).fetchone()
        if found is None:
            return None
        return ChatAnswer(zlib.decompress(found[0]).decode(), *found[1:], cached=True, request_hash=request_hash)

    def record(self, call: CallRecord) -> None:
        """Add one attempt and commit it.

        Raises:
            StoppedError: the disk is full or the file cannot be written.
        """
        row = asdict(call) | {"text": zlib.compress(call.text.encode())}
        query = f"INSERT INTO calls ({', '.join(row)}) VALUES ({', '.join(f':{name}' for name in row)})"
        try:
            with self._lock, self._connection:
                self._connection.execute(query, row)
        except sqlite3.Error as error:
            raise StoppedError(f"{self.path}: a call cannot be recorded: {error}") from error

    def totals(self) -> CallTotals:
        """Calls, tokens and cost over the whole log."""
        with self._lock:
            return CallTotals(*self._connection.execute(_TOTALS).fetchone())


def models_called(path: Path, endpoints: Iterable[str]) -> dict[str, str]:
    """The model that the last answered call to each of `endpoints` went to; without those that never answered."""
    query = "SELECT model FROM calls WHERE endpoint = ? AND outcome = 'ok' ORDER BY id DESC LIMIT 1"
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            found = {name: connection.execute(query, (name,)).fetchone() for name in sorted(endpoints)}
    except sqlite3.Error:
        return {}  # a run that has called nobody has no table of calls
    return {name: row[0] for name, row in found.items() if row is not None}


def _totals(calls: Sequence[CallRecord]) -> CallTotals:
    return CallTotals(
        calls=len(calls),
        answered=sum(call.outcome == "ok" for call in calls),
        prompt_tokens=sum(call.prompt_tokens or 0 for call in calls),
        completion_tokens=sum(call.completion_tokens or 0 for call in calls),
        cost=sum(call.cost or 0.0 for call in calls),
        unknown_costs=sum(call.cost is None for call in calls),
    )


def _answer(call: CallRecord) -> ChatAnswer:
    return ChatAnswer(
        text=call.text,
        finish_reason=call.finish_reason,
        prompt_tokens=call.prompt_tokens,
        completion_tokens=call.completion_tokens,
        cost=call.cost,
        cached=True,
        request_hash=call.request_hash,
    )
