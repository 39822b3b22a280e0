"""LongBench-Write and LongWrite-Ruler: formulas against numbers worked out by hand, and their sets."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from longform.evaluation.benchmarks.benchmark import Answers, JudgePrompt, Material
from longform.evaluation.benchmarks.longbench_write import LongBenchWrite, quality_scores
from longform.evaluation.benchmarks.longwrite_ruler import LongWriteRuler
from longform.evaluation.benchmarks.sets import with_old_ids
from longform.judging.answers import read_fences
from longform.judging.criteria import QUALITIES
from longform.judging.judge_template import JudgeTemplate
from longform.records.errors import BadInputError
from longform.records.schemas import Response
from longform.statistics.bootstrap import clustered_median
from longform.text.words import LENGTH_BINS

DATA = Path(__file__).parents[5] / "shared" / "data"
WRITE, RULER = LongBenchWrite(), LongWriteRuler()
ROWS = [
    {"prompt": "Write 100 words.", "type": "News Report", "length": 100},
    {"prompt": "写一篇500字的新闻。", "type": "News Report", "length": 500},
    {"prompt": "Write 4000 words.", "type": "Popular Science", "length": 4000},
]
six = dict.fromkeys


def read(benchmark, tmp_path, rows=None):
    path = tmp_path / "set.jsonl"
    path.write_text("".join(json.dumps(it) + "\n" for it in (ROWS if rows is None else rows)), encoding="utf-8")
    return benchmark.read(path)


def material(items, texts, model="m"):
    return Material(
        {it.id: it for it in items},
        [Response(prompt_id=it.id, model=model, text=text) for it, text in zip(items, texts, strict=True)],
    )


def rows_of(tables, title) -> list[dict[str, Any]]:
    (table,) = [it for it in tables if it.title == title]
    names = [column.name for column in table.columns]
    return [dict(zip(names, it, strict=True)) for it in table.rows]


def test_a_published_row_gets_an_id_and_a_language(tmp_path):
    items = read(WRITE, tmp_path)
    assert [it.lang for it in items] == ["en", "zh", "en"]
    assert all(re.fullmatch("lbw-[0-9a-f]{16}", it.id) for it in items)
    kept = read(WRITE, tmp_path, [ROWS[0] | {"id": "x", "lang": "zh"}])[0]
    assert (kept.id, kept.lang) == ("x", "zh")


def test_an_id_is_that_of_the_request_wherever_it_stands(tmp_path):
    ids = {it.prompt: it.id for it in read(WRITE, tmp_path)}
    assert {it.prompt: it.id for it in read(WRITE, tmp_path, ROWS[::-1])} == ids
    other = read(WRITE, tmp_path, [ROWS[0] | {"prompt": "Write 100 other words."}])[0]
    assert other.id not in ids.values()
    twice = read(WRITE, tmp_path, [ROWS[0], ROWS[0]])
    assert [it.id for it in twice] == [ids["Write 100 words."], f"{ids['Write 100 words.']}-1"]
    assert [it.id for it in with_old_ids(twice)] == ["lbw-000", "lbw-001"]


def test_the_scores_of_longbench_write_are_those_of_its_formulas(tmp_path):
    """S_l: 150 of 100 words 83.33, 250 of 500 characters 50, nothing 0; S_q: 75, 6 scores of mean 3 50, nothing 0."""
    items = read(WRITE, tmp_path)
    texts = ["word " * 150, "字" * 250, ""]
    mixed = dict(zip(QUALITIES, (1, 2, 3, 3, 4, 5), strict=True))
    known = Answers({(items[0].id, "m", "0"): six(QUALITIES, 4), (items[1].id, "m", "0"): mixed})
    tables = WRITE.tables(material(items, texts), known)
    (overall,) = rows_of(tables, "LongBench-Write")
    assert overall["S_l"].estimate == pytest.approx((100 * (1 - 0.5 / 3) + 50 + 0) / 3)
    assert overall["S_q"].estimate == pytest.approx((75 + 50 + 0) / 3)
    assert overall["S"].estimate == pytest.approx((overall["S_l"].estimate + overall["S_q"].estimate) / 2)
    assert (overall["n S_l"], overall["n S_q"], overall["n S"]) == (3, 3, 3)
    by_dimension = rows_of(tables, "S_q by dimension")[0]
    assert by_dimension["Relevance"].estimate == pytest.approx(25 * (3 + 0 + 0) / 3)  # scores 4, 1 and 1
    assert by_dimension["Reading Experience"].estimate == pytest.approx(25 * (3 + 4 + 0) / 3)


def test_groups_are_length_bins_languages_and_types(tmp_path):
    tables = WRITE.tables(material(read(WRITE, tmp_path), ["word", "字", "word"]), Answers())
    assert [it["asked for"] for it in rows_of(tables, "By requested words")] == [
        LENGTH_BINS[0],
        LENGTH_BINS[1],
        LENGTH_BINS[3],
    ]
    assert {it["language"]: it["n S_l"] for it in rows_of(tables, "By language")} == {"en": 2, "zh": 1}
    assert {it["type"]: it["n S_l"] for it in rows_of(tables, "By type")} == {"Popular Science": 1, "News Report": 2}


def test_a_response_without_scores_of_the_judge_keeps_its_length_score(tmp_path):
    items = read(WRITE, tmp_path)
    known = Answers({(items[0].id, "m", "0"): six(QUALITIES, 5)}, {(items[1].id, "m", "0"): "no_answer"})
    (overall,) = rows_of(WRITE.tables(material(items, ["word " * 100, "字" * 500, ""]), known), "LongBench-Write")
    assert (overall["n S_l"], overall["n S_q"], overall["n S"]) == (3, 2, 2)
    assert overall["S_q"].estimate == pytest.approx((100 + 0) / 2)
    assert overall["S"].estimate == pytest.approx((100 + 0) / 2)


def test_without_any_scores_of_the_judge_the_cell_is_empty(tmp_path):
    (overall,) = rows_of(
        WRITE.tables(material(read(WRITE, tmp_path), ["word", "字", "word"]), Answers()), "LongBench-Write"
    )
    assert (overall["S_q"], overall["n S_q"]) == (None, 0)


def test_a_score_of_one_to_five_comes_to_nought_to_a_hundred():
    assert quality_scores(six(QUALITIES, 3) | {"Clarity": 5}) == six(QUALITIES, 50) | {"Clarity": 100}


@pytest.mark.parametrize("has_template", [False, True])
def test_an_answer_without_a_dimension_is_none_and_that_is_a_deviation(tmp_path, has_template):
    path = tmp_path / "t.txt"
    path.write_text("{request}{text}", encoding="utf-8")
    wording = JudgePrompt(b"s", JudgeTemplate.read(path, needs=("request", "text")) if has_template else None)
    asked = next(iter(WRITE.questions(material(read(WRITE, tmp_path), "abc"), Answers(), wording)))
    scores = six(QUALITIES, 2)
    del scores["Clarity"]
    assert asked.parse(json.dumps(scores if has_template else {"scores": scores})) is None
    assert any("Upstream counts the dimension as 3" in it for it in WRITE.card.deviations)


def test_only_what_is_not_empty_is_asked_about(tmp_path):
    items = read(WRITE, tmp_path)
    (asked,) = WRITE.questions(material(items, ["Text.", " \n", ""]), Answers(), JudgePrompt(b"s"))
    assert asked.about == (items[0].id, "m", "0")
    assert read_fences(asked.message()) == {"REQUEST": "Write 100 words.", "TEXT": "Text."}
    assert asked.parse(json.dumps({"scores": six(QUALITIES, 2)})) == six(QUALITIES, 2)


def test_a_tuned_judge_is_asked_by_its_template(tmp_path):
    path = tmp_path / "t.txt"
    path.write_text("<{request}><{text}>{criteria}", encoding="utf-8")
    settings = WRITE.card.judging
    assert settings is not None
    template = JudgeTemplate.read(path, needs=settings.slots, takes=settings.optional_slots)
    asked = next(iter(WRITE.questions(material(read(WRITE, tmp_path), "abc"), Answers(), JudgePrompt(b"s", template))))
    assert asked.message().startswith("<Write 100 words.><a>  - Relevance: ")
    assert asked.parse(json.dumps({"Analysis": "fine"} | six(QUALITIES, 2))) == six(QUALITIES, 2)


def test_the_ruler_holds_written_against_requested_words(tmp_path):
    tables = RULER.tables(material(read(RULER, tmp_path), ["word " * 150, "用Python写", ""]), Answers())
    (overall,) = rows_of(tables, "LongWrite-Ruler")
    assert overall["S_l"].estimate == pytest.approx(100 * (1 - 0.5 / 3) / 3)
    assert overall["median ratio"].estimate == pytest.approx(2 / 500)  # glued Latin letters are not counted
    assert overall["words"].estimate == pytest.approx(152 / 3)
    by_length = rows_of(tables, "By requested words")
    assert [(it["asked for"], it["median ratio"].estimate) for it in by_length] == [
        ("100", 1.5),
        ("500", 0.004),
        ("4000", 0),
    ]


def test_a_median_has_an_interval_over_prompts():
    values = list(np.random.default_rng(3).normal(10, 2, 400))
    interval = clustered_median(values, list(range(400)))
    assert interval.low < np.median(values) == interval.estimate < interval.high
    # The standard error of a normal median is 1.2533 sigma / sqrt(n); an interval of 95% is 3.92 of it wide.
    assert interval.high - interval.low == pytest.approx(3.92 * 1.2533 * 2 / 20, rel=0.25)
    assert clustered_median(values, list(range(400))) == interval
    clustered = clustered_median([value for value in values[:40] for _ in range(10)], [i // 10 for i in range(400)])
    assert clustered.high - clustered.low > 2 * (interval.high - interval.low)
    assert np.isnan(clustered_median([1.0, 2.0], ["p", "p"]).low)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"type": "社区论坛"}, "set.jsonl:1: type: .*not one of LongBench-Write's seven types"),
        ({"length": 0}, "set.jsonl:1: length"),
        ({"length": "many"}, "set.jsonl:1: length"),
        ({"prompt": ""}, "set.jsonl:1: prompt"),
    ],
)
def test_a_set_that_breaks_its_layout_is_refused(tmp_path, change, said):
    with pytest.raises(BadInputError, match=said):
        read(WRITE, tmp_path, [ROWS[0] | change])


@pytest.mark.skipif(
    not (DATA / "longbench_write.jsonl").exists(), reason="../shared/data with LongWriter's sets is not there"
)
def test_the_real_sets_are_those_that_are_published():
    items = WRITE.read(DATA / "longbench_write.jsonl")
    tables = WRITE.tables(material(items, ["word"] * 120), Answers())
    assert [it["n S_l"] for it in rows_of(tables, "By requested words")] == [26, 36, 31, 27]
    assert Counter(it.lang for it in items) == {"en": 60, "zh": 60}
    rows = [json.loads(line) for line in (DATA / "longbench_write.jsonl").read_bytes().split(b"\n") if line]
    bare = [{name: row[name] for name in ("prompt", "type", "length")} for row in rows]
    laid_out = [WRITE.layout(row, number) for number, row in enumerate(bare)]
    # One request asks, in Chinese, for an essay in English, and is published as English.
    differing = [number for number, row in enumerate(rows) if laid_out[number]["lang"] != row["lang"]]
    assert [(laid_out[it]["lang"], rows[it]["prompt"][:2]) for it in differing] == [("zh", "请以")]
    assert len({it["id"] for it in laid_out}) == 120  # by content, so that two sets never share an id
    assert [it["id"] for it in laid_out] == [WRITE.layout(row, 0)["id"] for row in bare]
    assert len(RULER.read(DATA / "longwrite_ruler.jsonl")) == 48
