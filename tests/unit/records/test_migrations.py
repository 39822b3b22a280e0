"""A database of an older version is migrated; one that is newer or too old is refused in one line."""

import sqlite3

import pytest

from longform.records.database import RunDatabase
from longform.records.errors import BadInputError
from longform.records.migrations import FIRST_SCHEMA, MIGRATIONS, Migration, open_tables

NEXT = max(MIGRATIONS) + 1
VIEW = "CREATE TEMP VIEW steps AS SELECT *, NULL AS prompts FROM main.steps;"
LATER = {**MIGRATIONS, NEXT: Migration("ALTER TABLE steps ADD COLUMN prompts INTEGER;", VIEW)}


def _old(path, version=3):
    with sqlite3.connect(path) as connection:
        connection.executescript(f"{FIRST_SCHEMA} PRAGMA user_version = {version};")
        connection.execute("INSERT INTO steps (step, seconds) VALUES (1, 2.5)")
    return path


def _tables(connection):
    return connection.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()


def _version(connection):
    return connection.execute("PRAGMA user_version").fetchone()[0]


def test_an_old_database_and_a_new_one_end_with_the_same_tables(tmp_path):
    old, new = sqlite3.connect(_old(tmp_path / "old")), sqlite3.connect(tmp_path / "new")
    for connection in (old, new):
        open_tables(connection, tmp_path, create=True, migrations=LATER)
        assert _version(connection) == max(LATER)
    assert _tables(old) == _tables(new)
    assert old.execute("SELECT seconds, prompts FROM steps").fetchall() == [(2.5, None)]


def test_a_reader_sees_migrated_tables_and_leaves_the_file_as_it_was(tmp_path):
    path = _old(tmp_path / "old")
    before = path.read_bytes()
    connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
    open_tables(connection, path, create=False, migrations=LATER)
    assert connection.execute("SELECT prompts FROM steps").fetchall() == [(None,)]
    assert path.read_bytes() == before


def test_a_migration_that_fails_leaves_the_version_before_it(tmp_path):
    path = _old(tmp_path / "old")
    broken = {**LATER, NEXT: Migration("CREATE TABLE half (a); ALTER TABLE nothing ADD COLUMN b;", "")}
    connection = sqlite3.connect(path)
    with pytest.raises(sqlite3.Error):
        open_tables(connection, path, create=True, migrations=broken)
    connection.close()
    with sqlite3.connect(path) as again:
        assert _version(again) == max(MIGRATIONS)
        assert "half" not in dict(_tables(again))
        open_tables(again, path, create=True, migrations=LATER)


@pytest.mark.parametrize("create", [True, False])
@pytest.mark.parametrize(
    ("version", "message"), [(99, "newer longform .*version 99.*update longform"), (2, "older longform .*version 2")]
)
def test_a_version_that_cannot_be_read_is_one_line(tmp_path, version, message, create):
    path = _old(tmp_path / "run.sqlite", version)
    with pytest.raises(BadInputError, match=message) as error:
        RunDatabase(path, create=create)
    assert "\n" not in str(error.value)


def test_the_views_of_a_reader_have_the_columns_of_the_changed_tables(tmp_path):
    old, new = _old(tmp_path / "old"), tmp_path / "new"
    read, written = sqlite3.connect(old), sqlite3.connect(new)
    open_tables(read, old, create=False)
    open_tables(written, new, create=True)
    for name, kind in written.execute("SELECT name, type FROM sqlite_master").fetchall():
        if kind == "table":
            columns = [
                [it[0] for it in connection.execute(f"SELECT * FROM {name}").description]
                for connection in (read, written)
            ]
            assert columns[0] == columns[1]
