"""Finding the rollouts of a run: by step, prompt, outcome, reward, length and disagreement, and by words of the responses.

Conditions alone are looked up in `run.sqlite`. Words need an index: `RolloutIndex` is a file of its own beside the run
(`index.sqlite`), which any reader may build, extend and delete; the run itself is only read.

The index has the words of whole responses, plans and thoughts included. Each Chinese character and each kana is a word,
so a query of several of them is a phrase; accents and case make no difference.
"""

import os
import re
import sqlite3
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from longform.records.database import reading
from longform.records.errors import BadInputError

Sorting = Literal["step", "latest", "reward", "-reward", "words", "-words", "-disagreement"]
MAX_COUNT = 100_000
"""Matches are counted up to here."""
INDEX_NAME = "index.sqlite"
_VERSION = 1
_BATCH = 2_000
_ORDER: dict[Sorting, str] = {
    "step": "step, row",
    "latest": "step DESC, row",
    "reward": "reward IS NULL, reward, step, row",
    "-reward": "reward IS NULL, reward DESC, step, row",
    "words": "words, step, row",
    "-words": "words DESC, step, row",
    "-disagreement": "disagreement IS NULL, disagreement DESC, step, row",
}
_COLUMNS = "step, row, prompt_id, rung, outcome, cause, reward, words, disagreement"
_SCHEMA = f"""
CREATE TABLE state (version INTEGER NOT NULL);
INSERT INTO state VALUES ({_VERSION});
CREATE TABLE rollouts (
    id INTEGER PRIMARY KEY, step INTEGER NOT NULL, row INTEGER NOT NULL, prompt_id TEXT NOT NULL, rung INTEGER NOT NULL,
    outcome TEXT, cause TEXT, reward REAL, words INTEGER NOT NULL, disagreement REAL, text_hash TEXT NOT NULL);
CREATE UNIQUE INDEX by_place ON rollouts (step, row);
CREATE INDEX by_prompt ON rollouts (prompt_id, step, row);
CREATE INDEX by_reward ON rollouts (reward, step, row);
CREATE INDEX by_words ON rollouts (words, step, row);
CREATE INDEX by_disagreement ON rollouts (disagreement, step, row) WHERE disagreement IS NOT NULL;
CREATE VIRTUAL TABLE responses USING fts5 (text, content='', tokenize="unicode61 remove_diacritics 2");
"""
_IDEOGRAPH = re.compile(r"([\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff])")
_QUOTED_OR_WORD = re.compile(r'"([^"]*)"|(\S+)')


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutFilter:
    """Which rollouts are looked for; a field that is None allows any."""

    first_step: int | None = None
    last_step: int | None = None
    prompt_id: str | None = None
    outcome: Literal["win", "tie", "loss", "none"] | None = None
    """`none`: no outcome."""
    cause: str | None = None
    """Of a missing reward; `any`: whatever the cause."""
    min_reward: float | None = None
    max_reward: float | None = None
    min_words: int | None = None
    max_words: int | None = None
    min_disagreement: float | None = None
    text: str = ""
    """Words that the response has, in any order; a phrase in double quotes."""
    sort: Sorting = "step"


class RolloutFacts(NamedTuple):
    """A rollout without its texts."""

    step: int
    row: int
    prompt_id: str
    rung: int
    outcome: str | None
    cause: str | None
    reward: float | None
    words: int
    disagreement: float | None


class FoundRollouts(NamedTuple):
    """One page of what was found."""

    rollouts: list[RolloutFacts]
    total: int
    """Number of all matches, at most `MAX_COUNT`."""


def find_rollouts(run: Path, wanted: RolloutFilter, *, offset: int = 0, limit: int = 50) -> FoundRollouts:
    """The rollouts of a run that fulfil the conditions.

    Args:
        run: Run directory.
        wanted: Conditions. With `text`, only rollouts that the index has are found.
        offset, limit: The page; a limit of -1 has no end.

    Raises:
        BadInputError: text is looked for and there is no index yet, or a file is damaged.
    """
    index, query = run / INDEX_NAME, words_query(wanted.text)
    if _is_current(index):
        try:
            return _find(index, query, wanted, offset=offset, limit=limit)
        except BadInputError:
            _remove(index)  # it is damaged, and can be built again
    if query:
        raise BadInputError(f"{run}: the texts are not indexed yet; search again in a moment")
    return _find(run / "run.sqlite", "", wanted, offset=offset, limit=limit)


def _find(path: Path, query: str, wanted: RolloutFilter, *, offset: int, limit: int) -> FoundRollouts:
    """Find rollouts in an index, or without words in the run's database.

    Raises:
        BadInputError: the file is damaged.
    """
    conditions, values = _conditions(wanted)
    table, order = "rollouts", _ORDER[wanted.sort]
    with reading(path), closing(_connect_to_read(path)) as connection:
        if query and not conditions and wanted.sort == "step":  # the full-text index has this order: nothing to sort
            table, order = "responses JOIN rollouts ON rollouts.id = responses.rowid", "rollouts.id"
            conditions, values = ["responses MATCH ?"], [query]
        elif query:  # SQLite cannot know how many match, and may look each rollout up in the full-text index
            connection.execute("CREATE TEMP TABLE hits (id INTEGER PRIMARY KEY)")
            connection.execute("INSERT INTO hits SELECT rowid FROM responses WHERE responses MATCH ?", (query,))
            conditions.append("id IN (SELECT id FROM hits)")
        where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        page = f"SELECT {_COLUMNS} FROM {table} {where} ORDER BY {order} LIMIT ? OFFSET ?"
        count = f"SELECT COUNT(*) FROM (SELECT 1 FROM {table} {where} LIMIT {MAX_COUNT})"
        rows = connection.execute(page, (*values, limit, offset)).fetchall()
        (total,) = connection.execute(count, values).fetchone()
    return FoundRollouts([RolloutFacts(*row) for row in rows], total)


def words_query(text: str) -> str:
    """The query of the full-text index for what a person typed; empty if that has no word."""
    phrases = [quoted or word for quoted, word in _QUOTED_OR_WORD.findall(text)]
    spaced = [" ".join(_spaced(phrase).replace('"', " ").split()) for phrase in phrases]
    return " ".join(f'"{phrase}"' for phrase in spaced if any(map(str.isalnum, phrase)))


class RolloutIndex:
    """The index of one run's responses.

    Args:
        run: Run directory.
    """

    def __init__(self, run: Path) -> None:
        self._run = run
        self.path = run / INDEX_NAME
        self._building = threading.Lock()

    def share(self) -> float:
        """The share of the run's rollouts that the index has, 0 to 1."""
        source = self._run / "run.sqlite"
        latest = "SELECT step, row FROM rollouts ORDER BY step DESC, row DESC LIMIT 1"
        count = "SELECT COUNT(*) FROM rollouts"
        with reading(source), closing(_connect_to_read(source)) as run:
            last = run.execute(latest).fetchone()
            if last is None:
                return 1.0
            if not _is_current(self.path):
                return 0.0
            with closing(_connect_to_read(self.path)) as index:
                if index.execute(latest).fetchone() == last:
                    return 1.0
                return min(0.99, index.execute(count).fetchone()[0] / run.execute(count).fetchone()[0])

    def update(self, *, is_wanted: Callable[[], bool] = lambda: True) -> int:
        """Add the rollouts that are not in the index yet; the number of them. Does nothing while another thread does it.

        Several processes may do this at once. An index of another version, or of records that were rolled back since, is
        begun anew.

        Args:
            is_wanted: asked after each batch; the update ends when it returns False.

        Raises:
            BadInputError: the index cannot be written, or the run is damaged.
        """
        if not self._building.acquire(blocking=False):
            return 0
        try:
            return sum(self._batches(is_wanted))
        except (sqlite3.OperationalError, OSError) as error:
            raise BadInputError(f"{self.path}: cannot be written: {error}") from error
        except sqlite3.DatabaseError:
            _remove(self.path)
            return 0  # it was damaged; the next update begins anew
        finally:
            self._building.release()

    def _batches(self, is_wanted: Callable[[], bool]) -> Iterator[int]:
        with closing(_connect_to_read(self._run / "run.sqlite")) as run:
            if not _is_current(self.path) or self._is_outdated(run):
                self._begin()
            with closing(sqlite3.connect(self.path, timeout=30, isolation_level=None)) as index:
                index.execute("PRAGMA synchronous=OFF")  # what a crash damages is built again
                while is_wanted():
                    added = self._add_batch(run, index)
                    yield added
                    if not added:
                        return
                    time.sleep(0)  # other threads answer requests meanwhile

    def _begin(self) -> None:
        """An empty index in place of any other."""
        new = self.path.with_name(f"{INDEX_NAME}.{os.getpid()}")
        new.unlink(missing_ok=True)
        _remove(self.path)
        with closing(sqlite3.connect(new)) as connection:
            connection.executescript(_SCHEMA)
        new.replace(self.path)
        with closing(sqlite3.connect(self.path)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")  # not before: its log would keep the other name

    def _is_outdated(self, run: sqlite3.Connection) -> bool:
        """Whether the index has rollouts that the run has not, or has with another text."""
        with closing(_connect_to_read(self.path)) as index:
            firsts = "SELECT step, text_hash FROM rollouts WHERE row = 0 ORDER BY step"
            indexed = dict(index.execute(firsts).fetchall())
            last = index.execute("SELECT step, row, text_hash FROM rollouts ORDER BY id DESC LIMIT 1").fetchone()
        if last is None:
            return False
        recorded = run.execute("SELECT text_hash FROM rollouts WHERE step = ? AND row = ?", last[:2]).fetchone()
        if recorded is None or recorded[0] != last[2]:
            return True
        return any(
            found != indexed.get(step, found)
            for step, found in run.execute("SELECT step, text_hash FROM rollouts WHERE row = 0")
        )

    @staticmethod
    def _add_batch(run: sqlite3.Connection, index: sqlite3.Connection) -> int:
        """Add the next rollouts in one transaction; their number."""
        index.execute("BEGIN IMMEDIATE")  # another process may have added some meanwhile
        try:
            last = index.execute("SELECT id, step, row FROM rollouts ORDER BY id DESC LIMIT 1").fetchone() or (
                0,
                -1,
                -1,
            )
            rows = run.execute(
                "SELECT step, row, prompt_id, rung, outcome, cause, reward, words, disagreement, text_hash, body "
                "FROM rollouts JOIN texts ON hash = text_hash WHERE (step, row) > (?, ?) ORDER BY step, row LIMIT ?",
                (*last[1:], _BATCH),
            ).fetchall()
            for id_, row in enumerate(rows, last[0] + 1):
                index.execute("INSERT INTO rollouts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (id_, *row[:-1]))
                text = _spaced(zlib.decompress(row[-1]).decode())
                index.execute("INSERT INTO responses (rowid, text) VALUES (?, ?)", (id_, text))
            index.execute("COMMIT")
        except BaseException:
            index.execute("ROLLBACK")
            raise
        return len(rows)


def _remove(index: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        index.with_name(INDEX_NAME + suffix).unlink(missing_ok=True)


def _spaced(text: str) -> str:
    """The text with each ideograph and kana as a word of its own."""
    return text if text.isascii() else _IDEOGRAPH.sub(r" \1 ", text)


def _conditions(wanted: RolloutFilter) -> tuple[list[str], list[object]]:
    conditions: list[str] = []
    values: list[object] = []
    compared = (
        ("step >= ?", wanted.first_step),
        ("step <= ?", wanted.last_step),
        ("prompt_id = ?", wanted.prompt_id),
        ("outcome = ?", None if wanted.outcome == "none" else wanted.outcome),
        ("cause = ?", None if wanted.cause == "any" else wanted.cause),
        ("reward >= ?", wanted.min_reward),
        ("reward <= ?", wanted.max_reward),
        ("words >= ?", wanted.min_words),
        ("words <= ?", wanted.max_words),
        ("disagreement >= ?", wanted.min_disagreement),
    )
    for condition, value in compared:
        if value is not None:
            conditions.append(condition)
            values.append(value)
    if wanted.outcome == "none":
        conditions.append("outcome IS NULL")
    if wanted.cause == "any":
        conditions.append("cause IS NOT NULL")
    return conditions, values


def _is_current(index: Path) -> bool:
    """Whether an index exists and is of this version."""
    if not index.is_file():
        return False
    try:
        with closing(_connect_to_read(index)) as connection:
            return connection.execute("SELECT version FROM state").fetchone() == (_VERSION,)
    except sqlite3.DatabaseError:
        return False


def _connect_to_read(path: Path) -> sqlite3.Connection:
    """Of a file that exists; in a folder where nothing may be written, as it is without its log."""
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=30, check_same_thread=False)
    try:
        connection.execute("SELECT 1 FROM sqlite_master")
    except sqlite3.OperationalError:
        connection.close()
        return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True, check_same_thread=False)
    return connection
