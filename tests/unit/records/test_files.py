import errno
import os
import resource
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longform.records.errors import BadInputError, StoppedError
from longform.records.files import AppendedRows, read_rows, write_rows
from longform.records.schemas import Ladder, Prompt, Response


def _write(path, *lines):
    path.write_bytes("".join(lines).encode())
    return path


def _error(path, schema=Response):
    with pytest.raises(BadInputError) as caught:
        list(read_rows(path, schema))
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(str(path))


ROW = '{"prompt_id":"p","model":"m","text":"t"}\n'


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], ": contains no rows"),
        (["\n", " \n"], ": contains no rows"),
        ([ROW, "{oops}\n"], ":2: Invalid JSON"),
        ([ROW, '["a list"]\n'], ":2: Input should be an object"),
        (['{"prompt_id":"p","model":"m"}\n'], ":1: text: Field required"),
        (['{"prompt_id":"p","model":"m","text":3}\n'], ":1: text: Input should be a valid string"),
        ([ROW, "\n", ROW], ":3: prompt_id='p', model='m', sample=0: duplicate key, first in row 1"),
    ],
)
def test_a_bad_file_is_one_line_naming_file_line_and_field(tmp_path, lines, message):
    assert _error(_write(tmp_path / "rows.jsonl", *lines)).startswith(message)


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    assert "No such file" in _error(tmp_path / "none.jsonl")
    assert "directory" in _error(tmp_path)


def test_a_file_that_is_no_parquet_is_named(tmp_path):
    assert "cannot be read as Parquet" in _error(_write(tmp_path / "rows.parquet", "no parquet"))


def test_lines_split_on_newline_alone(tmp_path):
    text = "one\u2028two\u0085three\x0bfour\r"
    write_rows(tmp_path / "r.jsonl", [Response(prompt_id="p", model="m", text=text)])
    assert [row.text for row in read_rows(tmp_path / "r.jsonl", Response)] == [text]


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
@settings(max_examples=20, deadline=None)
@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=5))
def test_rows_survive_a_round_trip_with_fields_they_do_not_know(tmp_path_factory, suffix, texts):
    path = tmp_path_factory.mktemp("rows") / f"rows.{suffix}"
    fields = {"model": "m", "extra": [1]}
    rows = [
        Response.model_validate({**fields, "prompt_id": str(i), "text": text, "meta": {"n": i}})
        for i, text in enumerate(texts)
    ]
    assert write_rows(path, rows) == len(rows)
    assert list(read_rows(path, Response)) == rows


def test_an_error_while_rows_are_made_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "rows.jsonl"
    write_rows(path, [Prompt(id="old", prompt="p")])

    def rows():
        yield Prompt(id="new", prompt="p")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(BadInputError, match=r"rows.jsonl: cannot be written: No space left on device"):
        write_rows(path, rows())
    assert [row.id for row in read_rows(path, Prompt)] == ["old"]
    assert [file.name for file in tmp_path.iterdir()] == ["rows.jsonl"]


def test_a_full_disk_is_one_clear_line():
    rows = AppendedRows("/dev/full", Prompt)
    with pytest.raises(StoppedError, match="/dev/full: cannot be written: No space left on device"):
        rows.append(Prompt(id="a", prompt="p"))
    rows.close()


def test_an_appended_file_forgets_only_the_torn_last_line(tmp_path):
    path = tmp_path / "rows.jsonl"
    rows = AppendedRows(path, Prompt)
    for id_ in "abc":
        rows.append(Prompt(id=id_, prompt="p" * 100))
    rows.close()
    content = path.read_bytes()
    for cut in range(len(content) + 1):
        path.write_bytes(content[:cut])
        again = AppendedRows(path, Prompt)
        assert [row.id for row in again.rows] == list("abc")[: content[:cut].count(b"\n")]
        again.append(Prompt(id="z", prompt="p"))
        again.close()
        assert [row.id for row in read_rows(path, Prompt)][-1] == "z"


def test_ladders_must_ascend_and_hold_a_reference():
    base = {"id": "a", "prompt": "p", "policy_score": 1.0, "potential": 1.0}
    with pytest.raises(ValueError, match="ascending"):
        Ladder.model_validate({**base, "references": [{"model": "m", "text": "t", "score": s} for s in (2, 1)]})
    with pytest.raises(ValueError, match="at least 1"):
        Ladder.model_validate({**base, "references": []})


def test_parquet_keeps_what_only_some_rows_have(tmp_path):
    rows = [
        Prompt(id="a", prompt="p"),
        Prompt(id="b", prompt="p", criteria="c", length_range=(1, 2), meta={"from": {"page": 3}}),
        Prompt(id="c", prompt="p", meta={"other": 2.5}),
    ]
    write_rows(tmp_path / "rows.parquet", rows)
    assert list(read_rows(tmp_path / "rows.parquet", Prompt)) == rows


@pytest.mark.parametrize(("one", "other"), [(1, "text"), ("text", ["list"]), (2**70, 1)])
def test_rows_that_parquet_cannot_hold_are_refused_by_field(tmp_path, one, other):
    rows = [Prompt(id=str(i), prompt="p", meta={"n": value}) for i, value in enumerate([one, other])]
    with pytest.raises(BadInputError, match=r"rows\.parquet: meta: rows have values of several types.* \.jsonl file"):
        write_rows(tmp_path / "rows.parquet", rows)
    assert list(tmp_path.iterdir()) == []


def test_a_row_that_found_no_room_leaves_nothing_that_the_next_one_stands_behind(tmp_path):
    path = tmp_path / "rows.jsonl"
    rows = AppendedRows(path, Prompt)
    rows.append(Prompt(id="a", prompt="p"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20, hard))
    try:
        with pytest.raises(StoppedError, match=r"rows\.jsonl: cannot be written: File too large"):
            rows.append(Prompt(id="b", prompt="p" * 100))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    rows.append(Prompt(id="c", prompt="p"))
    rows.close()
    assert [row.id for row in read_rows(path, Prompt)] == ["a", "c"]


def test_a_file_that_another_process_appends_to_is_refused(tmp_path):
    path = tmp_path / "rows.jsonl"
    rows = AppendedRows(path, Prompt)
    rows.append(Prompt(id="a", prompt="p"))
    with pytest.raises(BadInputError, match=r"rows\.jsonl: another process is writing this file"):
        AppendedRows(path, Prompt)
    rows.close()
    AppendedRows(path, Prompt).close()


def test_what_a_killed_process_left_beside_a_file_is_removed_by_the_next_that_writes_it(tmp_path):
    gone = subprocess.Popen(["true"])
    gone.wait()
    ours = [f".rows.jsonl.{gone.pid}.partial"]
    others = [f".rows.jsonl.{os.getppid()}.partial", ".rows.jsonl.backup.partial", f".more.jsonl.{gone.pid}.partial"]
    for name in [*ours, *others]:
        (tmp_path / name).write_text("half")
    write_rows(tmp_path / "rows.jsonl", [Prompt(id="a", prompt="p")])
    assert {path.name for path in tmp_path.iterdir()} == {"rows.jsonl", *others}


@pytest.mark.parametrize("name", ["rows.csv", "rows.tsv", "rows.txt"])
def test_rows_are_not_written_in_a_format_that_is_only_read(tmp_path, name):
    with pytest.raises(BadInputError, match=rf"{name}: rows are written as JSON Lines or Parquet; name a \.jsonl or"):
        write_rows(tmp_path / name, [Prompt(id="p", prompt="Write.")])
    assert not list(tmp_path.iterdir())


def test_rows_that_are_appended_need_a_file(tmp_path):
    (tmp_path / "rows.jsonl").mkdir()
    with pytest.raises(BadInputError, match=r"rows\.jsonl: cannot be written: Is a directory"):
        AppendedRows(tmp_path / "rows.jsonl", Prompt)
