"""`longform compare`: two writers in, paired differences and the texts behind them out; one line for what cannot be."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from longform.cli import main
from longform.judging.answers import read_fences
from longform.judging.pointwise import DIMENSIONS
from longform.records.calls import CallRecord, SqliteCallLog
from longform.records.database import ValidationText
from longform.records.files import read_rows, write_rows
from longform.records.run_directory import RunDirectory
from longform.records.schemas import Game, Grade, Prompt, Response
from longform.report import compare_page

HOSTILE = '\x1b[31m<script>alert(1)</script>\u202e"]'
PROMPTS = 8


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Prompts, a writer of short texts, one of longer texts, and grades of both."""
    monkeypatch.chdir(tmp_path)
    ids = [f"p{i}" for i in range(PROMPTS)]
    write_rows(
        "prompts.jsonl", [Prompt(id=it, prompt=f"write {it}", meta={"kind": "ab"[i % 2]}) for i, it in enumerate(ids)]
    )
    write_rows("old.jsonl", [Response(prompt_id=it, model="old", text=f"short {it}") for it in ids])
    write_rows("new.jsonl", [Response(prompt_id=it, model="new", text=f"a longer text {it}") for it in ids])
    grades = [Grade(prompt_id=it, model="old", score=5, judge="j") for it in ids]
    grades += [Grade(prompt_id=it, model="new", score=4 + i, judge="j") for i, it in enumerate(ids)]
    write_rows("grades.jsonl", grades)
    return tmp_path


def call(*arguments):
    with pytest.raises(SystemExit) as caught:
        main(["compare", *map(str, arguments)])
    return caught.value.code or 0


def said(capsys, *arguments):
    """Standard output of a command that works."""
    assert call(*arguments) == 0
    return capsys.readouterr().out


def refused(capsys, *arguments, code=2):
    """The one line of a refusal."""
    assert call(*arguments) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = [line for line in captured.err.splitlines() if line.startswith("longform: ")]
    assert captured.err.splitlines()[-1:] == lines
    return lines[0]


def judges(serve, script=None):
    """Judges behind one server; each has a view of its own."""

    def answer(request, number):
        model, read = request["model"], read_fences(request["messages"][0]["content"])
        if "TEXT" in read:
            return json.dumps({"scores": dict.fromkeys(DIMENSIONS, min(10, 1 + len(read["TEXT"]) // 4))})
        longer = "[[A]]" if len(read["TEXT A"]) > len(read["TEXT B"]) else "[[B]]"
        odd = read["REQUEST"].strip()[-1] in "1357"
        return {"likes-long": longer, "likes-even": "[[C]]" if odd else longer, "first": "[[A]]"}[model]

    server = serve(script or answer)
    spec = {"base_url": server.url, "retries": 0, "concurrency": 2, "prices": {"prompt": 1000, "completion": 1000}}
    named = {"reward": "likes-long", "other": "likes-even", "first": "first", "twin": "likes-long"}
    models = {name: {**spec, "model": model} for name, model in named.items()}
    Path("models.yaml").write_text(yaml.safe_dump(models))
    return server


JUDGED = ("old.jsonl", "new.jsonl", "--prompts", "prompts.jsonl", "--out", "games.jsonl", "--judge")


def test_grades_and_texts_are_compared_without_asking_anybody(capsys):
    shown = said(capsys, "old.jsonl", "new.jsonl", "--grades", "grades.jsonl", "--prompts", "prompts.jsonl")
    assert "new against old" in shown
    assert "grade by j" in shown
    assert "Fraction of prompts on which new is" in shown
    assert "8 answered by both; 0 only by a and 0 only by b" in shown
    assert "next     longform compare old.jsonl new.jsonl --prompts prompts.jsonl --judge" in shown


def test_json_has_every_number_with_its_interval_n_and_test(capsys):
    flags = ("--grades", "grades.jsonl", "--prompts", "prompts.jsonl", "--group-by", "meta.kind", "--show", 2, "--json")
    result = json.loads(said(capsys, "old.jsonl", "new.jsonl", *flags))
    grade = result["contrasts"][0]
    assert grade["difference"]["value"]["estimate"] == 2.5
    assert grade["difference"]["n"] == PROMPTS
    # Differences -1, 0, 1, ..., 6: of seven that are not 0, all or all but a 1 have one sign in six patterns of 128.
    assert grade["test"] == {"p": 6 / 128, "exact": True, "patterns": 128}
    assert [it["name"] for it in result["groups"]] == ["a", "b"]
    assert [(it["prompt_id"], it["b"] - it["a"]) for it in result["shown"]] == [("p7", 6), ("p6", 5), ("p0", -1)]
    assert result["shown"][0]["opening_b"] == "a longer text p7"
    assert json.loads(said(capsys, "old.jsonl", "new.jsonl", *flags[:-1], "--format", "json")) == result


@pytest.mark.parametrize(("form", "mark"), [("markdown", "| --- |"), ("latex", r"\begin{tabular}")])
def test_tables_come_as_markdown_and_latex(capsys, form, mark):
    assert mark in said(capsys, "old.jsonl", "new.jsonl", "--format", form)


@pytest.mark.parametrize(
    ("form", "shown", "raw"),
    [("markdown", r"\<script\>", "<script>"), ("latex", r"\textbackslash{}input\{/etc/passwd\}", r"\input{")],
)
def test_texts_in_markdown_and_latex_are_escaped_and_stand_in_tables_alone(capsys, form, shown, raw):
    rows = [Response(prompt_id=f"p{i}", model="new", text=HOSTILE + r" \input{/etc/passwd} " * 9) for i in range(2)]
    write_rows("hostile.jsonl", rows)
    assert call("old.jsonl", "hostile.jsonl", "--show", 1, "--format", form) == 0
    captured = capsys.readouterr()
    told = captured.out
    assert "next     longform compare old.jsonl hostile.jsonl --judge" in captured.err
    assert shown in told
    assert raw not in told
    assert "\x1b" not in told
    assert "old.jsonl" not in told
    assert "next " not in told


def test_the_same_seed_gives_the_same_bytes(capsys):
    once = said(capsys, "old.jsonl", "new.jsonl", "--grades", "grades.jsonl", "--json")
    assert said(capsys, "old.jsonl", "new.jsonl", "--grades", "grades.jsonl", "--json") == once
    assert said(capsys, "old.jsonl", "new.jsonl", "--grades", "grades.jsonl", "--json", "--seed", 1) != once


def test_several_judges_make_a_matrix_of_what_survives(capsys, serve):
    server = judges(serve)
    flags = ("reward", "other", "first", "--reward-judge", "reward", "--grade", "--json")
    result = json.loads(said(capsys, *JUDGED, *flags))
    reward, other, first = result["judges"]["rows"]
    assert (reward["gave_reward"], reward["wins"]["b"]["value"]["estimate"], reward["wins_survive"]) == (
        True,
        1.0,
        None,
    )
    assert other["wins_survive"]["share"]["value"]["estimate"] == 0.5
    assert (other["games"], other["wins"]["b"]["value"]["estimate"]) == (16, 0.75)
    assert first["wins"]["b"]["value"]["estimate"] == 0.5  # it favours a place, and both orders are played
    assert first["wins_survive"]["share"]["value"]["estimate"] == 0
    assert other["grades_survive"]["share"]["value"]["estimate"] == 1
    assert [it["one"] + it["other"] for it in result["judges"]["between"]["pairs"]] == [
        "rewardother", "rewardfirst", "otherfirst"
    ]  # fmt: skip
    assert len(server.requests) == 3 * (16 + 16)
    games = list(read_rows("games.jsonl", Game))
    assert ({it.judge for it in games}, len(games)) == ({"reward", "other", "first"}, 48)
    assert len(list(read_rows("games.grades.jsonl", Grade))) == 48
    assert result["about"]["cost"] == "1.4400 (96 calls)"


def test_the_matrix_as_text_names_who_gave_the_reward(capsys, serve):
    judges(serve)
    shown = said(capsys, *JUDGED, "reward", "other", "--reward-judge", "reward")
    matrix = shown.split("judge by judge")[1]
    assert re.search(r"^reward +reward ", matrix, re.MULTILINE)
    assert "Agreement of the judges" in matrix
    assert "next     longform arena games.jsonl --per-judge" in shown
    unknown = said(capsys, *JUDGED, "reward", "other")
    assert "No share of the gain: the reward judge is unknown." in unknown


def test_a_command_that_is_started_again_asks_nothing_twice(capsys, serve):
    server = judges(serve)
    first = said(capsys, *JUDGED, "reward", "--json")
    assert said(capsys, *JUDGED, "reward", "--json") == first
    assert len(server.requests) == 16
    said(capsys, *JUDGED, "other")
    assert {it.judge for it in read_rows("games.jsonl", Game)} == {"reward", "other"}


def test_grades_of_a_judge_that_was_asked_before_stay(capsys, serve, tmp_path):
    judges(serve)
    said(capsys, *JUDGED, "reward", "--grade")
    before = set(read_rows("games.grades.jsonl", Grade))
    said(capsys, *JUDGED, "other", "--grade")
    grades = list(read_rows("games.grades.jsonl", Grade))
    assert {it.judge for it in grades} == {"reward", "other"}
    assert before < set(grades)
    again = refused(capsys, *JUDGED, "other", "--grade", "--grades", "games.grades.jsonl")
    assert "--grade games.grades.jsonl: would overwrite games.grades.jsonl" in again
    write_rows("games.grades.jsonl", [Grade(prompt_id="p0", model="x", score=1, judge="j")])
    assert "--grade: games.grades.jsonl has grades of 'x'" in refused(capsys, *JUDGED, "other", "--grade")


def test_a_budget_stops_it_and_a_larger_one_goes_on(capsys, serve):
    server = judges(serve)
    assert "budget" in refused(capsys, *JUDGED, "reward", "--budget", 0.1, code=3)
    before = len(server.requests)
    assert 0 < before < 16
    said(capsys, *JUDGED, "reward", "--budget", 10)
    assert len(server.requests) == 16


def test_a_judge_without_a_verdict_stops_it(capsys, serve):
    judges(serve, lambda request, number: "Both are nice.")
    said = refused(capsys, *JUDGED, "reward", code=3)
    assert "the first 12 requests all failed alike (no_verdict: 'Both are nice.')" in said


def test_a_judge_without_a_pair_of_verdicts_stops_it(capsys, serve):
    judges(serve, lambda request, number: "[[A]]" if number == 1 else "Both are nice.")
    said = refused(capsys, *JUDGED, "reward", code=3)
    assert "no pair of texts with a verdict of reward in both orders (no_verdict 15)" in said


def test_games_hold_the_words_that_the_arena_controls_for(capsys, serve):
    judges(serve)
    texts = [f"a longer text p{i}" + " indeed" * (i % 2) for i in range(PROMPTS)]
    write_rows("new.jsonl", [Response(prompt_id=f"p{i}", model="new", text=text) for i, text in enumerate(texts)])
    said(capsys, *JUDGED, "reward")
    words = [it.model_extra or {} for it in read_rows("games.jsonl", Game)]
    assert {(it["words_a"], it["words_b"]) for it in words} == {(1, 3), (1, 4)}
    with pytest.raises(SystemExit) as caught:
        main(["arena", "games.jsonl", "--control-length", "--json"])
    assert not caught.value.code
    (effect,) = json.loads(capsys.readouterr().out)["lengths"]
    assert effect["deviation"] == pytest.approx((((2 / 4) ** 2 + (3 / 5) ** 2) / 2) ** 0.5)


def test_a_verdict_without_its_other_order_is_no_game_and_is_counted(capsys, serve, reply):
    def script(request, number):
        read = read_fences(request["messages"][0]["content"])
        return reply("busy", status=500) if "short p0" in read["TEXT A"] else "[[A]]"

    judges(serve, script)
    result = json.loads(said(capsys, *JUDGED, "first", "--json"))
    (row,) = result["judges"]["rows"]
    assert (row["wins"]["half_pairs"], row["wins"]["b"]["prompts"]) == (1, PROMPTS - 1)
    assert row["wins"]["b"]["value"]["estimate"] == 0.5
    games = list(read_rows("games.jsonl", Game))
    assert len(games) == 2 * (PROMPTS - 1)
    assert "p0" not in {it.prompt_id for it in games}


def make_run(tmp_path, name, models, *, called, grade, judge="exam"):
    """A run with one validation; `called` is the model that its calls to the judge name."""
    recipe = {
        "policy": "start",
        "models": str(tmp_path / models),
        "data": {"ladders": "l.jsonl"},
        "rewards": [{"kind": "pairwise", "judge": "reward"}],
        "validation": {"prompts": "prompts.jsonl", "judge": judge},
        "run": {"name": name, "steps": 4},
    }
    with RunDirectory.open(tmp_path / name) as run:
        run.recipe_path.write_text(yaml.safe_dump(recipe))
        texts = [ValidationText(4, f"p{i}", f"write p{i}", f"{name} {i}", grade) for i in range(PROMPTS)]
        run.database.record_step(4, seconds=1, metrics={"validation/no_grade": 0.0}, validations=texts)
    with SqliteCallLog(tmp_path / name / "run.sqlite") as log:
        for endpoint, model in ((judge, called), ("reward", "likes-long")):
            log.record(CallRecord(f"{name}{endpoint}", 1, endpoint, model, "ok", 1, 1, 0.0, 0.1, "9", "stop"))


@pytest.mark.parametrize(
    ("called", "address", "line", "compared"),
    [
        ("m-1", "http://one/v1", None, ["grade by exam"]),
        ("m-2", "http://one/v1", "exam means different models, which count as different judges (", []),
        ("m-1", "http://two/v1", "exam is one model at different addresses, and counts as one judge (", None),
    ],
)
def test_a_judge_is_who_was_asked_and_not_what_it_is_called(capsys, tmp_path, called, address, line, compared):
    for name, model, url in (("one.yaml", "m-1", "http://one/v1"), ("two.yaml", called, address)):
        (tmp_path / name).write_text(yaml.safe_dump({"exam": {"base_url": url, "model": model}}))
    make_run(tmp_path, "a", "one.yaml", called="m-1", grade=3)
    make_run(tmp_path, "b", "two.yaml", called=called, grade=5)
    result = json.loads(said(capsys, "a", "b", "--json"))
    grades = [it["measure"] for it in result["contrasts"] if it["kind"] == "grade"]
    assert grades == (["grade by exam"] if compared is None else compared)
    told = result["about"].get("judges", "")
    assert told.startswith(line) if line else not told
    assert "\n" not in told
    if called == "m-2":
        assert "a@4: m-1 at http://one/v1; b@4: m-2 at http://one/v1" in told
        assert "a@4 by exam (m-1)" in result["about"]["grades"]


def test_one_model_under_two_names_is_one_judge(capsys, tmp_path):
    for name, judge in (("one.yaml", "exam"), ("two.yaml", "examiner")):
        (tmp_path / name).write_text(yaml.safe_dump({judge: {"base_url": "http://one/v1", "model": "m-1"}}))
    make_run(tmp_path, "a", "one.yaml", called="m-1", grade=3)
    make_run(tmp_path, "b", "two.yaml", called="m-1", grade=5, judge="examiner")
    result = json.loads(said(capsys, "a", "b", "--json"))
    assert result["about"]["judges"] == "exam of a@4 and examiner of b@4 are one judge (m-1 at http://one/v1)"
    assert result["contrasts"][0]["measure"] == "grade by examiner"
    assert result["contrasts"][0]["difference"]["value"]["estimate"] == 2


def test_grades_of_the_model_that_a_name_meant_before_are_not_those_of_the_one_asked_now(capsys, serve, tmp_path):
    server = judges(serve)
    for name in "ab":
        make_run(tmp_path, name, "models.yaml", called="retired", grade=9, judge="other")
    flags = ("--judge", "other", "--grade", "--out", "g.jsonl")
    result = json.loads(said(capsys, "a", "b", *flags, "--json"))
    assert "other means different models" in result["about"]["judges"]
    measures = {it["measure"]: it["a"]["value"]["estimate"] for it in result["contrasts"] if it["kind"] == "grade"}
    assert measures["grade by other (retired)"] == 9
    assert measures["grade by other"] < 9
    assert sum("TEXT" in read_fences(it["messages"][0]["content"]) for it in server.requests) == 2 * PROMPTS


def test_the_judge_of_the_reward_is_known_by_its_model(capsys, serve, tmp_path):
    judges(serve)
    make_run(tmp_path, "a", "models.yaml", called="m", grade=3)
    make_run(tmp_path, "b", "models.yaml", called="m", grade=3)
    flags = ("--judge", "reward", "other", "--out", "g.jsonl", "--json")
    assert json.loads(said(capsys, "a", "b", *flags))["judges"]["reward_judges"] == ["reward"]
    models = yaml.safe_load((tmp_path / "models.yaml").read_text())
    models["reward"]["model"] = "first"
    (tmp_path / "models.yaml").write_text(yaml.safe_dump(models))
    result = json.loads(said(capsys, "a", "b", *flags))
    assert result["judges"]["reward_judges"] == []
    assert "reward means different models" in result["about"]["judges"]


def test_a_run_is_compared_with_its_start_and_asked_about_with_its_recipe_s_judges(capsys, serve, tmp_path):
    judges(serve)
    recipe = {
        "policy": "start",
        "models": str(tmp_path / "models.yaml"),
        "data": {"ladders": "l.jsonl"},
        "rewards": [{"kind": "pairwise", "judge": "reward"}],
        "validation": {"prompts": "prompts.jsonl", "judge": "other"},
        "run": {"name": "run", "steps": 4},
    }
    with RunDirectory.open(tmp_path / "run") as run:
        run.recipe_path.write_text(yaml.safe_dump(recipe))
        for step, words in ((0, 2), (4, 9)):
            texts = [
                ValidationText(step, f"p{i}", f"write p{i}", f"{HOSTILE} {i} " * words, float(words))
                for i in range(PROMPTS)
            ]
            run.database.record_step(step, seconds=1, metrics={"validation/no_grade": 0.0}, validations=texts)
    flags = (
        "--judge",
        "other",
        "reward",
        "--out",
        "g.jsonl",
        "--group-by",
        "meta.kind",
        "--show",
        1,
        "--page",
        "page.html",
    )
    shown = said(capsys, "run@0", "run", *flags)
    assert "run@4 against run@0" in shown
    assert "grade by other" in shown
    assert re.search(r"^reward +reward ", shown.split("judge by judge")[1], re.MULTILINE)
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    page = (tmp_path / "page.html").read_text()
    assert page.count("&lt;script&gt;alert(1)") >= 2 * PROMPTS
    assert "<script" not in page
    assert "\x1b" not in page
    assert "run@4 wins with run@0 shown first; run@4 wins with run@4 shown first" in page
    answers = re.findall(r"<summary>(\w+) \(.*?\) · (run@\d) shown first .*?</summary>\n +<div class=\"answer\"", page)
    assert sorted(answers) == sorted(
        PROMPTS * [(it, name) for it in ("other", "reward") for name in ("run@0", "run@4")]
    )


def test_the_page_holds_every_prompt_and_cuts_long_texts_with_a_note(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(compare_page, "MAX_CHARACTERS", 3 * PROMPTS * 300)
    rows = [Response(prompt_id=f"p{i}", model="long", text=f"begin{i} " + "x" * 5000) for i in range(PROMPTS)]
    write_rows("long.jsonl", rows)
    assert "page.html" in said(capsys, "old.jsonl", "long.jsonl", "--page", "page.html")
    page = (tmp_path / "page.html").read_text()
    assert all(f"begin{i}" in page for i in range(PROMPTS))
    assert page.count("4707 more characters not shown.") == PROMPTS
    assert len(page) < 20_000


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["old.jsonl", "old.jsonl"], "old.jsonl and old.jsonl: the same texts"),
        (["gone", "old.jsonl"], "gone: no such run or responses file"),
        (["old.jsonl", "new.jsonl", "--judge", "reward"], "--out: required with --judge; the file for the judges"),
        (["old.jsonl", "new.jsonl", "--out", "g.jsonl"], "--out: only valid with --judge"),
        (["old.jsonl", "new.jsonl", "--grade"], "--grade: only valid with --judge"),
        ([*JUDGED, "nobody"], "models.yaml: has no model 'nobody'"),
        ([*JUDGED, "reward", "reward"], "--judge reward: listed twice"),
        ([*JUDGED, "reward", "twin"], "--judge: in models.yaml, 'reward' and 'twin' resolve to the same model"),
        ([*JUDGED, "reward", "--reward-judge", "other"], "--reward-judge other: not one of the judges"),
        (["old.jsonl", "new.jsonl", "--judge", "reward", "--out", "g.jsonl"], "--judge: needs the prompts"),
        (["old.jsonl", "new.jsonl", "--group-by", "meta.kind"], "--group-by meta.kind: needs the prompts"),
        (["old.jsonl", "new.jsonl", "--draws", "0"], "--draws"),
        (["old.jsonl", "new.jsonl", "--page", "./old.jsonl"], "--page old.jsonl: would overwrite"),
        ([*JUDGED[:4], "--judge", "reward", "--out", "prompts.jsonl"], "--out prompts.jsonl: would overwrite"),
        (["old.jsonl", "new.jsonl", "--page", "gone/p.html"], "--page gone/p.html: cannot be written"),
        ([*JUDGED, "reward", "--page", "gone/p.html"], "--page gone/p.html: cannot be written"),
        ([*JUDGED, "reward", "--page", "."], "--page .: is a folder; name a file"),
        ([*JUDGED[:4], "--judge", "reward", "--out", "."], "--out .: is a folder; name a file"),
        ([*JUDGED[:4], "--judge", "reward", "--grade", "--out", "/"], "--out /: is a folder; name a file"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(capsys, serve, arguments, line):
    server = judges(serve)
    assert line in refused(capsys, *arguments)
    assert server.requests == []


def test_a_file_of_something_else_is_not_written_over(capsys, serve, tmp_path):
    judges(serve)
    before = (tmp_path / "grades.jsonl").read_text()
    flags = ("old.jsonl", "new.jsonl", "--prompts", "prompts.jsonl", "--judge", "reward", "--out")
    assert "grades.jsonl:1: model_a" in refused(capsys, *flags, "grades.jsonl")
    assert (tmp_path / "grades.jsonl").read_text() == before
    write_rows("others.jsonl", [Game(prompt_id="p", model_a="x", model_b="y", winner="a")])
    assert "--out: others.jsonl has games of 'x' and 'y'" in refused(capsys, *flags, "others.jsonl")


def test_it_needs_no_torch_and_little_time():
    code = (
        "import sys, time\n"
        "from longform.cli import main\n"
        "try:\n    main(['compare', 'old.jsonl', 'new.jsonl', '--grades', 'grades.jsonl', '--json'])\n"
        "finally:\n    assert 'torch' not in sys.modules and 'transformers' not in sys.modules\n"
        "    print(time.process_time(), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["prompts"] == PROMPTS
    assert float(done.stderr.splitlines()[-1]) < 1.5
