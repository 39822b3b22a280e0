"""The Parquet files of the released Writing-RL code and of verl."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from longform.records.errors import BadInputError
from longform.records.interchange import is_writing_rl, read_writing_rl, write_verl, write_writing_rl
from longform.records.schemas import Criterion, Ladder, Message, Reference

LADDER = Ladder(
    id="p1",
    prompt="写一个故事。",
    criteria="warm, and not too long",
    references=[Reference(model="policy", text="weak", score=3.5), Reference(model="b", text="strong", score=8.0)],
    policy_score=3.5,
    potential=4.5,
)
TALK = LADDER.model_copy(
    update={
        "id": "p2",
        "prompt": [Message(role="user", content="Hello"), Message(role="assistant", content="Hi"),
                   Message(role="user", content="A story, please.")],
        "criteria": [Criterion(name="wit", description="makes one laugh"), Criterion(name="grace")],
    }
)  # fmt: skip


def _truth(**changed):
    truth = {"prompt": "Write.", "target": ["weak", "strong"], "criteria": "c", "id": "p1", **changed}
    return {"reward_model": {"ground_truth": {name: value for name, value in truth.items() if value is not None}}}


def _parquet(path, *rows):
    pq.write_table(pa.Table.from_pylist(list(rows)), path)
    return path


def test_ladders_survive_a_round_trip_but_for_their_scores(tmp_path):
    path = tmp_path / "train.parquet"
    assert write_writing_rl(path, [LADDER, TALK]) == 2
    assert is_writing_rl(path)
    first, second = read_writing_rl(path)
    assert (first.id, first.prompt, first.criteria) == ("p1", "写一个故事。", "warm, and not too long")
    assert [reference.text for reference in first.references] == ["weak", "strong"]
    assert [reference.score for reference in first.references] == [0, 1], "ranks stand in for scores that are not there"
    assert first.meta == {"scores": "ranks"}
    assert second.prompt == TALK.request
    assert second.criteria == "wit: makes one laugh\ngrace: "


def test_a_row_is_written_as_the_released_code_reads_it(tmp_path):
    write_writing_rl(tmp_path / "t.parquet", [LADDER], split="test")
    (row,) = pq.read_table(tmp_path / "t.parquet").to_pylist()
    assert row["prompt"][-1] == {"role": "user", "content": "写一个故事。"}
    assert row["prompt"][0]["role"] == "system"
    assert row["reward_model"]["ground_truth"]["target"] == ["weak", "strong"]
    assert row["extra_info"] == {"index": 0, "split": "test"}


def test_a_single_text_is_a_ladder_of_one_rung(tmp_path):
    (ladder,) = read_writing_rl(_parquet(tmp_path / "t.parquet", _truth(target="the only one")))
    assert [reference.text for reference in ladder.references] == ["the only one"]
    assert ladder.potential == 0


def test_an_id_may_be_a_number_and_criteria_may_be_missing(tmp_path):
    (ladder,) = read_writing_rl(_parquet(tmp_path / "t.parquet", _truth(id=7, criteria=None)))
    assert (ladder.id, ladder.criteria) == ("7", None)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (_truth(target=None), ":1: reward_model.ground_truth.target: Field required"),
        (_truth(prompt=None), ":1: reward_model.ground_truth.prompt: Field required"),
        (_truth(id=None), ":1: reward_model.ground_truth.id: Field required"),
        (_truth(target=[]), ":1: reward_model.ground_truth.target: no text"),
        (_truth(prompt=""), ":1: reward_model.ground_truth.prompt: String should have at least 1 character"),
        ({"reward_model": {"style": "rule"}}, ":1: reward_model.ground_truth: Field required"),
        ({"prompt": "no reward model"}, ":1: reward_model: Field required"),
    ],
)
def test_a_bad_row_is_one_line_naming_file_row_and_field(tmp_path, row, message):
    path = _parquet(tmp_path / "t.parquet", row)
    with pytest.raises(BadInputError) as caught:
        list(read_writing_rl(path))
    assert "\n" not in str(caught.value)
    assert str(caught.value).removeprefix(str(path)).startswith(message)


def test_two_rows_of_one_id_are_refused(tmp_path):
    path = _parquet(tmp_path / "t.parquet", _truth(), _truth(id="p2"), _truth())
    with pytest.raises(BadInputError, match=r"t\.parquet:3: .*'p1': duplicate key, first in row 1"):
        list(read_writing_rl(path))


def test_what_is_no_parquet_is_no_file_of_the_released_code(tmp_path):
    (tmp_path / "t.parquet").write_text("no parquet")
    assert not is_writing_rl(tmp_path / "t.parquet")
    assert not is_writing_rl(tmp_path / "none.parquet")


def test_verl_gets_messages_and_the_whole_ladder(tmp_path):
    path = tmp_path / "verl.parquet"
    assert write_verl(path, [LADDER, TALK], split="validation") == 2
    assert not is_writing_rl(path) or pq.read_table(path).to_pylist()[0]["data_source"] == "longform"
    rows = pq.read_table(path).to_pylist()
    assert rows[1]["prompt"] == TALK.messages
    assert [row["extra_info"]["index"] for row in rows] == [0, 1]
    assert {row["extra_info"]["split"] for row in rows} == {"validation"}
    assert rows[0]["extra_info"]["rungs"] == [it.model for it in LADDER.references]
    assert Ladder.model_validate(json.loads(rows[0]["extra_info"]["row"])) == LADDER
    assert Ladder.model_validate(json.loads(rows[1]["extra_info"]["row"])) == TALK
