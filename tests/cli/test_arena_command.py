"""`longform arena`: files of games in, ratings out, and one line for what cannot be rated."""

import itertools
import json
import subprocess
import sys

import pytest

from longform.cli import main
from longform.records.files import write_rows
from longform.records.schemas import Game, Response

MODELS = ("alpha", "beta", "gamma")
HOSTILE = "\x1b[31mx_1|<b>\u202e"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*arguments):
    with pytest.raises(SystemExit) as caught:
        main(["arena", *map(str, arguments)])
    return caught.value.code or 0


def said(capsys, *arguments):
    """Standard output of a command that works."""
    assert call(*arguments) == 0
    return capsys.readouterr().out


def refused(capsys, *arguments):
    """The one line of a refusal."""
    assert call(*arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("longform: ")
    assert captured.err.count("\n") == 1
    return captured.err


def games(path="games.jsonl", *, models=MODELS, judge="j", prompts=9, **more):
    """The earlier model wins on two of three prompts."""
    rows = [
        Game(prompt_id=f"p{i}", model_a=a, model_b=b, winner="b" if i % 3 == 0 else "a", judge=judge, **more)
        for i in range(prompts)
        for a, b in itertools.combinations(models, 2)
    ]
    write_rows(path, rows)
    return path


def test_models_stand_in_a_table_with_intervals_and_numbers(capsys):
    lines = said(capsys, games()).split("\n")
    assert lines[0] == "Ratings"
    assert lines[1].split() == ["rank", "model", "rating", "win", "rate", "games", "prompts"]
    assert [line.split()[:2] for line in lines[3:6]] == [["1", "alpha"], ["2", "beta"], ["3", "gamma"]]
    assert " to " in lines[3]
    assert lines[3].split()[-2:] == ["18", "9"]


def test_several_files_are_one_arena_and_parquet_is_read(capsys):
    games("one.jsonl", models=("alpha", "beta"))
    games("two.parquet", models=("beta", "gamma"))
    result = json.loads(said(capsys, "one.jsonl", "two.parquet", "--json"))
    assert [it["model"] for it in result["standings"]] == list(MODELS)
    assert {it["component"] for it in result["standings"]} == {0}
    assert (result["games"], result["prompts"], result["judges"]) == (18, 9, {"j": 18})


def test_json_has_every_number_and_null_where_there_is_none(capsys):
    games(models=("alpha", "beta"), prompts=1)
    result = json.loads(said(capsys, "games.jsonl", "--json", "--matrix", "--resamples", 50, "--seed", 3))
    (beta, alpha) = result["standings"]
    assert beta["win_rate"] == {"estimate": 1.0, "low": None, "high": None, "no_interval": "a single prompt"}
    assert beta["rating"] == {"estimate": beta["rating"]["estimate"], "low": None, "high": None} | {
        "no_interval": "rank only"
    }
    assert (beta["games"], beta["prompts"]) == (1, 1)
    assert (beta["unbounded"], alpha["unbounded"], beta["anchored"]) == (True, True, False)
    assert result["matrix"]["beta"]["alpha"] == {"win_rate": beta["win_rate"], "games": 1, "prompts": 1}
    assert (result["resamples"], result["seed"]) == (50, 3)


def test_no_number_in_the_json_is_without_interval_and_n(capsys):
    games(words_a=900, words_b=300, prompts=1)
    result = json.loads(said(capsys, "games.jsonl", "--format", "json", "--matrix", "--control-length"))
    told = [*result["standings"], *result["uncontrolled"], *result["lengths"]]
    told += [meeting for of_model in result["matrix"].values() for meeting in of_model.values()]
    assert len(told) == 3 + 3 + 1 + 6
    for it in told:
        assert {"games", "prompts"} <= it.keys()
        numbers = [value for value in it.values() if isinstance(value, dict)]
        assert numbers
        assert all(value["low"] is None and value["no_interval"] for value in numbers)


@pytest.mark.parametrize("form", ["markdown", "latex"])
def test_standard_output_is_the_tables_alone_in_other_forms(capsys, form):
    games("one.jsonl", judge="strict", order="ab")
    games("two.jsonl", judge="kind", order="ba")
    assert call("one.jsonl", "two.jsonl", "--matrix", "--format", form) == 0
    captured = capsys.readouterr()
    assert "these ratings combine games of 2 judges" in captured.err
    starts = ("|", "**", "A text", "Intervals") if form == "markdown" else ("%", "\\", "{}")
    assert all(line.startswith(starts) for line in captured.out.splitlines() if line)


def test_games_judged_in_one_order_are_counted_in_a_note(capsys):
    both = [
        Game(prompt_id=f"p{i}", model_a="x", model_b="y", winner=winner, order=order, judge="j")
        for i, winner in enumerate(("a", "b", "a", "b"))
        for order in ("ab", "ba")
    ]
    for kept, told in ((both, 0), (both[:-1], 1), (both[::2], 0)):  # once each, in one order, is a design of its own
        write_rows("games.jsonl", kept)
        assert json.loads(said(capsys, "games.jsonl", "--json"))["without_other_order"] == told
    write_rows("games.jsonl", both[1:])
    assert call("games.jsonl") == 0
    assert "1 games were judged in one order only" in capsys.readouterr().err


def test_the_same_seed_gives_the_same_bytes(capsys):
    games()
    assert said(capsys, "games.jsonl", "--json") == said(capsys, "games.jsonl", "--json")
    assert said(capsys, "games.jsonl", "--json") != said(capsys, "games.jsonl", "--json", "--seed", 1)


def test_anchors_are_held_and_marked(capsys):
    write_rows(
        "games.jsonl",
        [Game(prompt_id=f"p{i}", model_a="a=b", model_b="c", winner="a" if i % 2 else "b") for i in range(8)],
    )
    out = said(capsys, "games.jsonl", "--anchor", "a=b=1200")
    assert "1200 (fixed)" in out
    assert any(line.split()[1:3] == ["c", "1200"] for line in out.split("\n")[3:5])


def test_groups_that_never_met_have_tables_of_their_own(capsys):
    games("one.jsonl", models=("alpha", "beta"))
    games("two.jsonl", models=("gamma", "delta"))
    out = said(capsys, "one.jsonl", "two.jsonl", "--matrix")
    assert "Ratings, group 1 of 2" in out
    assert "Ratings, group 2 of 2" in out
    assert out.count("No games connect") == 2


def test_judges_are_listed_selected_and_rated_separately(capsys):
    games("one.jsonl", judge="strict")
    games("two.jsonl", judge="kind", models=MODELS[::-1])
    assert call("one.jsonl", "two.jsonl", "--per-judge") == 0
    captured = capsys.readouterr()
    assert captured.err.strip() == "these ratings combine games of 2 judges: kind (27), strict (27)"
    assert [line for line in captured.out.split("\n") if line.startswith("Ratings")] == [
        "Ratings",
        "Ratings by kind",
        "Ratings by strict",
    ]
    result = json.loads(said(capsys, "one.jsonl", "two.jsonl", "--per-judge", "--json"))
    assert result["by_judge"]["kind"]["standings"][0]["model"] == "gamma"
    alone = json.loads(said(capsys, "one.jsonl", "two.jsonl", "--judge", "kind", "--json"))
    assert alone["standings"] == result["by_judge"]["kind"]["standings"]


def test_ratings_with_and_without_control_stand_side_by_side(capsys):
    games(words_a=900, words_b=300)
    out = said(capsys, "games.jsonl", "--control-length")
    assert out.startswith("Ratings, controlled for length\n")
    assert "uncontrolled" in out
    assert "A text twice as long as the other gains " in out
    result = json.loads(said(capsys, "games.jsonl", "--control-length", "--json"))
    assert result["lengths"][0]["deviation"] == pytest.approx(0.5)
    assert len(result["uncontrolled"]) == len(result["standings"]) == 3


def test_words_are_counted_from_responses(capsys):
    games(words_a=900, words_b=300)
    given = json.loads(said(capsys, "games.jsonl", "--control-length", "--json"))
    texts = {"alpha": "a " * 40, "beta": "b " * 20, "gamma": ""}
    for model, text in texts.items():
        write_rows(f"{model}.jsonl", [Response(prompt_id=f"p{i}", model=model, text=text) for i in range(9)])
    files = [f"{model}.jsonl" for model in texts]
    counted = json.loads(said(capsys, "games.jsonl", "--control-length", "--json", "--responses", *files))
    assert counted["lengths"][0]["deviation"] != given["lengths"][0]["deviation"]
    assert "no response of 'gamma' to prompt 'p0', sample 0" in refused(
        capsys, "games.jsonl", "--control-length", "--responses", *files[:2]
    )


@pytest.mark.parametrize("form", ["text", "markdown", "latex"])
def test_hostile_names_cannot_leave_their_cell(capsys, form):
    games(models=("alpha", HOSTILE), judge=HOSTILE)
    out = said(capsys, "games.jsonl", "--matrix", "--per-judge", "--format", form)
    assert "\x1b" not in out
    assert "\u202e" not in out
    if form == "markdown":
        assert r"\[31mx\_1\|\<b\>" in out
    if form == "text":
        assert "Win rates pair by pair" in out
    if form == "latex":
        assert r"x\_1\textbar{}\textless{}b\textgreater{}" in out


def test_what_cannot_be_rated_is_one_line(capsys, folder):
    games()
    (folder / "empty.jsonl").write_text("")
    write_rows("self.jsonl", [Game(prompt_id="p", model_a="x", model_b="x", winner="tie")])
    for arguments, line in {
        ("empty.jsonl",): "empty.jsonl: contains no rows",
        ("nowhere.jsonl",): "nowhere.jsonl: cannot be read",
        ("self.jsonl",): "prompt 'p': model_a and model_b are both 'x'",
        ("games.jsonl", "--judge", "k"): "--judge k: has no games; judges: j",
        ("games.jsonl", "--anchor", "x=3"): "anchor 'x': has no games",
        ("games.jsonl", "--anchor", "alpha"): "--anchor alpha: needs NAME=RATING",
        ("games.jsonl", "--anchor", "alpha=inf"): "--anchor alpha=inf: needs NAME=RATING",
        ("games.jsonl", "--anchor", "alpha=1", "--anchor", "alpha=2"): "--anchor alpha: has two ratings, 1 and 2",
        (
            "games.jsonl",
            "--control-length",
        ): "on prompt 'p0' has no words_a; add it, or pass the texts with --responses",
        ("games.jsonl", "--responses", "games.jsonl"): "--responses: only valid with --control-length",
        ("games.jsonl", "--resamples", "0"): "resamples",
        (): "games",
    }.items():
        assert line.lower() in refused(capsys, *arguments).lower()


def test_ratings_need_no_torch(folder):
    games()
    code = (
        "import sys\nfrom longform.cli import main\n"
        "try: main(['arena', 'games.jsonl'])\nexcept SystemExit: pass\n"
        "assert not {'torch', 'transformers', 'aiohttp'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True, capture_output=True, timeout=60)
