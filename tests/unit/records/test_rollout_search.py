"""Rollouts are found by conditions and by words; the index is separate from the run."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from longform.records.database import RolloutRecord
from longform.records.errors import BadInputError
from longform.records.rollout_search import INDEX_NAME, RolloutFilter, RolloutIndex, find_rollouts, words_query
from longform.records.run_directory import RunDirectory

BASE = RolloutRecord(
    step=0,
    row=0,
    prompt_id="p",
    rung=0,
    text="",
    reference="",
    tokens=1,
    words=1,
    think_words=0,
    finish_reason="stop",
    outcome="win",
    cause=None,
    reward=1.0,
)
TEXTS = [
    "The river froze.",
    "A lantern by the River",
    "雪落在街上，很安静。",
    "Épée and café",
    'say "hello there" again',
]


def record(run: RunDirectory, step: int, texts: list[str]) -> None:
    rollouts = [
        replace(
            BASE,
            step=step,
            row=row,
            text=text,
            words=len(text),
            prompt_id=f"p{row % 2}",
            reward=None if row == 1 else row / 10,
            outcome=None if row == 1 else ("win", "tie", "loss")[row % 3],
            cause="timeout" if row == 1 else None,
            disagreement=row / 4 if row else None,
        )
        for row, text in enumerate(texts)
    ]
    run.database.record_step(step, seconds=1.0, metrics={}, rollouts=rollouts)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    with RunDirectory.open(tmp_path / "run") as opened:
        for step in (1, 2, 3):
            record(opened, step, TEXTS)
    return tmp_path / "run"


def places(run: Path, **wanted: object) -> list[tuple[int, int]]:
    found = find_rollouts(run, RolloutFilter(**wanted))  # pyright: ignore[reportArgumentType]
    assert found.total == len(found.rollouts)
    return [(it.step, it.row) for it in found.rollouts]


@pytest.mark.parametrize("indexed", [False, True])
@pytest.mark.parametrize(
    ("wanted", "rows"),
    [
        ({"first_step": 2, "last_step": 2}, [(2, row) for row in range(5)]),
        ({"first_step": 3, "outcome": "win"}, [(3, 0), (3, 3)]),
        ({"first_step": 3, "outcome": "none"}, [(3, 1)]),
        ({"last_step": 1, "cause": "any"}, [(1, 1)]),
        ({"last_step": 1, "cause": "timeout"}, [(1, 1)]),
        ({"last_step": 1, "min_reward": 0.2, "max_reward": 0.3}, [(1, 2), (1, 3)]),
        ({"last_step": 1, "prompt_id": "p1"}, [(1, 1), (1, 3)]),
        ({"last_step": 1, "min_words": 23}, [(1, 4)]),
        ({"last_step": 1, "min_disagreement": 0.75}, [(1, 3), (1, 4)]),
        ({"last_step": 1, "sort": "-reward"}, [(1, 4), (1, 3), (1, 2), (1, 0), (1, 1)]),
        ({"last_step": 1, "sort": "reward"}, [(1, 0), (1, 2), (1, 3), (1, 4), (1, 1)]),
    ],
)
def test_conditions_find_the_same_with_and_without_an_index(run: Path, indexed: bool, wanted, rows) -> None:
    if indexed:
        RolloutIndex(run).update()
    assert places(run, **wanted) == rows


@pytest.mark.parametrize(
    ("text", "row"),
    [("RIVER froze", 0), ("lantern", 1), ("街上", 2), ("很安静", 2), ("epee", 3), ('"hello there"', 4)],
)
def test_words_are_found_whatever_their_case_accents_and_script(run: Path, text: str, row: int) -> None:
    RolloutIndex(run).update()
    assert places(run, text=text, last_step=1) == [(1, row)]


@pytest.mark.parametrize("text", ["upstairs", "街安", '"there hello"', "river lantern froze"])
def test_what_no_response_has_is_not_found(run: Path, text: str) -> None:
    RolloutIndex(run).update()
    assert places(run, text=text) == []


@pytest.mark.parametrize(
    "text", ["", '"', "AND", "river OR", "NEAR(", "a*b", "text:x", "river -froze", "';--", "^", "{"]
)
def test_no_query_is_an_error(run: Path, text: str) -> None:
    RolloutIndex(run).update()
    find_rollouts(run, RolloutFilter(text=text))


def test_signs_alone_are_no_query() -> None:
    assert words_query(' "--" * ! ') == ""
    assert words_query('big "red 雪落" x') == '"big" "red 雪 落" "x"'


def test_a_search_before_the_index_says_so(run: Path) -> None:
    with pytest.raises(BadInputError, match="not indexed yet"):
        find_rollouts(run, RolloutFilter(text="river"))


def test_a_growing_run_is_indexed_as_it_grows(run: Path) -> None:
    index = RolloutIndex(run)
    assert index.update() == 15
    with RunDirectory.open(run) as opened:
        record(opened, 4, ["A comet"])
    assert index.share() < 1
    assert index.update() == 1
    assert index.share() == 1
    assert places(run, text="comet") == [(4, 0)]


def test_steps_that_were_rolled_back_are_no_longer_found(run: Path) -> None:
    RolloutIndex(run).update()
    with RunDirectory.open(run) as opened:
        opened.database.roll_back_to(2)
        record(opened, 3, ["Another text"])
    RolloutIndex(run).update()
    assert places(run, first_step=3) == [(3, 0)]
    assert places(run, text="another") == [(3, 0)]


def test_a_damaged_or_deleted_index_is_built_again(run: Path) -> None:
    index = RolloutIndex(run)
    index.update()
    (run / INDEX_NAME).write_bytes(b"no database at all")
    assert places(run, last_step=1) == [(1, row) for row in range(5)]
    assert index.update() == 15
    (run / INDEX_NAME).unlink()
    assert index.update() == 15


def test_the_run_itself_is_not_changed(run: Path) -> None:
    before = (run / "run.sqlite").read_bytes()
    RolloutIndex(run).update()
    find_rollouts(run, RolloutFilter(text="river"))
    assert (run / "run.sqlite").read_bytes() == before


def test_an_update_ends_when_nobody_wants_it(run: Path) -> None:
    assert RolloutIndex(run).update(is_wanted=lambda: False) == 0


def test_a_run_without_rollouts_and_an_index_without_entries_are_searched_and_filled(tmp_path: Path, run: Path) -> None:
    with RunDirectory.open(tmp_path / "empty"):
        pass
    assert RolloutIndex(tmp_path / "empty").share() == 1.0
    index = RolloutIndex(run)
    inner: list[int] = []
    assert index.update(is_wanted=lambda: bool(inner.append(index.update()))) == 0
    assert inner == [0], "one update at a time"
    assert index.share() == 0.0
    assert index.update() == 15
    assert places(run, text="lantern", last_step=1) == [(1, 1)]


def test_an_index_with_damaged_pages_is_given_up_and_one_that_cannot_be_written_is_one_line(run: Path) -> None:
    index = RolloutIndex(run)

    def damage() -> None:
        """The page with the first rollouts."""
        index.update()
        with closing(sqlite3.connect(run / INDEX_NAME)) as connection:
            (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'rollouts'").fetchone()
            (size,) = connection.execute("PRAGMA page_size").fetchone()
        with (run / INDEX_NAME).open("r+b") as file:
            file.seek((page - 1) * size)
            file.write(b"\xff" * size)

    damage()
    assert places(run, last_step=1) == [(1, row) for row in range(5)]
    assert not (run / INDEX_NAME).exists()
    damage()
    assert index.update() == 0
    assert index.update() == 15
    (run / INDEX_NAME).unlink()
    (run / INDEX_NAME).mkdir()
    with pytest.raises(BadInputError, match=rf"{INDEX_NAME}: cannot be written: "):
        index.update()
