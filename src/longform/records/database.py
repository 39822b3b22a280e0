"""The database of a run: steps, rollouts with their verdicts, promotions, metrics, and texts stored once by hash.

Its file, `run.sqlite`, also holds the log of judge calls (records/calls.py). That log survives a rollback; everything here
that is newer than a checkpoint is rolled back with it, and a resumed run writes it again, identically.
"""

import hashlib
import json
import math
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

from longform.records.errors import BadInputError, StoppedError
from longform.records.migrations import open_tables
from longform.statistics.moments import AdvantageMoments


class ComparedText(NamedTuple):
    """A text of a judge's question about a group: a response or a reference of the ladder."""

    row: int | None
    """Of the response, in the same step; None for a reference."""
    rung: int | None = None
    """Of the reference; from the length of the ladder on it is an earlier response of the policy."""


@dataclass(frozen=True, slots=True)
class RolloutRecord:
    """One response of the policy in one step, with its verdict and reward."""

    step: int
    row: int
    prompt_id: str
    rung: int
    text: str
    reference: str
    """The text it was compared with."""
    tokens: int
    words: int
    """Of the answer."""
    think_words: int
    """Of the plan before it."""
    finish_reason: str
    outcome: str | None
    """win, tie, loss; None for a missing verdict."""
    cause: str | None
    """Why the reward is missing."""
    reward: float | None
    """The weighted mean of all rewards. None if one is missing: the rollout was masked."""
    scores: dict[str, float] | None = None
    """The score of each reward, by kind."""
    disagreement: float | None = None
    consistent: bool | None = None
    """Of a panel, and of a judge that was asked once more: see `rewards.judged.Rewarded`."""
    advantages: AdvantageMoments | None = None
    """PPO: of the advantages before whitening, with score 0 where there is no reward."""
    calls: tuple[str, ...] = ()
    """Request hashes of the judge calls behind the outcome."""
    compared: Mapping[str, Sequence[ComparedText]] | None = None
    """For calls that compare texts of the group: the texts by request hash, in the order in which the judge read them. None
    without such calls, and in runs that did not record it.
    """


@dataclass(frozen=True, slots=True)
class Promotion:
    """A prompt that reached `rung` with the update of `step`."""

    step: int
    prompt_id: str
    rung: int


@dataclass(frozen=True, slots=True)
class ValidationText:
    """The policy's response to a held-out prompt after `step`, with the examiner's grade; None if that is missing."""

    step: int
    prompt_id: str
    prompt: str
    text: str
    grade: float | None
    bare_grade: float | None = None
    """Its grade without the prompt's criteria, for the metrics of the step; it is not stored with the text."""
    cost: float | None = None
    """Of the examiner's calls, for the metrics of the step; None if it is unknown."""


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Name the file where what SQLite reads from it is damaged.

    Raises:
        BadInputError: it is; one line with the remedy.
    """
    try:
        yield
    except (sqlite3.DatabaseError, zlib.error, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise BadInputError(
            f"{path}: damaged: {error}; restore a copy, or save what can be read with `sqlite3 {path.name} .recover`"
        ) from error


def text_hash(text: str) -> str:
    """The key under which a text is stored: its SHA-256 in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


_MOMENTS = ("total", "squares", "tail")
_TEXTS = ("text", "reference")


def rollout_record(rollout: RolloutRecord) -> dict[str, Any]:
    """The columns of a rollout, without the hashes of its two texts."""
    columns = {field.name: getattr(rollout, field.name) for field in fields(rollout) if field.name not in _TEXTS}
    moments = columns.pop("advantages")
    columns |= {f"advantage_{name}": moments and getattr(moments, name) for name in _MOMENTS}
    packed = {name: json.dumps(getattr(rollout, name)) for name in ("scores", "calls")}
    return columns | packed | {"compared": json.dumps(rollout.compared) if rollout.compared else None}


def read_rollout(row: Mapping[str, Any] | sqlite3.Row) -> RolloutRecord:
    """The rollout of a row, which also holds its two texts, compressed; columns that are unknown here are skipped."""
    moments = [row[f"advantage_{name}"] for name in _MOMENTS]
    return RolloutRecord(
        step=row["step"],
        row=row["row"],
        prompt_id=row["prompt_id"],
        rung=row["rung"],
        text=zlib.decompress(row["text"]).decode(),
        reference=zlib.decompress(row["reference"]).decode(),
        tokens=row["tokens"],
        words=row["words"],
        think_words=row["think_words"],
        finish_reason=row["finish_reason"],
        outcome=row["outcome"],
        cause=row["cause"],
        reward=row["reward"],
        scores=json.loads(row["scores"]),
        disagreement=row["disagreement"],
        consistent=None if row["consistent"] is None else bool(row["consistent"]),
        advantages=None if None in moments else AdvantageMoments(row["tokens"], *moments),
        calls=tuple(json.loads(row["calls"])),
        compared=None if row["compared"] is None else _read_compared(row["compared"]),
    )


def _read_compared(stored: str) -> dict[str, list[ComparedText]]:
    return {call: [ComparedText(*text) for text in texts] for call, texts in json.loads(stored).items()}


_ROLLED_BACK = ("steps", "metrics", "rollouts", "promotions", "validations")


class RunDatabase:
    """One writer's connection to `run.sqlite`. Each step is one transaction.

    Args:
        path: of the file.
        create: create missing tables and migrate older ones. Otherwise the file is only read, and an older version is
            migrated in memory.

    Raises:
        BadInputError: the file cannot be opened, holds no run, or has a version that cannot be read.
    """

    def __init__(self, path: Path, *, create: bool = True) -> None:
        try:
            self._connection = _connect(path) if create else _connect_to_read(path)
            open_tables(self._connection, path, create=create)
        except sqlite3.Error as error:
            raise BadInputError(f"{path}: cannot be opened as a run database: {error}") from error
        self._connection.row_factory = sqlite3.Row
        self.path = path

    def close(self) -> None:
        """Close the connection; SQLite merges the write-ahead log into the file."""
        self._connection.close()

    def sync(self) -> None:
        """Flush all records to the disk: a checkpoint may refer to a stored text.

        Raises:
            StoppedError: the disk is full or the file cannot be written.
        """
        with self._writing("the log"):
            self._connection.execute("PRAGMA wal_checkpoint(FULL)")

    def fact(self, name: str) -> str | None:
        """A value stored once for the run."""
        found = self._read("SELECT value FROM facts WHERE name = ?", (name,))
        return found[0]["value"] if found else None

    def set_fact(self, name: str, value: str) -> None:
        """Store or replace a value of the run."""
        with self._writing(name) as db:
            _insert(db, "facts", name=name, value=value)

    def record_step(
        self,
        step: int,
        *,
        seconds: float,
        metrics: dict[str, float],
        rollouts: Iterable[RolloutRecord] = (),
        promotions: Iterable[Promotion] = (),
        validations: Iterable[ValidationText] = (),
    ) -> None:
        """Write everything of one step, or nothing.

        Raises:
            StoppedError: the disk is full or the file cannot be written.
        """
        with self._writing(f"step {step}") as db:
            _insert(db, "steps", step=step, seconds=seconds)
            self._write_metrics(db, step, metrics)
            for rollout in rollouts:
                hashes = {
                    "text_hash": self._store_text(rollout.text),
                    "reference_hash": self._store_text(rollout.reference),
                }
                _insert(db, "rollouts", **rollout_record(rollout), **hashes)
            for promotion in promotions:
                _insert(db, "promotions", **asdict(promotion))
            self._write_validations(db, validations)

    def extend_step(
        self,
        step: int,
        *,
        seconds: float = 0.0,
        metrics: dict[str, float],
        validations: Iterable[ValidationText] = (),
    ) -> None:
        """Add what was measured after a step was recorded; its seconds are added to those of the step.

        Raises:
            StoppedError: the disk is full or the file cannot be written.
        """
        with self._writing(f"step {step}") as db:
            more = (
                "INSERT INTO steps (step, seconds) VALUES (?, ?) "
                "ON CONFLICT (step) DO UPDATE SET seconds = seconds + excluded.seconds"
            )
            db.execute(more, (step, seconds))
            self._write_metrics(db, step, metrics)
            self._write_validations(db, validations)

    @staticmethod
    def _write_metrics(db: sqlite3.Connection, step: int, metrics: dict[str, float]) -> None:
        for name, value in metrics.items():
            if not math.isnan(value):
                _insert(db, "metrics", step=step, name=name, value=value)

    def _write_validations(self, db: sqlite3.Connection, validations: Iterable[ValidationText]) -> None:
        for validation in validations:
            record = asdict(validation)
            del record["bare_grade"], record["cost"]
            _insert(db, "validations", text_hash=self._store_text(record.pop("text")), **record)

    def roll_back_to(self, step: int) -> None:
        """Delete all steps after `step`. Judge calls stay: a resumed run asks for their answers again."""
        with self._writing("the rollback") as db:
            for table in _ROLLED_BACK:
                db.execute(f"DELETE FROM {table} WHERE step > ?", (step,))

    def last_step(self) -> int:
        """The last step on record; 0 before the first."""
        return self._read("SELECT COALESCE(MAX(step), 0) AS last FROM steps")[0]["last"]

    def metric(self, name: str) -> list[tuple[int, float]]:
        """(step, value) of one metric, in order."""
        rows = self._read("SELECT step, value FROM metrics WHERE name = ? ORDER BY step", (name,))
        return [(row["step"], row["value"]) for row in rows]

    def metrics(self) -> dict[str, list[tuple[int, float]]]:
        """(step, value) of every metric, by name, in order."""
        found: dict[str, list[tuple[int, float]]] = {}
        for row in self._read("SELECT name, step, value FROM metrics ORDER BY name, step"):
            found.setdefault(row["name"], []).append((row["step"], row["value"]))
        return found

    def metric_names(self, beginning: str) -> list[str]:
        """The names of metrics that begin with a text in ASCII, sorted; quicker than to read the metrics."""
        query = "SELECT DISTINCT name FROM metrics WHERE substr(name, 1, ?) = ? ORDER BY name"
        return [row["name"] for row in self._read(query, (len(beginning), beginning))]

    def seconds(self) -> float:
        """Seconds spent in the steps on record."""
        return self._read("SELECT COALESCE(SUM(seconds), 0) AS total FROM steps")[0]["total"]

    def step_seconds(self) -> list[float]:
        """Seconds of each step on record, in order; without step 0, which is no update."""
        return [row["seconds"] for row in self._read("SELECT seconds FROM steps WHERE step > 0 ORDER BY step")]

    def rollouts(
        self, *, step: int | None = None, row: int | None = None, prompt_id: str | None = None
    ) -> Iterator[RolloutRecord]:
        """Rollouts with their texts, by step and row; of one step, row or prompt where asked."""
        wanted = {"step": step, "row": row, "prompt_id": prompt_id}
        given = {name: value for name, value in wanted.items() if value is not None}
        where = f"WHERE {' AND '.join(f'{name} = :{name}' for name in given)} " if given else ""
        query = (
            "SELECT rollouts.*, response.body AS text, reference.body AS reference FROM rollouts "
            "JOIN texts AS response ON response.hash = text_hash "
            f"JOIN texts AS reference ON reference.hash = reference_hash {where}ORDER BY step, row"
        )
        with reading(self.path), closing(self._connection.execute(query, given)) as cursor:
            for found in cursor:
                yield read_rollout(found)

    def inconsistent_rollouts(self) -> set[tuple[int, int]]:
        """(step, row) of the rollouts about which a judge, asked again, changed its mind."""
        return {(row["step"], row["row"]) for row in self._read("SELECT step, row FROM rollouts WHERE consistent = 0")}

    def blank_references(self) -> set[tuple[int, int]]:
        """(step, row) of the rollouts whose reference is empty or white space."""
        query = "SELECT hash, body FROM texts WHERE hash IN (SELECT DISTINCT reference_hash FROM rollouts)"
        with reading(self.path):
            references = self._read(query)
            blank = [it["hash"] for it in references if not zlib.decompress(it["body"]).decode().strip()]
        return {
            (row["step"], row["row"])
            for it in blank
            for row in self._read("SELECT step, row FROM rollouts WHERE reference_hash = ?", (it,))
        }

    def validations(self, step: int) -> list[ValidationText]:
        """The validation texts of one step, by prompt."""
        query = (
            "SELECT step, prompt_id, prompt, body, grade FROM validations JOIN texts ON hash = text_hash "
            "WHERE step = ? ORDER BY prompt_id"
        )
        with reading(self.path):
            return [
                ValidationText(
                    step=row["step"],
                    prompt_id=row["prompt_id"],
                    prompt=row["prompt"],
                    text=zlib.decompress(row["body"]).decode(),
                    grade=row["grade"],
                )
                for row in self._read(query, (step,))
            ]

    def text(self, digest: str) -> str:
        """The text that is stored under a hash, which must exist."""
        with reading(self.path):
            return zlib.decompress(self._read("SELECT body FROM texts WHERE hash = ?", (digest,))[0]["body"]).decode()

    def promotions(self) -> list[Promotion]:
        """All promotions, by step and prompt."""
        query = "SELECT step, prompt_id, rung FROM promotions ORDER BY step, prompt_id"
        return [Promotion(**dict(row)) for row in self._read(query)]

    def _read(self, query: str, values: tuple[Any, ...] = ()) -> list[sqlite3.Row]:
        """The rows of a query.

        Raises:
            BadInputError: the file is damaged.
        """
        with reading(self.path):
            return self._connection.execute(query, values).fetchall()

    @contextmanager
    def _writing(self, what: str) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it or nothing.

        Raises:
            StoppedError: the disk is full, or the file cannot be written.
        """
        try:
            with self._connection as db:
                yield db
        except sqlite3.Error as error:
            raise StoppedError(f"{self.path}: {what} cannot be written: {error}") from error

    def _store_text(self, text: str) -> str:
        digest, known = text_hash(text), "SELECT 1 FROM texts WHERE hash = ?"
        if self._connection.execute(known, (digest,)).fetchone() is None:
            body = zlib.compress(text.encode())
            self._connection.execute("INSERT OR IGNORE INTO texts (hash, body) VALUES (?, ?)", (digest, body))
        return digest


def _insert(db: sqlite3.Connection, table: str, **row: Any) -> None:
    """Insert or replace a row, by the names of its columns."""
    names, places = ", ".join(row), ", ".join(f":{name}" for name in row)
    db.execute(f"INSERT OR REPLACE INTO {table} ({names}) VALUES ({places})", row)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=30, check_same_thread=False)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    return connection


def _connect_to_read(path: Path) -> sqlite3.Connection:
    """A reader's connection. It shares the write-ahead log with a run's writer, unless the folder is read-only."""
    connection = sqlite3.connect(path, timeout=30, check_same_thread=False)
    try:
        connection.execute("SELECT 1 FROM sqlite_master")
        return connection
    except sqlite3.OperationalError:
        connection.close()
        return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True, check_same_thread=False)
