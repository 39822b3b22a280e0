"""Rows gathered over a long time: nothing lost in a kill, and a final file that does not show the order of arrival."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longform.records.collection import Collection
from longform.records.errors import BadInputError
from longform.records.files import read_rows
from longform.records.schemas import Response

KEYS = [(f"p{i}", "m", sample) for i in range(4) for sample in range(2)]


def _row(key, text="t"):
    prompt_id, model, sample = key
    return Response(prompt_id=prompt_id, model=model, sample=sample, text=text)


def _gather(out, keys, *, order=KEYS, finish=True):
    """One command: tries `keys`, which may not be all that is missing; returns those it tried."""
    with Collection(out, Response) as collection:
        tried = [key for key in keys if key not in collection]
        for key in tried:
            collection.add(_row(key))
        if finish:
            collection.finish(order)
    return tried


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), kills=st.lists(st.integers(0, len(KEYS)), max_size=3))
def test_the_file_is_the_same_whatever_the_order_of_arrival_and_the_kills(tmp_path_factory, seed, kills):
    folder = tmp_path_factory.mktemp("collection")
    _gather(folder / "plain.jsonl", KEYS)
    arrival = random.Random(seed).sample(KEYS, len(KEYS))
    for killed_after in kills:
        _gather(folder / "rows.jsonl", arrival[:killed_after], finish=False)
    _gather(folder / "rows.jsonl", arrival)
    assert (folder / "rows.jsonl").read_bytes() == (folder / "plain.jsonl").read_bytes()
    assert len(list(folder.iterdir())) == 2, "nothing partial is left"


def test_nothing_is_gathered_twice(tmp_path):
    out = tmp_path / "rows.jsonl"
    assert _gather(out, KEYS[:3], finish=False) == KEYS[:3]
    assert _gather(out, KEYS) == KEYS[3:]
    assert _gather(out, KEYS) == []


def test_the_file_appears_only_at_the_end(tmp_path):
    out = tmp_path / "rows.jsonl"
    _gather(out, KEYS[:3], finish=False)
    assert not out.exists()
    _gather(out, KEYS)
    assert [row.key for row in read_rows(out, Response)] == KEYS


def test_failures_are_tried_again_by_the_next_command(tmp_path):
    out = tmp_path / "rows.jsonl"
    _gather(out, KEYS[::2])
    assert [row.key for row in read_rows(out, Response)] == KEYS[::2]
    assert _gather(out, KEYS) == KEYS[1::2]
    assert [row.key for row in read_rows(out, Response)] == KEYS


def test_rows_of_other_keys_are_kept_behind(tmp_path):
    out = tmp_path / "rows.jsonl"
    others = [("a", "other", 0), ("z", "other", 0)]
    _gather(out, others, order=others)
    _gather(out, KEYS)
    assert [row.key for row in read_rows(out, Response)] == [*KEYS, *others]


def test_a_kill_between_the_final_file_and_its_tidying_up_loses_nothing(tmp_path):
    out, partial = tmp_path / "rows.jsonl", tmp_path / "rows.jsonl.partial"
    _gather(out, KEYS, finish=False)
    left = partial.read_bytes()
    _gather(out, KEYS)
    partial.write_bytes(left)
    assert _gather(out, KEYS) == []
    assert not partial.exists()


def test_parquet_is_gathered_like_json_lines(tmp_path):
    out = tmp_path / "rows.parquet"
    _gather(out, KEYS[:2], finish=False)
    _gather(out, KEYS)
    _gather(out, KEYS)
    assert [row.key for row in read_rows(out, Response)] == KEYS


def test_nothing_gathered_is_no_file(tmp_path):
    _gather(tmp_path / "rows.jsonl", [])
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_made_and_one_that_cannot_be_is_named(tmp_path):
    out = tmp_path / "new" / "rows.jsonl"
    _gather(out, KEYS)
    assert [row.key for row in read_rows(out, Response)] == KEYS
    with pytest.raises(BadInputError, match=r"rows\.jsonl.*: cannot be written: Not a directory"):
        Collection(out / "none" / "rows.jsonl", Response)


def test_a_file_that_holds_something_else_is_not_overwritten(tmp_path):
    out = tmp_path / "rows.jsonl"
    out.write_text('{"id": "a", "prompt": "no response"}\n')
    with pytest.raises(BadInputError, match=r"rows\.jsonl:1: prompt_id: Field required"):
        Collection(out, Response)
    assert out.read_text() == '{"id": "a", "prompt": "no response"}\n'
