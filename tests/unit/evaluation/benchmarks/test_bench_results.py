"""Tables by group, the columns n that they share, and the folder of a result."""

import json

import pytest

from longform.evaluation.benchmarks.benchmark import Answers
from longform.evaluation.benchmarks.card import SamplingSettings
from longform.evaluation.benchmarks.grouping import ScoredItem, TableMeasure, tabulate
from longform.evaluation.benchmarks.plan import Plan, begin
from longform.evaluation.benchmarks.result import ResponsesUsed, Result, SetVersion, score_rows, write_result
from longform.evaluation.tables import Table, render
from longform.records.errors import BadInputError
from longform.records.schemas import Game

SCORED = [
    ScoredItem("m", "p1", {"a": 1.0, "b": 10.0}, {"kind": "x"}),
    ScoredItem("m", "p2", {"a": 3.0, "b": 20.0}, {"kind": "y"}),
    ScoredItem("o", "p1", {"a": 5.0, "b": 30.0}, {"kind": "x"}),
    ScoredItem("o", "p3", {"a": 7.0}, {}),
]
BOTH = [TableMeasure("a", 1), TableMeasure("b", 1)]


def shown(cells):
    return [cell if isinstance(cell, str | int) or cell is None else cell.estimate for cell in cells]


def test_a_row_for_each_model_has_each_measure_with_its_n():
    table = tabulate("T", SCORED, BOTH)
    assert [column.name for column in table.columns] == ["model", "a", "n a", "b", "n b"]
    assert list(map(shown, table.rows)) == [["m", 2, 2, 15, 2], ["o", 6, 2, 30, 1]]


def test_groups_stand_in_the_stated_order_and_hold_only_what_belongs_to_them():
    table = tabulate("T", SCORED, [TableMeasure("a")], by="kind", order=["y", "none"])
    assert [column.name for column in table.columns] == ["kind", "model", "a", "n"]
    assert list(map(shown, table.rows)) == [["y", "m", 3, 1], ["x", "m", 1, 1], ["x", "o", 5, 1]]


def test_a_measure_that_is_nowhere_known_is_an_empty_cell():
    assert list(map(shown, tabulate("T", SCORED[:1], [TableMeasure("c")]).rows)) == [["m", None, 0]]


def test_prompts_are_counted_where_a_row_has_several_values_of_one():
    twice = [*SCORED, ScoredItem("m", "p2", {"a": 5.0})]
    table = tabulate("T", twice, [TableMeasure("a")])
    assert [column.name for column in table.columns] == ["model", "a", "n", "prompts"]
    assert list(map(shown, table.rows)) == [["m", 3, 3, 2], ["o", 6, 2, 2]]


@pytest.mark.parametrize(("prompts", "warned"), [(1, False), (2, True), (19, True), (20, False)])
def test_few_prompts_are_warned_of_unless_the_interval_holds_for_few(prompts, warned):
    scored = [ScoredItem("m", f"p{i}", {"a": float(i)}) for i in range(prompts)]
    assert any("too narrow" in note for note in tabulate("T", scored, [TableMeasure("a")]).notes) == warned
    assert not tabulate("T", scored, [TableMeasure("a", holds_for_few=True)]).notes


def result(*tables: Table, partial=()):
    version = SetVersion("set.jsonl", "ab" * 32, 3, "v1")
    used = ResponsesUsed(None, None, ["r.jsonl"], {"m": 3})
    return Result("b", "https://h", version, used, None, ["It differs."], partial, tables, "0 (no calls)")


def test_columns_n_that_agree_are_shown_once():
    equal, other = result(tabulate("T", SCORED[:3], BOTH), tabulate("U", SCORED, BOTH)).shown_tables
    assert [column.name for column in equal.columns] == ["model", "a", "b", "n"]
    assert list(map(shown, equal.rows)) == [["m", 2, 15, 2], ["o", 5, 30, 1]]
    assert [column.name for column in other.columns] == ["model", "a", "n a", "b", "n b"]


def test_the_first_table_says_which_set_it_was_and_what_is_missing():
    first, second = result(
        tabulate("T", SCORED, BOTH), tabulate("U", SCORED, BOTH), partial=["judge: 1 of 2"]
    ).shown_tables
    text = render(first)
    assert "set: set.jsonl (v1, sha256 abababababab, 3 prompts)" in text
    assert "partial: judge: 1 of 2" in text
    assert not any("set:" in note for note in second.notes)


def test_a_result_is_written_with_rows_by_the_names_of_their_columns(tmp_path):
    write_result(
        tmp_path, result(tabulate("T", SCORED, BOTH)), Answers({("p", "m"): {"a": 1}}, {("p", "o"): "timeout"}), [], []
    )
    written = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert written["tables"][0]["rows"][1]["a"] == {"estimate": 6, "low": 5, "high": 7}
    assert written["tables"][0]["rows"][1]["b"] == {"estimate": 30, "low": None, "high": None} | {
        "no_interval": "a single prompt"
    }
    assert (written["tables"][0]["rows"][1]["n a"], written["tables"][0]["rows"][1]["n b"]) == (2, 1)
    assert (written["set"]["version"], written["deviations"]) == ("v1", ["It differs."])
    assert written["longform"]
    answers = [
        json.loads(line) for line in (tmp_path / "answers.jsonl").read_text(encoding="utf-8").split("\n") if line
    ]
    assert answers == [{"about": ["p", "m"], "value": {"a": 1}}, {"about": ["p", "o"], "missing": "timeout"}]


def test_what_an_earlier_command_left_does_not_stand_beside_a_result_without_it(tmp_path):
    game = Game(prompt_id="p", model_a="m", model_b="o", winner="a")
    answers = Answers({("p",): "A"})
    write_result(tmp_path, result(tabulate("T", SCORED, BOTH)), answers, [game], [])
    assert json.loads((tmp_path / "games.jsonl").read_text()) == game.model_dump(exclude_none=True)
    write_result(tmp_path, result(tabulate("T", SCORED, BOTH)), Answers(), [], [])
    assert [it.name for it in tmp_path.iterdir()] == ["result.json"]


def test_a_folder_is_gone_on_with_under_the_same_plan_only(tmp_path):
    plan = Plan("b", "judge", "w", SamplingSettings(10, 0.5))
    begin(tmp_path / "deep" / "out", plan)
    begin(tmp_path / "deep" / "out", plan)
    with pytest.raises(BadInputError, match=r"out: was begun with settings .*, not None; with writer w, not None"):
        begin(tmp_path / "deep" / "out", Plan("b", "judge"))
    with pytest.raises(BadInputError, match=r"out: was begun with context None, not 512"):
        begin(tmp_path / "deep" / "out", Plan("b", "judge", "w", SamplingSettings(10, 0.5), context=512))
    (tmp_path / "deep" / "out" / "plan.json").write_text("{")
    with pytest.raises(BadInputError, match=r"plan.json: not JSON"):
        begin(tmp_path / "deep" / "out", plan)
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInputError, match=r"--out .*file: cannot be created"):
        begin(tmp_path / "file", plan)


def test_the_score_of_a_prompt_is_the_mean_of_its_items():
    scored = [ScoredItem("m", "p", {"s": 1.0}), ScoredItem("m", "p", {"s": 4.0}), ScoredItem("o", "p", {"s": 3.0})]
    assert [(it.prompt_id, it.model, it.score) for it in score_rows(scored)] == [("p", "m", 2.5), ("p", "o", 3.0)]
