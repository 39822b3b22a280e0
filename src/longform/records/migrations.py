"""The tables of `run.sqlite` by version, and the migrations from each version to the next.

A new database is created at version 3 and migrated like an old one, so both end with the same tables. A change of the
tables, or of what the files of a run directory mean, is a new entry of `MIGRATIONS`.
"""

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from longform.records.errors import BadInputError

FIRST_VERSION = 3
"""The oldest version that can be read."""
FIRST_SCHEMA = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE texts (hash TEXT PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE steps (step INTEGER PRIMARY KEY, seconds REAL NOT NULL);
CREATE TABLE metrics (
    step INTEGER NOT NULL, name TEXT NOT NULL, value REAL NOT NULL, PRIMARY KEY (step, name)) WITHOUT ROWID;
CREATE TABLE rollouts (
    step INTEGER NOT NULL, row INTEGER NOT NULL, prompt_id TEXT NOT NULL, rung INTEGER NOT NULL,
    text_hash TEXT NOT NULL, reference_hash TEXT NOT NULL, tokens INTEGER NOT NULL, words INTEGER NOT NULL,
    think_words INTEGER NOT NULL, finish_reason TEXT NOT NULL, outcome TEXT, cause TEXT, reward REAL, scores TEXT NOT NULL,
    disagreement REAL, consistent INTEGER, advantage_total REAL, advantage_squares REAL, advantage_tail REAL,
    calls TEXT NOT NULL,
    PRIMARY KEY (step, row)) WITHOUT ROWID;
CREATE TABLE promotions (
    step INTEGER NOT NULL, prompt_id TEXT NOT NULL, rung INTEGER NOT NULL, PRIMARY KEY (step, prompt_id)) WITHOUT ROWID;
CREATE TABLE validations (
    step INTEGER NOT NULL, prompt_id TEXT NOT NULL, prompt TEXT NOT NULL, text_hash TEXT NOT NULL, grade REAL,
    PRIMARY KEY (step, prompt_id)) WITHOUT ROWID;
"""


class Migration(NamedTuple):
    """A step from one version to the next, as SQL."""

    change: str
    """Changes the tables."""
    view: str
    """Temporary views in place of the changed tables, for a reader, which leaves the file as it is."""


MIGRATIONS: Mapping[int, Migration] = {
    # The tables stay; recipe.yaml uses the new names of renamed keys (recipe/renamed.py), unknown to the code of version 3.
    4: Migration("", ""),
    # The texts of a group that each call compared.
    5: Migration(
        "ALTER TABLE rollouts ADD COLUMN compared TEXT;",
        "CREATE TEMP VIEW rollouts AS SELECT *, NULL AS compared FROM main.rollouts;",
    ),
}
"""By the version that each leads to, from the one before."""


def open_tables(
    connection: sqlite3.Connection, path: Path, *, create: bool, migrations: Mapping[int, Migration] = MIGRATIONS
) -> None:
    """Give a connection the tables of the newest version.

    Args:
        connection: to the database; it may be new or of an older version.
        path: of its file, for messages.
        create: create missing tables, and migrate the file. Otherwise the file stays as it is: a database without tables is
            refused, and an old one is read through views.
        migrations: by version.

    Raises:
        BadInputError: the database has no tables, is newer than this version of longform, or too old.
    """
    newest = max(migrations)
    version = _version(connection, path)
    if version is None and not create:
        raise BadInputError(f"{path}: contains no run")
    if version is not None and version > newest:
        raise BadInputError(
            f"{path}: was written by a newer longform (database version {version}; this one reads up to {newest}); "
            "update longform"
        )
    if version is not None and version < FIRST_VERSION:
        raise BadInputError(
            f"{path}: was written by an older longform (database version {version}; this one reads from {FIRST_VERSION}); "
            "start a new run"
        )
    if version == newest:  # nothing is written without need: a reader must not wait for the writer of a run
        return
    if not create and version is not None:
        for number in range(version + 1, newest + 1):
            connection.executescript(migrations[number].view)
        return
    # Each script sets its version in the same transaction: a process that is killed in between leaves a whole database.
    if version is None:
        scripts = [FIRST_SCHEMA, *(migrations[number].change for number in sorted(migrations))]
        connection.executescript(f"BEGIN; {' '.join(scripts)} PRAGMA user_version = {newest}; COMMIT;")
        return
    for number in range(version + 1, newest + 1):
        connection.executescript(f"BEGIN; {migrations[number].change} PRAGMA user_version = {number}; COMMIT;")


def _version(connection: sqlite3.Connection, path: Path) -> int | None:
    """The version of a database; None for one without a run's tables.

    Raises:
        BadInputError: it has such tables and no version.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version:
        return version
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'rollouts'").fetchone():
        raise BadInputError(f"{path}: was written by another version of longform, which this one cannot read")
    return None
