"""The log of calls, in memory and on disk."""

import sqlite3
import threading
from dataclasses import replace

import pytest

from longform.records.calls import CallRecord, MemoryCallLog, SqliteCallLog
from longform.records.database import RunDatabase
from longform.records.errors import BadInputError, StoppedError

CALL = CallRecord(
    request_hash="h1",
    attempt=1,
    endpoint="judge",
    model="m",
    outcome="ok",
    prompt_tokens=100,
    completion_tokens=20,
    cost=0.25,
    latency_seconds=0.5,
    text="B wins. [[B]] 好",
    finish_reason="stop",
)
FAILED = replace(CALL, outcome="timeout", prompt_tokens=None, completion_tokens=None, cost=None, text="")


@pytest.fixture(params=["memory", "sqlite"])
def log(request, tmp_path):
    if request.param == "memory":
        yield MemoryCallLog()
        return
    with SqliteCallLog(tmp_path / "run.sqlite") as log:
        yield log


def test_only_an_answered_call_is_found(log):
    log.record(FAILED)
    assert log.find("h1") is None
    log.record(replace(CALL, attempt=2))
    found = log.find("h1")
    assert (found.text, found.finish_reason, found.cost, found.cached) == (CALL.text, "stop", 0.25, True)
    assert (found.prompt_tokens, found.completion_tokens, found.request_hash) == (100, 20, "h1")
    assert log.find("h2") is None


def test_totals_keep_unknown_cost_apart(log):
    assert log.totals() == (0, 0, 0, 0, 0, 0.0, 0, 0)
    log.record(FAILED)
    log.record(CALL)
    log.record(replace(CALL, request_hash="h2", cost=0.0))
    assert log.totals() == (3, 2, 200, 40, 0, 0.25, 1, 0)


def test_many_threads_share_a_log(log):
    def record(thread):
        for i in range(50):
            log.record(replace(CALL, request_hash=f"{thread}-{i}"))
            assert log.find(f"{thread}-{i}") is not None

    threads = [threading.Thread(target=record, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert log.totals().calls == 200


def test_a_record_is_durable_as_soon_as_it_is_made(tmp_path):
    log = SqliteCallLog(tmp_path / "run.sqlite")
    log.record(CALL)
    with SqliteCallLog(tmp_path / "run.sqlite") as other:
        assert other.find("h1") is not None
    log.close()


def test_calls_outlive_a_rollback_of_the_run_in_the_same_file(tmp_path):
    database = RunDatabase(tmp_path / "run.sqlite")
    with SqliteCallLog(tmp_path / "run.sqlite") as log:
        log.record(CALL)
        database.record_step(1, seconds=1.0, metrics={"reward": 0.5})
        database.roll_back_to(0)
        assert log.totals().calls == 1
    database.close()


def test_a_file_that_is_no_database_is_named(tmp_path):
    path = tmp_path / "run.sqlite"
    path.write_text("no database at all, " * 100)
    with pytest.raises(BadInputError, match=r"run\.sqlite"):
        SqliteCallLog(path)


def test_a_log_that_cannot_be_written_stops_the_run(tmp_path):
    with SqliteCallLog(tmp_path / "run.sqlite") as log:
        other = sqlite3.connect(tmp_path / "run.sqlite")
        other.execute("DROP TABLE calls")
        other.close()
        with pytest.raises(StoppedError, match="cannot be recorded"):
            log.record(CALL)


def test_the_secret_is_made_once_and_kept_with_the_calls(tmp_path):
    secrets = set()
    for name in ("a", "a", "b"):
        with SqliteCallLog(tmp_path / name) as log:
            secrets.add(log.secret())
    assert len(secrets) == 2
    assert all(len(secret) == 16 for secret in secrets)
