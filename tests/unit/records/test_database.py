"""The database of a run: steps whole or not at all, rolled back with their checkpoint."""

import json
import sqlite3
from dataclasses import replace

import pytest

from artifacts import verdict_export
from longform.records.database import Promotion, RolloutRecord, RunDatabase, ValidationText, text_hash
from longform.records.errors import BadInputError, StoppedError
from longform.statistics.moments import AdvantageMoments

ROLLOUT = RolloutRecord(
    step=1,
    row=0,
    prompt_id="p",
    rung=2,
    text="Once. 从前。",
    reference="Twice.",
    tokens=5,
    words=3,
    think_words=2,
    finish_reason="stop",
    outcome="win",
    cause=None,
    reward=1.0,
    scores={"pairwise": 1.0, "length": 1.0},
    disagreement=0.25,
    consistent=False,
    advantages=AdvantageMoments(5, 1.0, 2.0, 0.5),
    calls=("h1", "h2"),
)
MASKED = replace(
    ROLLOUT,
    row=1,
    outcome=None,
    cause="timeout",
    reward=None,
    disagreement=None,
    consistent=None,
    advantages=None,
    calls=(),
)
VALIDATION = ValidationText(step=1, prompt_id="v", prompt="Write.", text="Once. 从前。", grade=None)


@pytest.fixture
def database(tmp_path):
    database = RunDatabase(tmp_path / "run.sqlite")
    yield database
    database.close()


def _record(database, step, *, seconds=1.0):
    database.record_step(
        step,
        seconds=seconds,
        metrics={"reward/mean": step / 10, "nothing": float("nan")},
        rollouts=[replace(ROLLOUT, step=step), replace(MASKED, step=step)],
        promotions=[Promotion(step, "p", step)],
        validations=[replace(VALIDATION, step=step)],
    )


def test_a_step_comes_back_as_it_was_recorded(database):
    _record(database, 1, seconds=2.5)
    assert list(database.rollouts()) == [ROLLOUT, MASKED]
    assert list(database.rollouts(step=2)) == []
    assert list(database.rollouts(prompt_id="p", step=1)) == [ROLLOUT, MASKED]
    assert database.validations(1) == [VALIDATION]
    assert database.promotions() == [Promotion(1, "p", 1)]
    assert (database.last_step(), database.seconds()) == (1, 2.5)


def test_a_metric_that_is_no_number_is_not_recorded(database):
    _record(database, 1)
    assert list(database.metrics()) == ["reward/mean"]
    assert database.metric("reward/mean") == [(1, 0.1)]


def test_equal_texts_are_stored_once(database, tmp_path):
    for step in range(1, 5):
        _record(database, step)
    other = sqlite3.connect(tmp_path / "run.sqlite")
    assert other.execute("SELECT COUNT(*) FROM texts").fetchone() == (2,), "the response and its reference"
    other.close()


def test_a_step_that_breaks_off_leaves_nothing(database):
    def rollouts():
        yield replace(ROLLOUT, step=2)
        raise RuntimeError("killed here")

    _record(database, 1)
    with pytest.raises(RuntimeError, match="killed here"):
        database.record_step(2, seconds=1.0, metrics={"reward/mean": 1.0}, rollouts=rollouts())
    assert database.last_step() == 1
    assert database.metric("reward/mean") == [(1, 0.1)]
    assert list(database.rollouts(step=2)) == []


def test_a_full_disk_is_a_stop_and_leaves_the_steps_before(database, tmp_path):
    _record(database, 1)
    pages = database._connection.execute("PRAGMA page_count").fetchone()[0]
    database._connection.execute(f"PRAGMA max_page_count = {pages}")
    long_text = "".join(map(str, range(50_000)))
    with pytest.raises(StoppedError, match=r"run\.sqlite: step 2 cannot be written: database or disk is full"):
        database.record_step(2, seconds=1.0, metrics={}, rollouts=[replace(ROLLOUT, step=2, text=long_text)])
    assert database.last_step() == 1


def test_a_rollback_forgets_the_steps_after_the_checkpoint_and_no_others(database):
    for step in range(5):
        _record(database, step)
    database.set_fact("secret", "ab")
    database.roll_back_to(2)
    assert database.last_step() == 2
    assert [step for step, _ in database.metric("reward/mean")] == [0, 1, 2]
    assert {rollout.step for rollout in database.rollouts()} == {0, 1, 2}
    assert [promotion.step for promotion in database.promotions()] == [0, 1, 2]
    assert database.validations(3) == []
    assert database.fact("secret") == "ab"


def test_the_verdict_export_is_the_same_whatever_the_times_and_calls(tmp_path):
    exports = []
    for seconds, calls in ((1.0, ("h1",)), (99.0, ("h7", "h8"))):
        database = RunDatabase(tmp_path / f"{seconds}.sqlite")
        database.record_step(1, seconds=seconds, metrics={}, rollouts=[MASKED, replace(ROLLOUT, calls=calls)])
        exports.append(verdict_export(database))
        database.close()
    assert exports[0] == exports[1]
    first, second = map(json.loads, exports[0].splitlines())
    assert (first["row"], first["outcome"], first["reward"], first["rung"]) == (0, "win", 1.0, 2)
    assert (second["outcome"], second["cause"]) == (None, "timeout")
    assert not {"seconds", "calls", "cost", "latency"} & first.keys()


def test_the_verdict_export_tells_two_texts_apart(database):
    database.record_step(1, seconds=1.0, metrics={}, rollouts=[ROLLOUT])
    before = verdict_export(database)
    database.record_step(1, seconds=1.0, metrics={}, rollouts=[replace(ROLLOUT, text="Twice.")])
    assert verdict_export(database) != before


def test_a_database_of_another_version_is_refused(tmp_path):
    with sqlite3.connect(tmp_path / "run.sqlite") as connection:
        connection.execute("CREATE TABLE rollouts (step INTEGER)")
    with pytest.raises(BadInputError, match="another version of longform"):
        RunDatabase(tmp_path / "run.sqlite")


def test_a_text_is_found_by_its_hash(database):
    _record(database, 1)
    assert database.text(text_hash(ROLLOUT.reference)) == "Twice."


READS = [("last_step",), ("seconds",), ("metrics",), ("metric", "reward/mean"), ("promotions",), ("rollouts",)]
READS += [("validations", 1), ("text", text_hash(ROLLOUT.text)), ("fact", "x")]


def test_a_damaged_database_is_one_line_whatever_is_read_from_it(tmp_path):
    path = tmp_path / "run.sqlite"
    database = RunDatabase(path)
    for step in range(1, 200):
        _record(database, step)
    database.close()
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)  # the first page, with the names of the tables, stays
    path.write_bytes(content)
    for create in (True, False):
        database = RunDatabase(path, create=create)
        for name, *given in READS:
            with pytest.raises(BadInputError, match=r"run\.sqlite: damaged: .*; restore a copy") as caught:
                list(getattr(database, name)(*given))
            assert "\n" not in str(caught.value)
        with pytest.raises(StoppedError, match="cannot be written"):
            _record(database, 1)
        database.close()


def test_a_damaged_text_is_one_line(tmp_path):
    path = tmp_path / "run.sqlite"
    database = RunDatabase(path)
    _record(database, 1)
    database.close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE texts SET body = X'00'")
    connection.close()
    database = RunDatabase(path, create=False)
    with pytest.raises(BadInputError, match=r"run\.sqlite: damaged"):
        list(database.rollouts())
    database.close()
