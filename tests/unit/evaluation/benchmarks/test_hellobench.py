"""HelloBench: its set, its questions, and its scores against numbers worked out by hand."""

import json
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from longform.evaluation.benchmarks.benchmark import Answers, JudgePrompt, Material
from longform.evaluation.benchmarks.hellobench import WEIGHTS, HelloBench, checklist_score
from longform.judging.answers import read_fences
from longform.judging.judge_template import JudgeTemplate
from longform.records.errors import BadInputError
from longform.records.schemas import Response

DATA = Path(__file__).parents[5] / "shared" / "data"
BENCH = HelloBench()
ALL = (1.0,) * 5


def row(id_, category="story_writing", **more):
    checklist = [f"Question {number} of {category}?" for number in range(5)]
    return {"id": id_, "category": category, "instruction": f"Write {id_}.", "checklists": checklist} | more


def dump(path, rows):
    path.write_text("".join(json.dumps(it) + "\n" for it in rows), encoding="utf-8")
    return path


@pytest.fixture
def items(tmp_path):
    rows = [row("a"), row("b"), row("c", "keyword_writing")]
    return BENCH.read(dump(tmp_path / "heuristic_text_generation.jsonl", rows))


def material(items, texts=None):
    texts = texts or {"a": "One.", "b": "Two.", "c": "Three."}
    responses = [Response(prompt_id=it, model="m", text=text) for it, text in texts.items()]
    return Material({it.id: it for it in items}, responses)


def answers(values):
    return Answers({(it, "m", "0"): list(five) for it, five in values.items()})


def rows_of(tables, title) -> list[dict[str, Any]]:
    (table,) = [it for it in tables if it.title == title]
    names = [column.name for column in table.columns]
    return [dict(zip(names, it, strict=True)) for it in table.rows]


def test_weights_add_up_to_100_and_each_question_has_at_least_half_a_share():
    for weights in WEIGHTS.values():
        assert sum(weights) == pytest.approx(100, abs=0.01)
        assert len(weights) == 5 and min(weights) > 10


def test_a_score_by_hand():
    """Story: 0.75 everywhere is 75, so 0. One question of weight 26.46 raised to 1 adds 26.46 / 4 * 4 points."""
    assert checklist_score("story_writing", (0.75,) * 5) == pytest.approx(0)
    assert checklist_score("story_writing", ALL) == pytest.approx(100)
    assert checklist_score("story_writing", (0.0,) * 5) == pytest.approx(-300)
    assert checklist_score("story_writing", (0.75, 0.75, 0.75, 0.75, 1.0)) == pytest.approx(26.46, abs=0.01)


def test_the_overall_score_is_the_mean_over_texts(items):
    values = {"a": (0.75,) * 5, "b": ALL, "c": (0.5,) * 5}
    tables = BENCH.tables(material(items), answers(values))
    (overall,) = rows_of(tables, "HelloBench: heuristic text generation")
    assert (overall["score"].estimate, overall["n score"]) == (pytest.approx((0 + 100 - 100) / 3), 3)
    assert overall["met"].estimate == pytest.approx(75)
    by = {it["category"]: it["score"].estimate for it in rows_of(tables, "By category")}
    assert by == {"keyword_writing": pytest.approx(-100), "story_writing": pytest.approx(50)}
    questions = {it["question"]: it["met"].estimate for it in rows_of(tables, "By question of the checklist")}
    assert questions["story_writing 5"] == pytest.approx(87.5)
    assert next(iter(questions)) == "keyword_writing 1"
    assert [(it.prompt_id, it.values["score"]) for it in BENCH.scored(material(items), answers(values))] == [
        ("a", pytest.approx(0)),
        ("b", pytest.approx(100)),
        ("c", pytest.approx(-100)),
    ]


def test_an_empty_response_scores_the_least_and_a_missing_answer_nothing(items):
    found = material(items, {"a": " \n", "b": "Two.", "c": "Three."})
    asked = list(BENCH.questions(found, Answers(), JudgePrompt(b"s")))
    assert [it.about for it in asked] == [("b", "m", "0"), ("c", "m", "0")]
    (overall,) = rows_of(BENCH.tables(found, answers({"b": ALL})), "HelloBench: heuristic text generation")
    assert (overall["score"].estimate, overall["n score"]) == (pytest.approx(-100), 2)


def test_the_question_has_the_items_own_checklist_and_its_answer_five_values(items):
    (question, *_) = BENCH.questions(material(items), Answers(), JudgePrompt(b"s"))
    fences = read_fences(question.message())
    assert fences["REQUEST"] == "Write a." and fences["TEXT"] == "One."
    assert fences["CHECKLIST"].startswith("1. Question 0 of story_writing?")
    assert question.parse('{"scores": {"1": 1, "2": 0.5, "3": 0, "4": 0.25, "5": 0.75}}') == [1, 0.5, 0, 0.25, 0.75]
    assert question.parse('{"scores": {"1": 1, "2": 0.5}}') is None


def test_a_judge_with_its_own_template_gets_the_checklist_as_criteria(items, tmp_path):
    path = tmp_path / "critic.txt"
    path.write_text("{request}|{text}|{criteria}")
    template = JudgeTemplate.read(path, needs=("request", "text", "criteria"))
    (question, *_) = BENCH.questions(material(items), Answers(), JudgePrompt(b"s", template))
    assert question.message().startswith("Write a.|One.|1. Question 0")
    assert question.parse('{"1": 1, "2": 0.5, "3": 0, "4": 0.25, "5": 0.75}') == [1, 0.5, 0, 0.25, 0.75]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"category": "poems"}, "category: 'poems' is not one of the categories"),
        ({"checklists": ["One?"]}, "checklist: List should have at least 5 items"),
    ],
)
def test_a_row_of_another_task_is_refused(tmp_path, changes, message):
    with pytest.raises(BadInputError, match=message):
        BENCH.read(dump(tmp_path / "set.jsonl", [row("a") | changes]))


@pytest.mark.skipif(not (DATA / "hellobench_htg_scores.jsonl").exists(), reason="../shared/data is not there")
def test_on_the_published_answers_of_a_judge_models_rank_as_by_plain_means():
    """Weights differ by a factor of two at most, so the order of the 23 models hardly changes."""

    def rows(name):
        return [json.loads(it) for it in (DATA / name).read_text(encoding="utf-8").split("\n") if it]

    categories = {it["prompt_id"]: it["category"] for it in rows("hellobench_htg_prompts.jsonl")}
    plain: dict[str, list[float]] = {}
    weighted: dict[str, list[float]] = {}
    for it in rows("hellobench_htg_scores.jsonl"):
        if len(it["checklist_scores"]) == 5:
            plain.setdefault(it["model"], []).append(fmean(it["checklist_scores"]))
            score = checklist_score(categories[it["prompt_id"]], it["checklist_scores"])
            weighted.setdefault(it["model"], []).append(score)
    one = sorted(plain, key=lambda model: fmean(plain[model]))
    other = sorted(weighted, key=lambda model: fmean(weighted[model]))
    assert len(one) == 23
    assert max(abs(one.index(model) - other.index(model)) for model in one) <= 2
