"""LIFEBench: its prompts, and its scores against numbers worked out by hand."""

import json
from math import exp
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longform.evaluation.benchmarks.benchmark import Answers, Material
from longform.evaluation.benchmarks.lifebench import (
    LENGTHS,
    METHODS,
    LengthConstraint,
    LifeBench,
    length_instruction_score,
)
from longform.records.errors import BadInputError
from longform.records.schemas import Response

BENCH = LifeBench()
ENGLISH = {
    "task": "Write a tale. It must be {word_count_type} {word_count} words long.",
    "type": "story",
    "category": "creative",
    "lang": "en",
}
CHINESE = {
    "task": "写一篇故事，长度{word_count_type}{word_count}字。",
    "type": "story",
    "category": "creative",
    "lang": "cn",
}


def dump(path, rows):
    path.write_text("".join(json.dumps(it, ensure_ascii=False) + "\n" for it in rows), encoding="utf-8")
    return path


def rows_of(tables, title) -> list[dict[str, Any]]:
    (table,) = [it for it in tables if it.title == title]
    names = [column.name for column in table.columns]
    return [dict(zip(names, it, strict=True)) for it in table.rows]


def words(count):
    return " ".join(["word"] * count)


def test_each_task_is_set_with_ten_lengths_in_three_ways(tmp_path):
    items = BENCH.read(dump(tmp_path / "data.jsonl", [ENGLISH, CHINESE]))
    prompts = {it.id: it.request for it in BENCH.prompts(items)}
    assert len(prompts) == 2 * len(LENGTHS) * len(METHODS) == 60
    english, chinese = (item.id for item in items)
    assert prompts[f"{english}#at-least#64"] == "Write a tale. It must be at least 64 words long."
    assert prompts[f"{chinese}#at-most#8192"] == "写一篇故事，长度至多有8192字。"
    assert prompts[f"{chinese}#equal-to#16"] == "写一篇故事，长度等于16字。"
    assert items[1].lang == "zh"


def test_a_row_may_name_fewer_lengths_and_ways(tmp_path):
    (item,) = BENCH.read(dump(tmp_path / "data.jsonl", [ENGLISH | {"id": 7, "lengths": [128], "methods": ["at most"]}]))
    assert [it.id for it in BENCH.prompts([item])] == ["7#at-most#128"]


@pytest.mark.parametrize(
    ("method", "written", "score"),
    [
        ("equal to", 100, 100),
        ("equal to", 80, 100 * exp(-1)),
        ("equal to", 150, 100 * exp(-1)),
        ("at most", 40, 100),
        ("at most", 150, 100 * exp(-1)),
        ("at least", 500, 100),
        ("at least", 80, 100 * exp(-1)),
        ("at most", 1, 0),
        ("equal to", 0, 0),
    ],
)
def test_scores_by_hand(method, written, score):
    """Of 100 words: 20 too few is a deviation of -0.2, times 5; 50 too many 0.5, times -2."""
    assert length_instruction_score(method=method, required=100, written=written) == pytest.approx(score)


@given(st.sampled_from(METHODS), st.integers(1, 10_000), st.integers(0, 50_000))
def test_a_score_is_within_its_range_and_full_at_the_length(method, required, written):
    assert 0 <= length_instruction_score(method=method, required=required, written=written) <= 100
    assert length_instruction_score(method=method, required=required + 1, written=required + 1) == 100


@pytest.mark.parametrize("method", METHODS)
def test_an_id_says_what_was_asked_for(method):
    constraint = LengthConstraint("a#b", method, 32)
    assert LengthConstraint.parse(constraint.id) == constraint


def test_the_overall_score_is_the_mean_over_texts_of_a_way_of_asking(tmp_path):
    rows = [ENGLISH | {"id": "a", "lengths": [100, 200]}, CHINESE | {"id": "b", "lengths": [100, 200]}]
    items = BENCH.read(dump(tmp_path / "data.jsonl", rows))
    texts = {
        "a#equal-to#100": words(100),
        "a#equal-to#200": words(300),
        "b#equal-to#100": "字" * 80,
        "b#equal-to#200": "",
        "a#at-most#100": words(10),
        "a#at-least#100": words(80),
    }
    responses = [Response(prompt_id=it, model="m", text=text) for it, text in texts.items()]
    found = Material({it.id: it for it in items}, responses)
    tables = BENCH.tables(found, Answers())
    overall = {it["asked for"]: it for it in rows_of(tables, "LIFEBench")}
    assert list(overall) == list(METHODS)
    assert overall["equal to"]["score"].estimate == pytest.approx((100 + 200 * exp(-1)) / 4)
    assert overall["equal to"]["deviation %"].estimate == pytest.approx((0 + 50 + 20 + 100) / 4)
    assert (overall["equal to"]["n score"], overall["equal to"]["prompts"]) == (4, 2)
    assert overall["at most"]["score"].estimate == 100
    assert overall["at least"]["score"].estimate == pytest.approx(100 * exp(-1))
    by = {it["equal to"]: it["score"].estimate for it in rows_of(tables, "Equal to, by length")}
    assert by == {"100": pytest.approx(50 + 50 * exp(-1)), "200": pytest.approx(50 * exp(-1))}
    assert any("at most one word, which score 0: 1" in note for note in tables[0].notes)
    assert len(BENCH.scored(found, Answers())) == 6


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "Write."}, r"prompt: lacks \{word_count_type\}"),
        ({"task": 3}, "task: not a text"),
        ({"lengths": [0]}, "lengths: needs positive numbers"),
        ({"methods": ["about"]}, "methods.0: Input should be 'equal to'"),
    ],
)
def test_a_row_that_cannot_be_set_is_refused(tmp_path, changes, message):
    with pytest.raises(BadInputError, match=message):
        BENCH.read(dump(tmp_path / "data.jsonl", [ENGLISH | changes]))
