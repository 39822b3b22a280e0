"""Files as people have them are read as rows: formats, encodings, names of columns, ids, bad rows."""

import csv
import json
import warnings

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from longform.records.adapting import Reading, content_id
from longform.records.errors import BadInputError, RowsWarning
from longform.records.files import read_all, read_rows, write_rows
from longform.records.schemas import Game, Grade, Pair, Prompt, Response, Row

ROWS = [{"id": "a", "prompt": "Write a story."}, {"id": "b", "prompt": 'Write,\n"a" poem; now. 诗'}]


def _write_csv(path, rows, *, delimiter=",", encoding="utf-8", newline="\r\n"):
    with path.open("w", encoding=encoding, newline="") as file:
        writer = csv.DictWriter(file, rows[0], delimiter=delimiter, lineterminator=newline)
        writer.writeheader()
        writer.writerows(rows)
    return path


def _lines(path, *rows, encoding="utf-8", end="\n"):
    path.write_bytes("".join(json.dumps(row, ensure_ascii=False) + end for row in rows).encode(encoding))
    return path


def _pairs(path, reading=None):
    return [{"id": it.id, "prompt": it.prompt} for it in read_rows(path, Prompt, reading or Reading())]


def _error(path, schema: type[Row] = Prompt, reading=None):
    with pytest.raises(BadInputError) as caught:
        list(read_rows(path, schema, reading or Reading()))
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(str(path))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("kind", ["jsonl", "json", "csv", "tsv"])
def test_every_format_is_read_in_every_encoding_with_either_line_end(tmp_path, kind, encoding):
    path = tmp_path / f"prompts.{kind}"
    for end in ("\n", "\r\n"):
        if kind == "jsonl":
            _lines(path, *ROWS, encoding=encoding, end=end)
        elif kind == "json":
            path.write_bytes(json.dumps(ROWS, indent=1, ensure_ascii=False).replace("\n", end).encode(encoding))
        else:
            _write_csv(path, ROWS, encoding=encoding, newline=end, delimiter="\t" if kind == "tsv" else ",")
        assert _pairs(path) == ROWS


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_a_mark_is_read_whatever_it_begins_with(tmp_path, encoding):
    for column in ("题目", "一题"):  # bytes of 一 look like the other order
        path = tmp_path / "prompts.csv"
        path.write_bytes(f"{column},编号\r\n写一首诗,a\r\n".encode(encoding))
        assert _pairs(path, Reading({"prompt": column, "id": "编号"})) == [{"id": "a", "prompt": "写一首诗"}]


def test_parquet_and_folders_of_any_format_are_read(tmp_path):
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "a.parquet")
    assert _pairs(tmp_path / "a.parquet") == _pairs(tmp_path) == ROWS
    (tmp_path / "deep").mkdir()
    _write_csv(tmp_path / "deep" / "one.csv", ROWS[:1])
    _write_csv(tmp_path / "deep" / "two.csv", ROWS[1:])
    assert _pairs(tmp_path / "deep") == ROWS


def test_a_text_file_holds_a_prompt_a_line(tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_bytes("One\u2028still one.\r\n\r\n  \nTwo\n".encode())
    assert [it.prompt for it in read_rows(path, Prompt)] == ["One\u2028still one.", "Two"]


def test_in_a_folder_of_text_files_each_is_a_prompt_named_by_its_file(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.txt").write_text("Line one\nline two\n")
    (tmp_path / "a.txt").write_text("Short")
    assert _pairs(tmp_path) == [{"id": "a", "prompt": "Short"}, {"id": "sub/b", "prompt": "Line one\nline two\n"}]


def test_a_text_file_is_no_file_of_responses(tmp_path):
    (tmp_path / "r.txt").write_text("text\n")
    assert "use .jsonl or .csv" in _error(tmp_path / "r.txt", Response)


@pytest.mark.parametrize(
    "content",
    [
        ["One", "Two"],
        {"1": {"prompt": "One"}, "2": {"prompt": "Two"}},
        {"data": [{"prompt": "One"}, {"prompt": "Two"}]},
    ],
)
def test_json_may_be_texts_or_an_object(tmp_path, content):
    (tmp_path / "p.json").write_text(json.dumps(content))
    assert [it.prompt for it in read_rows(tmp_path / "p.json", Prompt)] == ["One", "Two"]


def test_json_may_be_lines_or_a_single_row(tmp_path):
    assert _pairs(_lines(tmp_path / "lines.json", *ROWS)) == ROWS
    (tmp_path / "one.json").write_text(json.dumps(ROWS[0], indent=2))
    assert _pairs(tmp_path / "one.json") == ROWS[:1]


def test_an_array_is_one_under_the_name_of_lines_too(tmp_path):
    (tmp_path / "p.jsonl").write_text("\n" + json.dumps(ROWS, indent=1))
    assert _pairs(tmp_path / "p.jsonl") == ROWS


def test_an_empty_json_file_contains_no_rows(tmp_path):
    (tmp_path / "p.json").write_text(" \n")
    assert _error(tmp_path / "p.json") == ": contains no rows"


def test_a_long_json_array_is_read_item_by_item(tmp_path, monkeypatch):
    monkeypatch.setattr("longform.records.tables._CHUNK", 7)
    (tmp_path / "p.json").write_text(
        json.dumps([{"id": str(i), "prompt": 'say "x]" \\u20ac' * i, "n": i} for i in range(1, 9)])
    )
    assert [it.id for it in read_rows(tmp_path / "p.json", Prompt)] == list("12345678")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[{"prompt": "a"}, oops]', ":2: Invalid JSON"),
        ('[{"prompt": "a"} {"prompt": "b"}]', ":1: Invalid JSON: expected ',' or ']'"),
        ('[{"prompt": "a"}', ":1: Invalid JSON: the array is not closed"),
        ('[{"prompt": "a"}] more', ": Invalid JSON: more follows"),
        ("[]", ": contains no rows"),
        ("[1, 2]", ":1: Input should be an object"),
        ("{", ": Invalid JSON"),
        ("[" * 100_000, ":1: Invalid JSON"),
    ],
)
def test_a_broken_json_file_is_one_line(tmp_path, content, message):
    (tmp_path / "p.json").write_text(content)
    assert _error(tmp_path / "p.json").startswith(message)


def test_a_saved_dataset_is_read_from_its_only_split_or_train(tmp_path):
    datasets = pytest.importorskip("datasets")
    saved = datasets.Dataset.from_list(ROWS)
    saved.save_to_disk(tmp_path / "one")
    datasets.DatasetDict({"test": saved.select([0]), "train": saved}).save_to_disk(tmp_path / "splits")
    assert _pairs(tmp_path / "one") == _pairs(tmp_path / "splits") == ROWS
    for file in (tmp_path / "one").glob("*.arrow"):
        file.write_bytes(b"damaged")
    assert "cannot be read as a dataset of save_to_disk" in _error(tmp_path / "one")


def test_messages_become_the_prompt_up_to_the_first_answer(tmp_path):
    turns = [
        ("developer", "Be long."),
        ("user", [{"type": "text", "text": "Write."}]),
        ("assistant", "No."),
        ("user", "Do."),
    ]
    path = _lines(tmp_path / "m.jsonl", {"messages": [{"role": role, "content": text} for role, text in turns]})
    (row,) = read_rows(path, Prompt)
    assert row.messages == [{"role": "system", "content": "Be long."}, {"role": "user", "content": "Write."}]


def test_what_is_wrong_in_a_turn_is_named_by_its_place(tmp_path):
    image = {"type": "image_url", "image_url": {"url": "x"}}
    turns = [{"from": "human", "value": "Write."}, {"role": "user", "content": [image]}]
    path = _lines(tmp_path / "m.jsonl", {"conversations": turns[:1]})
    assert next(iter(read_rows(path, Prompt))).messages == [{"role": "user", "content": "Write."}]
    assert _error(_lines(path, {"messages": turns})) == ":1: prompt.1.content: Input should be a valid string"
    assert _error(_lines(path, {"id": "a", "prompt": 5})) == ":1: prompt: Input should be a valid string"


def test_columns_are_named_on_the_command_line(tmp_path):
    path = _write_csv(tmp_path / "q.csv", [{"key": "7", "question": "Write.", "prompt": "unused"}])
    assert _pairs(path, Reading.parse(("prompt=question", "id=key"))) == [{"id": "7", "prompt": "Write."}]
    responses = _lines(tmp_path / "r.jsonl", {"prompt_id": 7, "writer": "m", "output": "t"})
    (row,) = read_rows(responses, Response, Reading.parse(("text=output", "model=writer", "prompt=question")))
    assert (row.prompt_id, row.model, row.text) == ("7", "m", "t")


def test_a_missing_column_is_named_with_those_that_are_there(tmp_path):
    path = _write_csv(tmp_path / "q.csv", [{"question": "Write.", "level": "1"}])
    assert _error(path, Prompt, Reading.parse()) == (
        ":2: prompt: Field required; its fields are 'question', 'level'; --column prompt=NAME names another column"
    )


@pytest.mark.parametrize(
    ("column", "message"),
    [("prompt", "needs FIELD=NAME"), ("promt=q", "did you mean 'prompt'"), ("=q", "needs FIELD=NAME")],
)
def test_a_mistyped_column_is_refused(column, message):
    with pytest.raises(BadInputError, match=message):
        Reading.parse((column,))


def test_ids_are_text_and_made_of_the_content_where_they_are_missing(tmp_path):
    path = _lines(
        tmp_path / "p.jsonl", {"id": 7, "prompt": "x"}, {"prompt": "y"}, {"id": None, "prompt": "y"}, {"prompt": "z"}
    )
    ids = [it.id for it in read_rows(path, Prompt)]
    made = content_id(["y"])
    assert ids == ["7", made, f"{made}-2", content_id(["z"])]
    _lines(tmp_path / "other.jsonl", {"prompt": "z"}, {"prompt": "y"})
    assert [it.id for it in read_rows(tmp_path / "other.jsonl", Prompt)] == [content_id(["z"]), made]


def test_null_is_a_missing_value(tmp_path):
    path = _lines(tmp_path / "r.jsonl", {"prompt_id": 7, "model": "m", "text": "t", "sample": None, "meta": None})
    (row,) = read_rows(path, Response)
    assert (row.sample, row.meta) == (0, {})
    path = _lines(tmp_path / "r.jsonl", {"prompt_id": 7, "model": "m", "text": None})
    assert _error(path, Response) == ":1: text: Input should be a valid string"


def test_integer_ids_that_come_twice_are_still_an_error(tmp_path):
    path = _lines(tmp_path / "p.jsonl", {"id": 7, "prompt": "x"}, {"id": "7", "prompt": "y"})
    assert _error(path) == ":2: id='7': duplicate key, first in row 1"


def test_a_bad_byte_and_a_lone_surrogate_are_replaced_and_counted(tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_bytes(
        b'{"id":"a","prompt":"x\xff"}\n{"id":"b","prompt":"\\ud83d y"}\n{"id":"c","prompt":"\\ud83d\\ude00"}\n'
    )
    with pytest.warns(
        RowsWarning, match=r"p\.jsonl: 2 rows with bytes that are not UTF-8, or lone surrogates"
    ) as caught:
        assert [it.prompt for it in read_rows(path, Prompt)] == ["x\ufffd", "\ufffd y", "\U0001f600"]
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write_rows(tmp_path / "again.jsonl", read_rows(path, Prompt))


@pytest.mark.parametrize("kind", ["csv", "txt", "json"])
def test_bad_bytes_of_every_text_format_are_replaced(tmp_path, kind):
    content = {"csv": b"id,prompt\na,x\xff\n", "txt": b"x\xff\n", "json": b'[{"id": "a", "prompt": "x\xff"}]'}[kind]
    (tmp_path / f"p.{kind}").write_bytes(content)
    with pytest.warns(RowsWarning, match="1 row with bytes"):
        assert [it.prompt for it in read_rows(tmp_path / f"p.{kind}", Prompt)] == ["x\ufffd"]


def test_parquet_with_bytes_that_are_no_text_is_read(tmp_path):
    bad = pa.array([b"a\xff", b"b"]).cast(pa.binary())
    strings = pa.Array.from_buffers(pa.string(), 2, bad.buffers())
    turns = pa.ListArray.from_arrays([0, 1, 2], pa.StructArray.from_arrays([strings], ["text"]))
    pq.write_table(
        pa.table({"id": ["1", "2"], "prompt": strings, "meta": pa.StructArray.from_arrays([turns], ["x"])}),
        tmp_path / "p.parquet",
    )
    with pytest.warns(RowsWarning, match="1 row with bytes"):
        rows = list(read_rows(tmp_path / "p.parquet", Prompt))
    assert [it.prompt for it in rows] == ["a\ufffd", "b"]
    assert rows[0].meta == {"x": [{"text": "a\ufffd"}]}


def test_bad_rows_are_skipped_up_to_a_number(tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_text('{"id":"a","prompt":"x"}\n{oops\n{"id":"a","prompt":"again"}\n{"id":"b","prompt":"y"}\n')
    with pytest.warns(RowsWarning, match=r"p\.jsonl: skipped 2 bad rows; the first: .*p\.jsonl:2: Invalid JSON"):
        assert [it.id for it in read_rows(path, Prompt, Reading(skip_bad_rows=2))] == ["a", "b"]
    assert _error(path, reading=Reading(skip_bad_rows=1)).startswith(
        ":3: id='a': duplicate key, first in row 1 (more than"
    )
    assert _error(path).startswith(":2: Invalid JSON")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("id,prompt\na,b,c\n", ":2: has 3 fields, the header 2"),
        ("id,id,prompt\na,b,c\n", ":1: id: two columns have this name"),
        ("id,prompt\na,\n", ":2: prompt: is empty"),
        ("id,prompt\n", ": contains no rows"),
        ("", ": contains no rows"),
        ("  \n \n", ": contains no rows"),
        ('id,prompt\na,"x\nb,y\n', ":2: not CSV: a quote that opens in this row is not closed"),
        ('id,prompt\na,"say \\"hi\\""\n', ":2: not CSV: ',' expected"),
        ("id,prompt\ra,x\r", ":1: not CSV: a carriage return ends no line"),
        ("sep=;\nid;prompt\na;x;y\n", ":3: has 3 fields"),
    ],
)
def test_a_bad_csv_file_is_one_line(tmp_path, content, message):
    (tmp_path / "p.csv").write_text(content)
    assert _error(tmp_path / "p.csv").startswith(message)


def test_lines_of_csv_are_those_of_the_file(tmp_path):
    (tmp_path / "p.csv").write_text('id,prompt\na,"two\nlines"\nb,x\nb,y\n')
    assert _error(tmp_path / "p.csv").startswith(":5: id='b': duplicate key, first in row 4")


def test_cells_hold_json_where_a_field_is_not_a_text(tmp_path):
    row = {"id": "a", "prompt": "[1] Write.", "length_range": "[100, 200]", "meta": '{"x": 1}', "criteria": ""}
    (read,) = read_rows(_write_csv(tmp_path / "p.csv", [row]), Prompt)
    assert (read.prompt, read.length_range, read.meta, read.criteria) == ("[1] Write.", (100, 200), {"x": 1}, None)
    with pytest.warns(RowsWarning, match="1 row with"):
        (read,) = read_rows(_write_csv(tmp_path / "s.csv", [row | {"meta": '{"x": "\\ud83d"}'}]), Prompt)
    assert read.meta == {"x": "\ufffd"}
    turns = [{"role": "user", "content": "Write."}]
    (read,) = read_rows(_write_csv(tmp_path / "m.csv", [{"prompt": json.dumps(turns)}]), Prompt)
    assert read.messages == turns


def test_a_semicolon_a_bar_or_a_stated_sign_may_separate_columns(tmp_path):
    for delimiter in ";|\t":
        assert _pairs(_write_csv(tmp_path / "p.csv", ROWS, delimiter=delimiter)) == ROWS
    (tmp_path / "p.csv").write_text("\ufeffsep=^\nid^prompt\n a ^x\n")
    assert _pairs(tmp_path / "p.csv") == [{"id": "a", "prompt": "x"}]


def test_texts_longer_than_the_csv_modules_limit_are_read(tmp_path):
    assert (
        len(_pairs(_write_csv(tmp_path / "p.csv", [{"id": "a", "prompt": "word " * 100_000}]))[0]["prompt"]) == 500_000
    )


def test_the_same_readers_serve_responses_grades_games_and_pairs(tmp_path):
    _write_csv(tmp_path / "r.csv", [{"prompt_id": "1", "model": "m", "text": "", "sample": ""}])
    _write_csv(tmp_path / "g.tsv", [{"prompt_id": "1", "model": "m", "score": "4.5"}], delimiter="\t")
    (tmp_path / "p.json").write_text(json.dumps([{"prompt": "p", "response_a": "a", "response_b": "b"}]))
    _write_csv(tmp_path / "w.csv", [{"prompt_id": "1", "model_a": "m", "model_b": "n", "winner": "a"}])
    assert [(it.text, it.sample) for it in read_rows(tmp_path / "r.csv", Response)] == [("", 0)]
    assert [it.score for it in read_rows(tmp_path / "g.tsv", Grade)] == [4.5]
    assert [it.id for it in read_rows(tmp_path / "p.json", Pair)] == [content_id(["p", "a", "b"])]
    assert [it.winner for it in read_rows(tmp_path / "w.csv", Game)] == ["a"]


def test_keys_are_unique_over_files(tmp_path):
    one, two = _lines(tmp_path / "one.jsonl", ROWS[0]), _write_csv(tmp_path / "two.csv", ROWS[:1])
    with pytest.raises(BadInputError, match=r"two\.csv:2: id='a': duplicate key, first in row 1 of .*one\.jsonl"):
        list(read_all([one, two], Prompt))


def test_what_is_nested_too_deeply_to_be_written_is_a_bad_row(tmp_path):
    deep = '{"id":"a","prompt":"\\ud83d","x":' + "[" * 400 + "]" * 400 + "}"
    (tmp_path / "p.jsonl").write_text(deep + "\n")
    assert "deep" in _error(tmp_path / "p.jsonl")


def test_a_dataset_id_is_read_like_a_file(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    saved = datasets.Dataset.from_list(ROWS)
    monkeypatch.setattr(datasets, "load_dataset", lambda name, streaming: {"train": saved})
    assert _pairs("owner/name") == ROWS
    monkeypatch.setattr(datasets, "load_dataset", lambda name, streaming: {"a": saved, "b": saved})
    assert "has no split train, but a, b" in _error("owner/name")


def test_a_file_of_a_datasets_name_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "owner").mkdir()
    _lines(tmp_path / "owner" / "name", *ROWS)
    assert _pairs("owner/name") == ROWS


def test_thoughts_of_another_tools_responses_are_no_part_of_their_text(tmp_path):
    texts = ["<think>hm</think>\n\nA day.", "hm</think>A day.", "<think></think>A day.", "<think>hm", "A <think>-tag."]
    path = _lines(
        tmp_path / "r.jsonl", *({"prompt_id": str(n), "model": "m", "text": it} for n, it in enumerate(texts))
    )
    with pytest.warns(RowsWarning, match="4 rows with thoughts before the text"):
        rows = list(read_rows(path, Response))
    assert [it.text for it in rows] == ["A day.", "A day.", "A day.", "", "A <think>-tag."]
    assert [it.meta.get("thoughts") for it in rows] == ["hm", "hm", None, "hm", None]
    assert [it.finish_reason for it in rows] == [None, None, None, "length", None]
    write_rows(path, (it.model_copy(update={"text": texts[0], "made_from": {}}) for it in rows))
    assert [it.text for it in read_rows(path, Response)] == texts[:1] * 5  # of our own, already separated


def test_thoughts_are_no_part_of_the_texts_of_a_pair_unless_judges_have_read_them(tmp_path):
    thought = {"id": "1", "prompt": "Write.", "response_a": "<think>hm</think>One.", "response_b": "Two.", "label": "a"}
    read = {"id": "2", "verdicts": {"judge": {"ab": "a"}}}
    cut_off = {"id": "3", "response_a": "<think>hm"}
    path = _lines(tmp_path / "pairs.jsonl", thought, thought | read, thought | cut_off)
    with pytest.warns(RowsWarning, match="1 row with thoughts before the text"):
        rows = list(read_rows(path, Pair))
    assert [it.response_a for it in rows] == ["One.", "<think>hm</think>One.", "<think>hm"]
