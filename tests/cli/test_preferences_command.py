"""`longform preferences`: its three ways to pairs, through the command line."""

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from longform.cli import main
from longform.judging.answers import read_fences
from longform.records.database import RolloutRecord
from longform.records.files import read_rows, write_rows
from longform.records.interchange import write_writing_rl
from longform.records.run_directory import RunDirectory
from longform.records.schemas import Grade, Ladder, Preference, Prompt, Reference, Response
from longform.selection.preferences import SourcedPreference


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*arguments):
    with pytest.raises(SystemExit) as caught:
        main(["preferences", *map(str, arguments)])
    return caught.value.code or 0


def refused(capsys, *arguments):
    """The one line of a refusal."""
    assert call(*arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("longform: ")
    assert error.count("\n") == 1
    return error


def read(path="out.jsonl"):
    return list(read_rows(path, SourcedPreference))


# --- scores


def write_graded(*, texts=("one", "one two", "one two three"), scores=(1.0, 3.0, 2.0)):
    models = ("a", "b", "c")
    write_rows("p.jsonl", [Prompt(id="p", prompt="写信。")])
    write_rows("r.jsonl", [Response(prompt_id="p", model=m, text=t) for m, t in zip(models, texts, strict=True)])
    write_rows("g.jsonl", [Grade(prompt_id="p", model=m, score=s) for m, s in zip(models, scores, strict=True)])


SCORES = ("scores", "--prompts", "p.jsonl", "--responses", "r.jsonl", "--grades", "g.jsonl", "--out", "out.jsonl")


def test_scores_make_pairs_and_say_how_often_the_longer_text_is_chosen(capsys):
    write_graded()
    assert not call(*SCORES)
    said = dict(line.split("  ", 1) for line in capsys.readouterr().out.splitlines())
    assert {name.strip(): value.strip() for name, value in said.items()} == {
        "pairs": "3",
        "prompts": "1",
        "longer is chosen": "0.667 of 3 pairs of unequal length",
        "path": "out.jsonl",
        "next": "longform reward-model RECIPE",
    }
    assert [(it.chosen, it.rejected, it.margin) for it in read()] == [
        ("one two", "one", 2.0),
        ("one two three", "one", 1.0),
        ("one two", "one two three", 1.0),
    ]
    assert [it.prompt for it in read_rows("out.jsonl", Preference)] == ["写信。"] * 3


def test_what_was_left_out_is_printed_with_its_cause(capsys):
    write_graded(texts=("one", "one", "one two"))
    assert not call(*SCORES, "--json")
    assert json.loads(capsys.readouterr().out) == {
        "pairs": 2,
        "prompts": 1,
        "left_out": {"pairs of equal texts": 1},
        "longer_chosen": 0.5,
        "unequal_length": 2,
        "path": "out.jsonl",
    }


def test_flags_and_files_that_cannot_be_used_are_refused(capsys):
    write_graded()
    assert "--margin" in refused(capsys, *SCORES, "--margin", "-1")
    assert "--max-per-prompt" in refused(capsys, *SCORES, "--max-per-prompt", "0")
    assert "g.jsonl/out.jsonl: cannot be written" in refused(capsys, *SCORES[:-1], "g.jsonl/out.jsonl")
    Path("g.jsonl").write_text('{"prompt_id": "p", "model": "a", "human_scores": [1]}\n')
    assert "g.jsonl:1: score" in refused(capsys, *SCORES)


def test_without_a_pair_nothing_is_written_and_the_causes_are_named(capsys):
    write_graded(texts=("same", "same ", "same"))
    assert "p.jsonl: no preference pairs; left out: 3 pairs of equal texts" in refused(capsys, *SCORES)
    assert not Path("out.jsonl").exists()


# --- verdicts


def write_run(outcomes, *, rewards=None, think="off", text="mine"):
    references = [Reference(model="a", text="low", score=1), Reference(model="b", text="high", score=2)]
    write_rows("l.jsonl", [Ladder(id="p", prompt="Write.", references=references, policy_score=0, potential=1)])
    recipe = {
        "policy": "nowhere",
        "data": {"ladders": "l.jsonl", "per_step": 1},
        "rewards": rewards or [{"kind": "pairwise", "judge": "old"}],
        "generation": {"think": think},
        "optim": {"mini_batch": 1},
        "run": {"name": "r", "steps": 9},
    }
    with RunDirectory.open("r") as run:
        run.recipe_path.write_text(yaml.safe_dump(recipe))
        run.database.set_fact("prompts", hashlib.sha256(Path("l.jsonl").read_bytes()).hexdigest())
        rollouts = [
            RolloutRecord(
                step=1, row=row, prompt_id="p", rung=0, text=text.format(row), reference="low", tokens=2, words=1,
                think_words=0, finish_reason="stop", outcome=outcome, cause=None if outcome else "timeout", reward=None,
            )
            for row, outcome in enumerate(outcomes)
        ]  # fmt: skip
        run.database.record_step(1, seconds=1.0, metrics={}, rollouts=rollouts)


def test_verdicts_of_a_run_make_pairs_of_answers_and_references(capsys):
    write_run(["win", "loss", "tie", None], think="on", text="<think>a plan</think><answer>mine {}</answer>")
    assert not call("verdicts", "r", "--out", "out.jsonl")
    assert [(it.chosen_model, it.chosen, it.rejected_model, it.rejected) for it in read()] == [
        ("policy", "mine 0", "a", "low"),
        ("a", "low", "policy", "mine 1"),
    ]
    out = capsys.readouterr().out
    assert "texts that tie with their reference  1" in out
    assert "rollouts without a verdict           1" in out


def test_a_run_in_which_nothing_is_compared_is_one_line(capsys):
    write_run([None], rewards=[{"kind": "pointwise", "judge": "old"}])
    assert "none of the run's rewards compares" in refused(capsys, "verdicts", "r", "--out", "out.jsonl")


def test_a_run_without_its_prompts_or_without_a_verdict_is_one_line(capsys):
    write_run([None])
    assert "r: no preference pairs; left out: 1 rollouts" in refused(capsys, "verdicts", "r", "--out", "out.jsonl")
    with Path("l.jsonl").open("a") as file:
        file.write("\n")
    assert "l.jsonl: has changed" in refused(capsys, "verdicts", "r", "--out", "out.jsonl")
    Path("l.jsonl").unlink()
    assert "l.jsonl: the prompts of the run cannot be read" in refused(capsys, "verdicts", "r", "--out", "out.jsonl")
    assert "not a run directory" in refused(capsys, "verdicts", "nowhere", "--out", "out.jsonl")


def test_a_run_whose_prompts_share_an_id_is_one_line(capsys):
    write_run(["win"])
    ladder = next(read_rows("l.jsonl", Ladder))
    write_writing_rl("l.parquet", [ladder, ladder])
    recipe = yaml.safe_load(Path("r/recipe.yaml").read_text())
    Path("r/recipe.yaml").write_text(yaml.safe_dump(recipe | {"data": {"ladders": "l.parquet", "per_step": 1}}))
    with RunDirectory.open("r") as run:
        run.database.set_fact("prompts", hashlib.sha256(Path("l.parquet").read_bytes()).hexdigest())
    assert "l.parquet:2: id='p': duplicate key" in refused(capsys, "verdicts", "r", "--out", "out.jsonl")


# --- dropping


@pytest.fixture
def server(serve):
    """A writer `w` that writes what it is asked, and a model `cut` that keeps the first word of a request."""

    def answer(request, number):
        message = request["messages"][-1]["content"]
        if request["model"] == "w":
            return f"{message} {request.get('seed', 0)}"
        return f"<reduced>{read_fences(message)['REQUEST'].split()[0]}</reduced>"

    server = serve(answer)
    models = {name: {"base_url": server.url, "model": name, "retries": 0} for name in ("w", "cut")}
    models["paid"] = {**models["cut"], "prices": {"prompt": 1, "completion": 1}}
    models["keyed"] = {**models["w"], "key_env": "NO_SUCH_KEY"}
    Path("models.yaml").write_text(yaml.safe_dump(models))
    write_rows("p.jsonl", [Prompt(id="p", prompt="Write it. Briefly."), Prompt(id="q", prompt="Say it loudly.")])
    return server


DROPPING = ("dropping", "p.jsonl", "--out", "out.jsonl", "--writer", "w")


def test_dropping_pairs_what_is_written_for_the_whole_and_for_the_reduced_request(server, capsys):
    assert not call(*DROPPING, "--rewriter", "cut", "--samples", "2")
    assert [(it.prompt, it.chosen, it.rejected) for it in read()] == [
        ("Write it. Briefly.", "Write it. Briefly. 0", "Write 0"),
        ("Write it. Briefly.", "Write it. Briefly. 1", "Write 1"),
        ("Say it loudly.", "Say it loudly. 0", "Say 0"),
        ("Say it loudly.", "Say it loudly. 1", "Say 1"),
    ]
    assert "longer is chosen  1.0 of 4 pairs" in capsys.readouterr().out


def test_with_revise_a_text_is_paired_with_its_own_revision_and_nothing_is_asked_twice(server, capsys):
    answer = server.script

    def revise(request, number):
        fenced = request["model"] == "w" and "<<<" in str(request) and read_fences(request["messages"][-1]["content"])
        return f"{fenced['TEXT']} for {fenced['REQUEST']}" if fenced else answer(request, number)

    server.script = revise
    flags = (*DROPPING, "--rewriter", "cut", "--samples", "2", "--revise")
    assert not call(*flags)
    made, asked = Path("out.jsonl").read_bytes(), len(server.requests)
    assert [(it.chosen, it.rejected) for it in read()] == [
        ("Write it. Briefly. 0", "Write it. Briefly. 0 for Write"),
        ("Write it. Briefly. 1", "Write it. Briefly. 1 for Write"),
        ("Say it loudly. 0", "Say it loudly. 0 for Say"),
        ("Say it loudly. 1", "Say it loudly. 1 for Say"),
    ]
    Path("out.jsonl.revisions.jsonl").unlink()
    assert not call(*flags)
    assert Path("out.jsonl").read_bytes() == made
    assert len(server.requests) == asked == 2 + 4 + 4
    assert not call(*flags[:-1])
    assert len(server.requests) == asked + 4, "without it, only the reduced requests are still to be written for"


def test_by_the_plain_rule_requests_of_one_sentence_are_left_out_and_counted(server, capsys):
    assert not call(*DROPPING, "--json")
    assert [(it.chosen, it.rejected) for it in read()] == [("Write it. Briefly. 0", "Write it. 0")]
    said = json.loads(capsys.readouterr().out)
    assert said["left_out"] == {"prompts that were not reduced": 1}
    assert said["failures"] == {"one_sentence": 1}
    write_rows("p.jsonl", [Prompt(id="q", prompt="Say it.")])
    Path("out.jsonl.reduced.jsonl").unlink()
    assert "use --rewriter" in refused(capsys, *DROPPING)


def test_started_again_it_asks_for_nothing_twice_and_goes_on_where_it_was(server, capsys):
    flags = (*DROPPING, "--rewriter", "cut")
    assert not call(*flags)
    made, asked = Path("out.jsonl").read_bytes(), len(server.requests)
    for lost in ("out.jsonl", "out.jsonl.reduced-responses.jsonl", "out.jsonl.reduced.jsonl"):
        Path(lost).unlink()
        assert not call(*flags)
        assert Path("out.jsonl").read_bytes() == made
    assert len(server.requests) == asked == 2 + 2 + 2
    assert not call(*flags, "--samples", "2")
    assert len(server.requests) == asked + 4


def test_failed_calls_are_counted_and_tried_again(server, reply, capsys):
    answer = server.script
    server.script = lambda request, number: reply(status=500) if "Say" in str(request) else answer(request, number)
    assert not call(*DROPPING, "--rewriter", "cut", "--json")
    said = json.loads(capsys.readouterr().out)
    assert (said["pairs"], said["failures"]) == (1, {"server_error": 1})
    assert not call(*DROPPING, "--rewriter", "cut")
    assert re.search("^failures +server_error 1$", capsys.readouterr().out, re.M)
    server.script = answer
    assert not call(*DROPPING, "--rewriter", "cut", "--json")
    said = json.loads(capsys.readouterr().out)
    assert (said["pairs"], said["failures"]) == (2, {})
    assert not call(*DROPPING, "--rewriter", "cut")
    assert re.search("^failures +0$", capsys.readouterr().out, re.M)


def test_names_keys_and_prices_are_checked_before_a_call_is_paid(server, capsys):
    assert "has no model 'cutt'; did you mean 'cut'?" in refused(capsys, *DROPPING, "--rewriter", "cutt")
    assert "NO_SUCH_KEY" in refused(capsys, *DROPPING[:-1], "keyed", "--rewriter", "cut")
    assert "no prices for 'w'" in refused(capsys, *DROPPING, "--rewriter", "paid", "--budget", "1")
    assert "--writer ./w: not a model folder" in refused(capsys, *DROPPING[:-1], "./w")
    assert not server.requests


def test_an_out_that_would_overwrite_an_input_is_refused_before_anything_is_read(server, capsys):
    write_graded()
    write_run(["win"])
    commands = {
        SCORES[:-1]: ("p.jsonl", "r.jsonl", "g.jsonl"),
        ("verdicts", "r", "--out"): ("l.jsonl", "r/recipe.yaml", "r/run.sqlite"),
        ("dropping", "p.jsonl", "--writer", "w", "--out"): ("p.jsonl", "models.yaml"),
    }
    for command, inputs in commands.items():
        for path in inputs:
            before = Path(path).read_bytes()
            assert f"--out {path}: would overwrite {path}" in refused(capsys, *command, path)
            assert Path(path).read_bytes() == before
    write_rows("out.jsonl.full.jsonl", [Prompt(id="p", prompt="Write it. Briefly.")])
    said = refused(capsys, "dropping", "out.jsonl.full.jsonl", "--writer", "w", "--out", "out.jsonl")
    assert "out.jsonl.full.jsonl: would overwrite" in said
    assert not server.requests


def test_texts_written_by_another_writer_or_in_another_way_are_never_taken_for_its_own(server, capsys):
    assert not call(*DROPPING, "--max-tokens", "60")
    capsys.readouterr()
    made, asked = Path("out.jsonl").read_bytes(), len(server.requests)
    said = refused(capsys, *DROPPING, "--max-tokens", "200")
    assert "--out out.jsonl: the writing: was begun with max_tokens 60, not 200; choose another" in said
    assert "temperature 1.0, not 0.5" in refused(capsys, *DROPPING, "--max-tokens", "60", "--temperature", "0.5")
    assert "writer w, not cut" in refused(capsys, *DROPPING[:-1], "cut", "--max-tokens", "60")
    models = yaml.safe_load(Path("models.yaml").read_text())
    Path("models.yaml").write_text(yaml.safe_dump(models | {"w": {**models["w"], "model": "w2"}}))
    assert "model w, not w2" in refused(capsys, *DROPPING, "--max-tokens", "60")
    assert (Path("out.jsonl").read_bytes(), len(server.requests)) == (made, asked)


def test_where_nothing_was_written_yet_another_way_of_writing_may_be_chosen(server, reply, capsys):
    answer = server.script
    server.script = lambda request, number: reply(status=500)
    assert call(*DROPPING, "--max-tokens", "60") == 3
    server.script = answer
    assert not call(*DROPPING, "--max-tokens", "200")


def test_help_loads_no_torch():
    program = (
        "import sys; from longform.cli import main\n"
        "try: main(['preferences', 'dropping', '--help'])\n"
        "except SystemExit: pass\n"
        "sys.exit('torch' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "--rewriter" in found.stdout
