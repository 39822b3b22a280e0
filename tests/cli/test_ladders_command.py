"""`longform ladders check`: against the served miniature, resumed, and bad input in one line each."""

import json
import shlex
from pathlib import Path

import pytest
import yaml

from artifacts import save_policy
from longform.cli import main
from longform.judging.answers import read_fences
from longform.miniature.judge import EXAMINER, pointwise_score
from longform.miniature.policy import build_model, build_tokenizer
from longform.miniature.server import serve_in_background
from longform.miniature.world import parse_request, prompts
from longform.miniature.world_files import models_yaml
from longform.miniature.writers import write_story
from longform.records.files import read_rows, write_rows
from longform.records.interchange import read_ladders
from longform.records.recorded_calls import read_calls
from longform.records.run_directory import RunDirectory
from longform.records.schemas import Game, Ladder, Reference
from longform.selection.select import ladder_references

LADDERS = 24


@pytest.fixture(scope="module")
def address():
    with serve_in_background() as found:
        yield found


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def world(address):
    """Ladders of three writers' stories, graded by the examiner without its noise."""
    Path("models.yaml").write_text(models_yaml(address))
    rows = []
    for prompt in prompts(seed=3, split="train", count=LADDERS):
        request = parse_request(prompt.request)
        texts = {level: write_story(request, level=level) for level in ("novice", "journeyman", "master")}
        graded = [
            Reference(model=name, text=text, score=pointwise_score(request, text, EXAMINER))
            for name, text in texts.items()
        ]
        references = ladder_references(graded, policy="novice")
        fields = {"references": references, "policy_score": 1, "potential": 1}
        rows.append(Ladder.model_validate({**prompt.model_dump(), **fields}))
    write_rows("ladders.jsonl", rows)
    return rows


def run(*words):
    with pytest.raises(SystemExit) as caught:
        main([str(word) for word in words])
    return caught.value.code or 0


def check(capsys, *flags, judge="examiner", path="ladders.jsonl"):
    assert run("ladders", "check", path, "--judge", judge, "--out", "checked.jsonl", "--json", *flags) == 0
    return json.loads(capsys.readouterr().out)


def test_ladders_in_the_order_of_the_judge_have_no_inversion(world, capsys):
    found = check(capsys, "--policy", "novice")
    pairs = sum(len(it.references) - 1 for it in world)
    assert (found["ladders"], found["pairs"], found["verdicts"]) == (LADDERS, pairs, 2 * pairs)
    everything = found["positions"][0]
    assert everything["inverted"]["value"]["estimate"] == 0
    assert everything["in_order"]["value"]["estimate"] > 0.9
    assert everything["in_order"]["prompts"] == LADDERS
    assert found["free"][0]["rung"] is None
    games = list(read_rows("checked.jsonl", Game))
    assert len(games) == 2 * pairs
    assert {it.judge for it in games} == {"examiner"}


def test_a_ladder_that_is_upside_down_is_found_and_mended_without_another_question(world, capsys):
    upside_down = [
        it.model_copy(
            update={
                "references": [
                    one.model_copy(update={"score": float(score)}) for score, one in enumerate(reversed(it.references))
                ]
            }
        )
        for it in world
    ]
    write_rows("wrong.jsonl", upside_down)
    before = check(capsys, path="wrong.jsonl")
    assert before["positions"][0]["inverted"]["value"]["estimate"] > 0.9
    assert before["reordered"] is None
    calls = len(list(read_calls(Path("checked.jsonl.calls.sqlite"))))
    after = check(capsys, "--reorder", "mended.jsonl", path="wrong.jsonl")
    assert len(list(read_calls(Path("checked.jsonl.calls.sqlite")))) == calls
    assert after["positions"] == before["positions"]
    assert after["reordered"] > 0.9 * LADDERS
    mended = read_ladders(Path("mended.jsonl"))
    tied = {it.prompt_id for it in read_rows("checked.jsonl", Game) if it.winner != "a"}
    assert len(tied) < LADDERS / 4
    for now, right in zip(mended, world, strict=True):
        assert now.rungs == right.rungs or now.id in tied
    assert all(it.score in range(4) for ladder in mended for it in ladder.references), "scores stay as they were"


def test_the_noisy_judge_is_less_sure_and_its_games_are_kept_beside_the_others(world, capsys):
    check(capsys)
    found = check(capsys, judge="judge")
    assert found["positions"][0]["in_order"]["value"]["estimate"] < 1
    assert {it.judge for it in read_rows("checked.jsonl", Game)} == {"examiner", "judge"}
    assert run("arena", "checked.jsonl", "--json") == 0


def test_a_sample_is_drawn_with_the_seed_and_the_others_keep_their_order(world, capsys):
    found = check(capsys, "--sample", "5", "--seed", "2", "--reorder", "some.jsonl")
    assert found["ladders"] == 5
    drawn = {it.prompt_id for it in read_rows("checked.jsonl", Game)}
    assert len(drawn) == 5
    again = check(capsys, "--sample", "5", "--seed", "2")
    assert (again["positions"], again["cost"]) == (found["positions"], found["cost"]), "nothing is asked again"
    others = [it for it in read_ladders(Path("some.jsonl")) if it.id not in drawn]
    assert others == [it for it in world if it.id not in drawn]


def test_a_dry_run_prints_the_price_and_asks_nothing(world, capsys):
    models = yaml.safe_load(Path("models.yaml").read_text())
    models["examiner"]["prices"] = {"prompt": 1.0, "completion": 2.0}
    Path("models.yaml").write_text(yaml.safe_dump(models))
    found = check(capsys, "--dry-run")
    assert found["questions"] == 2 * sum(len(it.references) - 1 for it in world)
    assert found["cost"] == pytest.approx((found["prompt_tokens"] + 2 * 250 * found["questions"]) / 1e6)
    assert not Path("checked.jsonl").exists()
    assert not list(Path().glob("*.sqlite"))


def test_the_price_is_printed_before_the_first_question_and_the_next_line_runs(world, capsys):
    assert run("ladders", "check", "ladders.jsonl", "--judge", "judge", "--out", "out.jsonl", "--policy", "novice") == 0
    shown = capsys.readouterr()
    assert shown.err.startswith("the judge gets at most ")
    assert "; recorded answers are not requested again\n" in shown.err
    assert "Neighbouring rungs, judge" in shown.out
    assert "Rungs that the policy's own response beats" in shown.out
    next_line = next(line for line in shown.out.splitlines() if line.startswith("next"))
    assert "--reorder reordered.jsonl" in next_line
    assert run(*shlex.split(next_line.removeprefix("next").strip(), comments=True)[1:]) == 0
    assert "longform train RECIPE --set data.ladders=reordered.jsonl" in capsys.readouterr().out


@pytest.mark.slow
def test_a_reordered_file_trains_as_it_is_written(world):
    assert (
        run("ladders", "check", "ladders.jsonl", "--judge", "judge", "--out", "o.jsonl", "--reorder", "new.jsonl") == 0
    )
    new = {it.id: it for it in read_ladders(Path("new.jsonl"))}
    assert any(
        [ref.score for ref in it.references] != sorted(ref.score for ref in it.references) for it in new.values()
    )
    tokenizer = build_tokenizer()
    save_policy(build_model(tokenizer, seed=3), tokenizer, Path("start"))
    recipe = {
        "policy": "start",
        "models": "models.yaml",
        "data": {"ladders": "new.jsonl", "per_step": LADDERS},
        "rewards": [{"kind": "pairwise", "judge": "judge"}],
        "generation": {"max_tokens": 24},
        "optim": {"mini_batch": LADDERS},
        "run": {"name": "run", "steps": 1},
    }
    Path("recipe.yaml").write_text(yaml.safe_dump(recipe))
    assert run("train", "recipe.yaml") == 0
    with RunDirectory.read(Path("runs/run")) as opened:
        faced = {it.prompt_id: it.reference for it in opened.database.rollouts()}
    assert faced == {id_: it.references[0].text for id_, it in new.items()}


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (
            ["--policy", "nobody"],
            "--policy nobody: ladders.jsonl has no reference by this model; models: journeyman, master, novice",
        ),
        (["--reorder", "ladders.jsonl"], "--reorder ladders.jsonl: would overwrite ladders.jsonl"),
        (["--budget", "0"], "budget"),
        (["--template", "none.txt"], "none.txt"),
        (["--gap", "-1"], "gap"),
        (["--sample", "0"], "sample"),
    ],
)
def test_bad_input_is_one_line(world, capsys, flags, said):
    assert run("ladders", "check", "ladders.jsonl", "--judge", "judge", "--out", "o.jsonl", *flags) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("longform: ")
    assert said in error


def test_games_of_another_command_are_not_written_over(world, capsys):
    write_rows("games.jsonl", [Game(prompt_id="p", model_a="a", model_b="b", winner="a")])
    assert run("ladders", "check", "ladders.jsonl", "--judge", "judge", "--out", "games.jsonl") == 2
    assert "games that are not of neighbouring rungs" in capsys.readouterr().err
    assert len(list(read_rows("games.jsonl", Game))) == 1


def test_ladders_of_one_rung_have_nothing_to_compare(world, capsys):
    write_rows("short.jsonl", [it.model_copy(update={"references": it.references[:1]}) for it in world])
    assert run("ladders", "check", "short.jsonl", "--judge", "judge", "--out", "o.jsonl") == 2
    assert capsys.readouterr().err == "longform: short.jsonl: no ladder has two rungs to compare\n"


def test_missing_verdicts_are_counted_by_cause_and_asked_again_only_if_a_call_failed(serve, capsys):
    def judge(request, number):
        fenced = read_fences(request["messages"][-1]["content"])
        if "mute" in fenced["TEXT A"] + fenced["TEXT B"]:
            return "Well."
        return "[[A]]" if len(fenced["TEXT A"]) > len(fenced["TEXT B"]) else "[[B]]"

    server = serve(judge)
    Path("models.yaml").write_text(yaml.safe_dump({"judge": {"base_url": server.url, "model": "m", "retries": 0}}))
    references = [
        {"model": name, "text": text, "score": score}
        for score, (name, text) in enumerate([("a", "short"), ("b", "longer text"), ("c", "mute")])
    ]
    fields = {"id": "p", "prompt": "Write.", "policy_score": 1, "potential": 1, "references": references}
    write_rows("ladders.jsonl", [Ladder.model_validate(fields)])
    found = check(capsys, "--reorder", "new.jsonl", judge="judge")
    assert found["no_verdict"] == {"no_verdict": 2}
    assert [it["missing"] for it in found["positions"]] == [1, 0, 1]
    assert (found["reordered"], found["unrated"]) == (0, 1)
    asked = len(server.requests)
    check(capsys, judge="judge")
    assert len(server.requests) == asked, "an answer without a verdict is on record too"
