"""Published layouts are told by their fields; what fits none, or breaks its own, is named in one line."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from longform.records.errors import BadInputError
from longform.selection.formats import (
    LAYOUTS,
    ChatLog,
    Conversations,
    PromptsFile,
    WritingBenchRow,
    make_prompt,
    recognise,
)
from longform.selection.sources import read_dataset, read_source, source_name

USER, ANSWER = "Write a story about a lighthouse.", "Once upon a time"
WILDCHAT = {
    "conversation_hash": "abc",
    "model": "m",
    "conversation": [
        {"role": "user", "content": USER, "language": "English", "header": {"user-agent": "x"}, "toxic": False},
        {"role": "assistant", "content": ANSWER, "language": "English", "header": None, "toxic": False},
        {"role": "user", "content": "again", "language": "French", "header": None, "toxic": False},
    ],
    "language": "French",
    "toxic": False,
    "redacted": True,
    "openai_moderation": [{"categories": {"hate": False}, "flagged": False}],
}
LMSYS = {
    "conversation_id": "33f",
    "conversation": [{"role": "user", "content": USER}, {"role": "assistant", "content": ANSWER}],
    "language": "Portuguese",
    "openai_moderation": [{"categories": {"hate": False}, "flagged": False}, {"categories": {}, "flagged": True}],
    "redacted": False,
}
LONGWRITER = {"messages": [{"role": "system", "content": "Be long."}, {"role": "user", "content": USER}], "length": 9}
QUERY = {
    "index": 16,
    "domain1": "Literature",
    "domain2": "Story",
    "lang": "en",
    "query": USER,
    "checklist": [{"name": "Mood", "criteria_description": "Is it dark?", "1-2": "no", "9-10": "yes"}],
}
OWN = {"id": "p1", "prompt": USER, "length_range": [100, 200], "meta": {"kind": "story"}, "seed": 4}


def _lines(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def _offer(path):
    (placed,) = read_source(str(path))
    return placed.offer


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (WILDCHAT, {"id": "abc", "language": "en", "toxic": False, "redacted": True}),
        (LMSYS, {"id": "33f", "language": "pt", "toxic": True, "redacted": False}),
        (LONGWRITER, {"id": None, "prefix": "longwriter", "language": None}),
        (QUERY, {"id": "16", "prefix": "writingbench", "language": "en"}),
        (OWN, {"id": "p1", "prefix": "", "language": None}),
    ],
)
def test_each_layout_offers_its_first_user_turn_and_what_its_source_says(tmp_path, row, expected, suffix):
    path = tmp_path / f"rows.{suffix}"
    if suffix == "parquet":
        pq.write_table(pa.Table.from_pylist([row]), path)
    else:
        _lines(path, row)
    offer = _offer(path)
    assert offer.request == USER
    assert {name: getattr(offer, name) for name in expected} == expected


def test_a_checklist_becomes_criteria_with_all_it_holds():
    prompt = make_prompt(WritingBenchRow.model_validate(QUERY).offer(), id="w", meta={"source": "s"})
    assert isinstance(prompt.criteria, list)
    assert prompt.criteria[0].model_dump() == {
        "name": "Mood",
        "description": "Is it dark?",
        "1-2": "no",
        "9-10": "yes",
    }
    assert prompt.meta == {"source": "s", "domain1": "Literature", "domain2": "Story"}


def test_a_checks_own_description_is_kept():
    check = {"name": "x", "description": "foo", "9-10": "yes"}
    row = WritingBenchRow.model_validate(QUERY | {"checklist": [check, {**check, "description": None}]})
    first, second = row.offer().fields["criteria"]
    assert first.model_dump() == check
    assert second.description == ""


def test_a_prompts_file_keeps_what_it_holds():
    prompt = make_prompt(PromptsFile.model_validate(OWN).offer(), id="p1", meta={"source": "s"})
    assert prompt.model_dump(exclude_none=True) == {
        **OWN,
        "length_range": (100, 200),
        "meta": {"source": "s", "kind": "story"},
    }


def test_the_messages_of_a_prompts_file_stay_messages():
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": USER}]
    offer = PromptsFile.model_validate({"prompt": messages}).offer()
    assert offer.request == USER
    assert make_prompt(offer, id="p", meta={}).messages == messages


@pytest.mark.parametrize(
    ("fields", "layout"),
    [
        ({"conversation_hash", "conversation", "prompt"}, ChatLog),
        ({"conversation_id", "conversation"}, ChatLog),
        ({"messages", "prompt"}, Conversations),
        ({"query", "domain1"}, WritingBenchRow),
        ({"prompt_id", "prompt"}, PromptsFile),
        ({"prompt_id", "writing_prompt"}, PromptsFile),
        ({"conversation"}, None),
        ({"query"}, None),
        (set(), None),
    ],
)
def test_a_layout_is_told_by_its_fields(fields, layout):
    assert recognise(fields) is layout


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_without_a_user_turn_or_text_offers_nothing(layout):
    empty = {"conversation_id": "c", "conversation": [], "messages": [], "domain1": "d", "query": "", "prompt": ""}
    assert layout.model_validate(empty).offer().request == ""


def test_fields_that_fit_none_are_named(tmp_path):
    path = _lines(tmp_path / "odd.jsonl", {"question": "?", "answer": "!"})
    with pytest.raises(BadInputError, match=r'odd\.jsonl: .*its fields are \["answer", "question"\]'):
        list(read_source(str(path)))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([LMSYS, {**LMSYS, "conversation": "hello"}], "rows.jsonl:2: conversation: "),
        ([LMSYS, {"conversation_id": "x"}], "rows.jsonl:2: conversation: Field required"),
        ([QUERY, {**QUERY, "checklist": [{"criteria_description": "?"}]}], "rows.jsonl:2: checklist.0.name"),
        ([QUERY, {**QUERY, "checklist": [{"name": "x", "description": 5}]}], "rows.jsonl:2: checklist.0.description"),
        ([OWN, {**OWN, "length_range": [5, 1]}], "rows.jsonl:2: length_range"),
        ([OWN, [1]], "rows.jsonl:2: "),
        ([], "rows.jsonl: contains no rows"),
    ],
)
def test_a_bad_row_is_named(tmp_path, rows, message):
    path = _lines(tmp_path / "rows.jsonl", *rows)
    with pytest.raises(BadInputError) as caught:
        list(read_source(str(path)))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_bad_row_of_a_parquet_file_is_named(tmp_path):
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.Table.from_pylist([LMSYS, {**LMSYS, "conversation_id": None}]), path)
    with pytest.raises(BadInputError, match=r"rows\.parquet:2: conversation_id: "):
        list(read_source(str(path)))


@pytest.mark.parametrize("name", ["bad.parquet", "nothing.parquet", "nothing.jsonl", "nothing", "a/b/c"])
def test_what_cannot_be_read_is_named(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.parquet").write_bytes(b"no parquet")
    with pytest.raises(BadInputError, match=rf"{name}: cannot be read"):
        list(read_source(name))


def test_a_folder_is_read_file_by_file_in_the_order_of_names(tmp_path):
    (tmp_path / "log" / "data").mkdir(parents=True)
    for number in (2, 0, 1):
        row = {**LMSYS, "conversation_id": str(number)}
        pq.write_table(pa.Table.from_pylist([row]), tmp_path / "log" / "data" / f"train-{number}.parquet")
    placed = list(read_source(str(tmp_path / "log")))
    assert [it.offer.id for it in placed] == ["0", "1", "2"]
    assert placed[0].place.endswith("train-0.parquet:1")
    assert source_name(str(tmp_path / "log")) == "log"


def test_a_folder_without_rows_is_named(tmp_path):
    with pytest.raises(BadInputError, match=r"holds no \.parquet, \.jsonl, .*\.csv, .* or \.txt file"):
        list(read_source(str(tmp_path)))


def test_of_a_parquet_log_only_what_is_needed_is_read(tmp_path):
    """A date that Python cannot hold, where nobody asks for it, does no harm."""
    path = tmp_path / "log.parquet"
    table = pa.Table.from_pylist([WILDCHAT])
    pq.write_table(table.append_column("timestamp", pa.array([2**50], pa.timestamp("ms"))), path)
    assert _offer(path).id == "abc"


@pytest.fixture
def repository(tmp_path):
    """A dataset as the hub would hold it."""
    folder = tmp_path / "owner" / "log"
    (folder / "data").mkdir(parents=True)
    rows = [{**WILDCHAT, "conversation_hash": str(number)} for number in range(3)]
    pq.write_table(pa.Table.from_pylist(rows[:2]), folder / "data" / "train-00000-of-00002.parquet")
    pq.write_table(pa.Table.from_pylist(rows[2:]), folder / "data" / "train-00001-of-00002.parquet")
    (folder / "README.md").write_text("---\nlicense: odc-by\n---\n")
    return folder


def test_a_dataset_is_read_as_a_stream(repository):
    placed = list(read_dataset(str(repository)))
    assert [it.offer.id for it in placed] == ["0", "1", "2"]
    assert {it.offer.request for it in placed} == {USER}
    assert placed[2].place == f"{repository}:3"


def test_a_dataset_with_one_split_needs_no_train(tmp_path):
    (tmp_path / "d").mkdir()
    _lines(tmp_path / "d" / "test.jsonl", OWN)
    assert [it.offer.id for it in read_dataset(str(tmp_path / "d"))] == ["p1"]


def test_a_dataset_of_several_splits_without_train_is_refused(tmp_path):
    (tmp_path / "d").mkdir()
    _lines(tmp_path / "d" / "test.jsonl", OWN)
    _lines(tmp_path / "d" / "validation.jsonl", OWN)
    with pytest.raises(BadInputError, match="has no split train, but validation, test"):
        list(read_dataset(str(tmp_path / "d")))


def test_a_dataset_of_another_layout_is_named(tmp_path):
    (tmp_path / "d").mkdir()
    _lines(tmp_path / "d" / "train.jsonl", {"question": "?"})
    with pytest.raises(BadInputError, match=r'd: .*its fields are \["question"\]'):
        list(read_dataset(str(tmp_path / "d")))


def test_an_id_that_cannot_be_reached_is_one_line(monkeypatch, capfd):
    import datasets.config
    import huggingface_hub.constants

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(BadInputError, match="nobody/nothing: cannot be read as a dataset: ") as caught:
        list(read_source("nobody/nothing"))
    assert str(caught.value).endswith("; there is no such file or folder here either")
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_each_text_file_of_a_folder_is_a_prompt_whose_name_is_its_id(tmp_path):
    (tmp_path / "asked").mkdir()
    for name in ("b", "a"):
        (tmp_path / "asked" / f"{name}.txt").write_text(f"Write about {name}.\n")
    assert [(it.offer.id, str(it.offer.request).strip()) for it in read_source(str(tmp_path / "asked"))] == [
        ("a", "Write about a."),
        ("b", "Write about b."),
    ]
