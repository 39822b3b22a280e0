"""Arena-Write: responses against baselines in both orders, from recorded verdicts to rates and ratings."""

import json
from typing import Any

import pytest

from longform.evaluation.arena.game_fields import stated_lengths
from longform.evaluation.benchmarks.arena_write import ArenaWrite
from longform.evaluation.benchmarks.benchmark import Answers, JudgePrompt, Material
from longform.judging.answers import read_fences
from longform.judging.judge_template import JudgeTemplate
from longform.records.errors import BadInputError
from longform.records.schemas import Response

BENCHMARK, WORDING = ArenaWrite(), JudgePrompt(b"secret")
BASELINES = {"big": "A big text.", "small": "A small text."}


def row(number, baselines=BASELINES, **other):
    kind = ("Essay", "Report")[number % 2]
    task = {"idx": number, "question": f"Write {number}.", "type": kind, "length": 200, "baseline_response": baselines}
    return task | other


def read(tmp_path, rows):
    path = tmp_path / "set.jsonl"
    path.write_text("".join(json.dumps(it) + "\n" for it in rows), encoding="utf-8")
    return BENCHMARK.read(path)


def material(items, texts, model="m"):
    responses = [Response(prompt_id=it.id, model=model, text=text) for it, text in zip(items, texts, strict=True)]
    return Material({it.id: it for it in items}, responses)


def asked(found, wording=WORDING):
    return list(BENCHMARK.questions(found, Answers(), wording))


def rows_of(tables, title) -> list[dict[str, Any]]:
    (table,) = [it for it in tables if it.title == title]
    return [dict(zip([column.name for column in table.columns], it, strict=True)) for it in table.rows]


def test_each_response_meets_each_baseline_in_both_orders(tmp_path):
    questions = asked(material(read(tmp_path, [row(1)]), ["Mine."]))
    assert [question.about[-2:] for question in questions] == [
        ("big", "ab"),
        ("big", "ba"),
        ("small", "ab"),
        ("small", "ba"),
    ]
    texts = [read_fences(question.message()) for question in questions]
    assert [(it["TEXT A"], it["TEXT B"]) for it in texts[:2]] == [("Mine.", "A big text."), ("A big text.", "Mine.")]
    assert texts[0]["REQUEST"] == "Write 1."
    assert [questions[0].parse(said) for said in ("[[A]] no, [[B]]", "a draw: [[C]]", "A is better")] == [
        "B",
        "C",
        None,
    ]


def test_win_rates_ratings_and_meetings_follow_from_the_verdicts(tmp_path):
    """The model beats `small` in both orders on three tasks; against `big` the judge takes the first text every time."""
    found = material(read(tmp_path, [row(number) for number in range(3)]), ["Mine."] * 3)
    verdicts = {}
    for question in asked(found):
        baseline, order = question.about[-2:]
        verdicts[question.about] = "A" if baseline == "big" or order == "ab" else "B"
    answers = Answers(values=verdicts)
    tables = BENCHMARK.tables(found, answers)
    (overall,) = rows_of(tables, "Arena-Write")
    assert (overall["win rate"].estimate, overall["n"]) == (75, 12)
    rates = {it["baseline"]: it["win rate"].estimate for it in rows_of(tables, "By baseline")}
    assert rates == {"big": 50, "small": 100}
    assert {it["type"]: it["n"] for it in rows_of(tables, "By type")} == {"Essay": 8, "Report": 4}
    ratings = rows_of(tables, "Ratings with the baselines")
    assert [it["model"] for it in ratings][-1] == "small"
    assert {it["games"] for it in ratings} == {6, 12}
    games = BENCHMARK.games(found, answers)
    assert len(games) == 12
    assert {(game.model_a, game.order) for game in games} == {("m", "ab"), ("m", "ba")}


def test_ties_are_half_and_missing_verdicts_are_no_games(tmp_path):
    found = material(read(tmp_path, [row(1)]), ["Mine."])
    first, second, third, _ = asked(found)
    answers = Answers(values={first.about: "C", second.about: "B"}, missing={third.about: "no_answer"})
    (overall,) = rows_of(BENCHMARK.tables(found, answers), "Arena-Write")
    assert (overall["win rate"].estimate, overall["n"]) == (75, 2)  # second order: the baseline stands first
    assert (overall["win rate"].why, overall["prompts"]) == ("a single prompt", 1)
    nothing = BENCHMARK.tables(found, Answers())
    assert [table.title for table in nothing] == ["Arena-Write", "By baseline", "By type"]


def test_a_pair_with_a_verdict_in_one_order_is_left_out_and_counted(tmp_path):
    found = material(read(tmp_path, [row(1), row(2)]), ["Mine."] * 2)
    verdicts = {question.about: "A" for question in asked(found) if question.about[-2:] != ("small", "ba")}
    answers = Answers(values=verdicts)
    games = BENCHMARK.games(found, answers)
    assert {(game.model_b, game.order) for game in games} == {("big", "ab"), ("big", "ba")}
    overall = BENCHMARK.tables(found, answers)[0]
    assert rows_of([overall], "Arena-Write")[0]["win rate"].estimate == 50
    assert "left out: 2 pairs with a verdict in only one order" in overall.notes


def test_games_state_the_words_of_both_texts(tmp_path):
    found = material(read(tmp_path, [row(1)]), ["All of it is mine."])
    games = BENCHMARK.games(found, Answers(values={it.about: "C" for it in asked(found)}))
    assert stated_lengths(games) == [(5, 3)] * 4


def test_an_empty_response_loses_without_a_judge(tmp_path):
    found = material(read(tmp_path, [row(1), row(2)]), ["Mine.", " \n"])
    assert {question.about[0] for question in asked(found)} == {"1"}
    games = BENCHMARK.games(found, Answers())
    assert [(game.prompt_id, game.winner) for game in games] == [("2", "b")] * 4


def test_an_empty_baseline_is_not_played_and_said(tmp_path):
    found = material(read(tmp_path, [row(1, {"big": "", "small": "x"})]), ["Mine."])
    assert {question.about[-2] for question in asked(found)} == {"small"}
    assert any("1 empty baseline responses" in note for note in BENCHMARK.tables(found, Answers())[0].notes)


@pytest.mark.parametrize(
    ("given", "names"),
    [("one", ["baseline"]), (["one", "two"], ["baseline-1", "baseline-2"]), ({"x": "one", "y": None}, ["x"])],
)
def test_baselines_come_as_a_text_a_list_or_by_model(tmp_path, given, names):
    assert list(read(tmp_path, [row(1, given)])[0].baselines) == names


@pytest.mark.parametrize("given", [5, [], {}, [3], None])
def test_what_is_no_baseline_is_refused(tmp_path, given):
    with pytest.raises(BadInputError, match=r"set\.jsonl:1: baseline_response: "):
        read(tmp_path, [row(1, given)])


def test_a_set_without_any_baseline_text_and_a_model_called_like_one_are_refused(tmp_path):
    with pytest.raises(BadInputError, match="no task has a non-empty baseline response"):
        asked(material(read(tmp_path, [row(1, "")]), ["Mine."]))
    with pytest.raises(BadInputError, match="'big' has the same name as a baseline"):
        asked(material(read(tmp_path, [row(1)]), ["Mine."], model="big"))


def test_a_judge_with_a_template_is_asked_in_its_words(tmp_path):
    file = tmp_path / "judge.txt"
    file.write_text("{request}|{text_a}|{text_b}", encoding="utf-8")
    assert BENCHMARK.card.judging is not None
    template = JudgeTemplate.read(file, needs=BENCHMARK.card.judging.slots)
    _, second, *_ = asked(material(read(tmp_path, [row(1)]), ["Mine. [[A]]"]), JudgePrompt(b"s", template))
    assert second.message() == "Write 1.|A big text.|Mine. [ [A] ]"
