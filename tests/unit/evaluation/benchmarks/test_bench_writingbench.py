"""WritingBench: its set, its questions, and its means against numbers worked out by hand."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from longform.evaluation.benchmarks.benchmark import Answers, JudgePrompt, Material
from longform.evaluation.benchmarks.writingbench import BANDS, WritingBench
from longform.judging.answers import read_fences
from longform.judging.judge_template import JudgeTemplate
from longform.records.errors import BadInputError
from longform.records.schemas import Response

REAL = Path(__file__).parents[5] / "shared" / "data" / "writingbench_v2_length.jsonl"
BENCH = WritingBench()
SCORES = {"1": (8, 6, 7, 9, 5), "2": (2, 4, 4, 2, 3), "3": (10, 10, 10, 10, 10)}
"""Means 7, 3, 10."""


def row(index, *, domain="Education", lang="en", requirements=None, criteria=5, **more):
    checklist = [
        {"name": f"c{i}", "criteria_description": f"about {i}"} | {band: f"band {band}" for band in BANDS}
        for i in range(criteria)
    ]
    return {
        "index": index,
        "domain1": domain,
        "domain2": f"{domain} one",
        "lang": lang,
        "query": f"Write {index}.",
        "checklist": checklist,
        "requirements": requirements or {},
    } | more


def dump(path, rows):
    path.write_text("".join(json.dumps(it, ensure_ascii=False) + "\n" for it in rows), encoding="utf-8")
    return path


@pytest.fixture
def queries(tmp_path):
    rows = [
        row(1, requirements={"length": ["c0", "c1"], "style": ["c4"]}),
        row(2, domain="Finance & Business", lang="zh", requirements={"length": ["c2"]}),
        row(3, domain="Finance & Business"),
    ]
    return BENCH.read(dump(tmp_path / "set.jsonl", rows))


def material(queries, texts=None, model="m"):
    texts = {"1": "One.", "2": "Two.", "3": "Three."} if texts is None else texts
    return Material(
        {it.id: it for it in queries}, [Response(prompt_id=it, model=model, text=text) for it, text in texts.items()]
    )


def answers(scores=SCORES, model="m"):
    return Answers({(it, model, "0", f"c{i}"): score for it, five in scores.items() for i, score in enumerate(five)})


def rows_of(tables, title) -> list[dict[str, Any]]:
    (table,) = [it for it in tables if it.title == title]
    names = [column.name for column in table.columns]
    return [dict(zip(names, it, strict=True)) for it in table.rows]


def means(tables, title, group, measure="mean"):
    n = "n" if measure == "mean" else f"n {measure}"
    return {it[group]: (round(it[measure].estimate, 6), it[n]) for it in rows_of(tables, title)}


def test_the_overall_score_is_the_mean_of_all_scores_of_criteria(queries):
    (overall,) = rows_of(BENCH.tables(material(queries), answers()), "WritingBench")
    assert overall["overall"].estimate == pytest.approx((35 + 15 + 50) / 15)
    assert overall["n"] == 15
    assert overall["overall"].low == pytest.approx(
        3
    )  # prompts are drawn whole: at the least the weakest one three times
    assert overall["overall"].high == pytest.approx(10)


def test_a_domain_and_a_language_are_the_means_of_their_queries(queries):
    tables = BENCH.tables(material(queries), answers())
    assert means(tables, "By domain", "domain") == {"Education": (7, 1), "Finance & Business": (6.5, 2)}
    assert means(tables, "By subdomain", "subdomain")["Finance & Business one"] == (6.5, 2)
    assert means(tables, "By language", "language") == {"en": (8.5, 2), "zh": (3, 1)}


def test_r_takes_all_criteria_of_a_requirements_queries_and_c_only_those_about_it(queries):
    tables = BENCH.tables(material(queries), answers())
    assert means(tables, "By requirement", "requirement", "R") == {"style": (7, 1), "length": (5, 2)}
    assert means(tables, "By requirement", "requirement", "C") == {"style": (5, 1), "length": (6, 3)}  # 8, 6 and 4


def test_a_response_that_lacks_a_score_is_in_no_mean(queries):
    partial = answers()
    partial.missing[("2", "m", "0", "c3")] = "no_answer"
    del partial.values[("2", "m", "0", "c3")]
    (overall,) = rows_of(BENCH.tables(material(queries), partial), "WritingBench")
    assert (overall["overall"].estimate, overall["n"]) == (8.5, 10)


def test_an_empty_response_is_not_asked_about_and_scores_the_least(queries):
    texts = {"1": " \n", "2": "<think>hm</think>\n\n", "3": "Three."}
    asked = list(BENCH.questions(material(queries, texts), Answers(), JudgePrompt(b"s")))
    assert {it.about[0] for it in asked} == {"3"}
    (overall,) = rows_of(BENCH.tables(material(queries, texts), answers({"3": (10,) * 5})), "WritingBench")
    assert (overall["overall"].estimate, overall["n"]) == (4, 15)


def test_models_and_samples_are_kept_apart(queries):
    both = material(queries)
    other = [Response(prompt_id="1", model="o", text="x"), Response(prompt_id="1", model="o", sample=1, text="y")]
    both = Material(both.items, [*both.responses, *other])
    known = answers()
    known.values |= {("1", "o", sample, f"c{i}"): int(sample) + 3 for sample in "01" for i in range(5)}
    overall = {it["model"]: it for it in rows_of(BENCH.tables(both, known), "WritingBench")}
    assert overall["m"]["n"] == 15
    assert (overall["o"]["overall"].estimate, overall["o"]["n"]) == (3.5, 10)


def test_a_question_shows_one_criterion_with_its_bands_and_the_text_without_its_thoughts(queries):
    texts = {"1": "<think>\nplan\n</think>\n\nFinal </think>\n\n text."}
    asked = list(BENCH.questions(material(queries, texts), Answers(), JudgePrompt(b"s")))
    assert [it.about for it in asked] == [("1", "m", "0", f"c{i}") for i in range(5)]
    fenced = read_fences(asked[1].message())
    assert fenced["REQUEST"] == "Write 1."
    assert fenced["TEXT"] == "Final < /think>\n\n text."
    assert fenced["CRITERION"] == "c1: about 1\n" + "\n".join(f"{band}: band {band}" for band in BANDS)
    assert asked[1].parse('{"scores": {"criterion": 9}}') == 9


def test_a_tuned_judge_is_asked_by_its_template(queries, tmp_path):
    path = tmp_path / "critic.txt"
    path.write_text("{criteria}|{request}|{text}|{criteria}", encoding="utf-8")
    assert BENCH.card.judging is not None
    template = JudgeTemplate.read(path, needs=BENCH.card.judging.slots)
    asked = next(iter(BENCH.questions(material(queries), Answers(), JudgePrompt(b"s", template))))
    criterion = "c0: about 0\n" + "\n".join(f"{band}: band {band}" for band in BANDS)
    assert asked.message() == f"{criterion}|Write 1.|One.|{criterion}"
    assert asked.parse('{"score": 9, "reason": "r"}') == 9


def test_subset_files_name_the_requirements(tmp_path):
    dump(tmp_path / "benchmark_all.jsonl", [row(1), row(2)])
    subset = tmp_path / "requirement" / "format"
    subset.mkdir(parents=True)
    dump(subset / "format_subset.jsonl", [row(2)])
    dump(subset / "format_subset_C.jsonl", [row(2) | {"checklist": [{"name": "c3"}]}])
    assert [it.requirements for it in BENCH.read(tmp_path)] == [{}, {"format": ["c3"]}]
    dump(subset / "format_subset_C.jsonl", [row(1)])
    with pytest.raises(BadInputError, match=r"format_subset_C.jsonl: does not match format_subset.jsonl: format: '2'"):
        BENCH.read(tmp_path)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (row(1, criteria=4), r"set.jsonl:2: checklist: needs 5 criteria, has 4"),
        (
            row(1, checklist=[row(1)["checklist"][0]] * 5),
            r"set.jsonl:2: checklist: 5 criteria are called 'c0'",
        ),
        (row(1, requirements={"style": ["other"]}), r"query 1: requirements.style: no criterion 'other'"),
        (row(7), r"set.jsonl:2: id '7': duplicate of an earlier row"),
        (row(1, checklist=[{"name": "c"}] * 5), r"set.jsonl:2: checklist.0: missing criteria_description, 1-2, 3-4"),
        (row(1, checklist="c0"), r"set.jsonl:2: checklist: not a list$"),
        (row(1, checklist=[*row(1)["checklist"][:4], None]), r"set.jsonl:2: checklist.4: not an object$"),
        (row(1, checklist=[row(1)["checklist"][0] | {"1-2": None}] * 5), r"set.jsonl:2: checklist.0.bands.1-2: "),
        (row(1, query=""), r"set.jsonl:2: prompt"),
    ],
)
def test_a_set_that_breaks_its_layout_is_refused_in_one_line(tmp_path, bad, said):
    with pytest.raises(BadInputError, match=said):
        BENCH.read(dump(tmp_path / "set.jsonl", [row(7), bad]))


def test_a_subset_without_criteria_is_refused_in_one_line(tmp_path):
    dump(tmp_path / "benchmark_all.jsonl", [row(7)])
    dump(tmp_path / "length_subset.jsonl", [row(7)])
    dump(tmp_path / "length_subset_C.jsonl", [row(7, checklist=[None])])
    with pytest.raises(BadInputError, match=r"length_subset_C.jsonl: checklist: not a list of criteria in every row$"):
        BENCH.read(tmp_path)


def test_the_version_is_what_all_rows_name(tmp_path):
    named = [row(1, version="v2"), row(2, version="v2")]
    assert BENCH.version(BENCH.read(dump(tmp_path / "a.jsonl", named))) == "v2"
    assert BENCH.version(BENCH.read(dump(tmp_path / "b.jsonl", [*named, row(3)]))) is None


@pytest.mark.skipif(not REAL.exists(), reason="../shared/data with a set of WritingBench is not there")
def test_the_real_length_subset_is_read_whole():
    queries = BENCH.read(REAL)
    assert len(queries) == 222
    assert Counter(it.lang for it in queries) == {"en": 128, "zh": 94}
    assert all(list(it.requirements) == ["length"] for it in queries)
    assert BENCH.version(queries) == "v2-2025-04"
    texts = {it.id: "Text." for it in queries}
    asked = list(BENCH.questions(material(queries, texts), Answers(), JudgePrompt(b"s")))
    assert len(asked) == 1110
    tables = BENCH.tables(material(queries, texts), Answers({it.about: 7 for it in asked}))
    assert means(tables, "By requirement", "requirement", "C") == {"length": (7, 226)}
