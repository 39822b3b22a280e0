"""`longform doctor`, and the warnings that `longform train` prints while it goes on."""

import json
from dataclasses import replace

import pytest
import yaml

from artifacts import save_policy
from longform.cli import main
from longform.miniature.policy import build_model, build_tokenizer
from longform.records.calls import CallRecord, SqliteCallLog
from longform.records.files import write_rows
from longform.records.run_directory import RunDirectory
from longform.records.schemas import Ladder, Reference

CALL = CallRecord(
    request_hash="h",
    attempt=1,
    endpoint="judge",
    model="gpt-5",
    outcome="ok",
    prompt_tokens=1,
    completion_tokens=1,
    cost=None,
    latency_seconds=1.0,
    text="[[A]]",
    finish_reason="stop",
)


@pytest.fixture
def record(tmp_path):
    """`record(steps, wins)` writes a run in which a share of 32 rollouts a step wins, and stays open."""
    opened = []

    def write(steps, wins):
        run = RunDirectory.open(tmp_path / "run")
        opened.append(run)
        for step in range(1, steps + 1):
            metrics = {"reward/count": 32.0, "text/count": 32.0, "outcome/win": wins, "policy/loss": 0.01}
            run.database.record_step(step, seconds=1.0, metrics=metrics)
        return run.path

    yield write
    for run in opened:
        run.close()


def _run(*arguments):
    """Run a command to its end; its exit code."""
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    return stopped.value.code


def test_a_failure_is_reported_with_steps_evidence_and_advice(record, capsys):
    assert _run("doctor", record(20, 1.0)) == 0, "a finding is a result; and the run's own connection is open still"
    name, evidence, advice, *others = capsys.readouterr().out.splitlines()
    assert name == "won-too-easily (steps 1 to 20)"
    assert evidence == "  100.0% of 256 verdicts in steps 13 to 20 are wins"
    assert "curriculum.top" in advice
    assert [line.split(" needs ")[0] for line in others] == [
        "not checked: judge-inconsistent",
        "not checked: judge-examiner-apart",
    ]


def test_an_endpoint_that_changed_its_model_within_the_run_is_reported(record, capsys):
    run = record(20, 0.5)
    with SqliteCallLog(run / "run.sqlite") as log:
        for number, served in enumerate(["gpt-5 fp1"] * 3 + ["gpt-5 fp2"] * 2):
            log.record(replace(CALL, request_hash=str(number), served_model=served))
        log.record(replace(CALL, request_hash="x", endpoint="examiner", served_model="other"))
    assert _run("doctor", run) == 0
    assert "model changed: judge was answered by gpt-5 fp1 (3 answers) and then gpt-5 fp2 (2 answers)" in (
        shown := capsys.readouterr().out
    )
    assert "examiner" not in shown.partition("not checked")[0]


def test_a_healthy_run_has_no_known_failure(record, capsys):
    assert _run("doctor", record(20, 0.5)) == 0
    assert capsys.readouterr().out.startswith("no known failure signature in 20 steps\n")


def test_a_run_of_few_steps_is_not_called_healthy(record, capsys):
    assert _run("doctor", record(7, 0.5)) == 0
    assert capsys.readouterr().out.startswith(
        "too early for most checks, which need 8 steps and 256 verdicts: the run is at step 7 with 224 verdicts\n"
    )


def test_findings_as_json(record, capsys):
    assert _run("doctor", record(20, 1.0), "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["steps"], printed["too_early"]) == (20, False)
    assert [it["name"] for it in printed["findings"]] == ["won-too-easily"]
    assert set(printed["findings"][0]) == {"name", "first", "last", "evidence", "advice"}
    assert set(printed["unwatched"]) == {"judge-inconsistent", "judge-examiner-apart"}


def test_what_is_no_run_is_said_in_one_line(tmp_path, capsys):
    assert _run("doctor", tmp_path / "nowhere") == 2
    assert (
        capsys.readouterr().err
        == f"longform: {tmp_path / 'nowhere'}: not a run directory (it has no run.sqlite); `longform runs` lists runs\n"
    )


def test_train_warns_while_it_trains(tmp_path, monkeypatch, capfd, serve):
    monkeypatch.chdir(tmp_path)
    tokenizer = build_tokenizer()
    save_policy(build_model(tokenizer, seed=0), tokenizer, tmp_path / "policy")
    references = [Reference(model=f"m{rung}", text="weak", score=rung) for rung in range(3)]
    ladders = [
        Ladder(id=f"p{n}", prompt="Write.", references=references, policy_score=0, potential=2) for n in range(32)
    ]
    write_rows(tmp_path / "ladders.jsonl", ladders)
    judge = {"base_url": serve(lambda request, number: "[[B]]").url, "model": "j"}
    (tmp_path / "models.yaml").write_text(yaml.safe_dump({"judge": judge}))
    recipe = {
        "policy": "policy",
        "data": {"ladders": "ladders.jsonl", "per_step": 32},
        "rewards": [{"kind": "pairwise", "judge": "judge"}],
        "generation": {"max_tokens": 4},
        "run": {"name": "r", "steps": 9},
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    assert _run("train", "recipe.yaml") == 0
    errors = capfd.readouterr().err.splitlines()
    (warning,) = (line for line in errors if "won-too-easily" in line)
    assert warning.startswith("warning: won-too-easily, since step 1: 100.0% of 256 verdicts in steps 1 to 8 are wins")
    assert "curriculum.top" in warning
