"""`longform replay` on a run of one step, judged by nobody before."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from statistics import stdev

import pyarrow.parquet as pq
import pytest
import yaml

from longform.cli import main
from longform.judging.answers import read_fences
from longform.records.calls import SqliteCallLog
from longform.records.database import Promotion, RolloutRecord
from longform.records.files import write_rows
from longform.records.run_directory import RunDirectory
from longform.records.schemas import Ladder, Prompt, Reference
from longform.statistics.moments import AdvantageMoments

OUTCOMES = ["win", "loss", "loss", None]
NEW_OUTCOMES = ["win", "win", "loss", "tie"]


@pytest.fixture
def run(tmp_path, monkeypatch, serve):
    """A run of four rollouts; the judge `new` finds what each text says of itself."""
    monkeypatch.chdir(tmp_path)

    def answer(request, number):
        verdict = {"win": "B", "loss": "A", "tie": "C"}[read_fences(request["messages"][0]["content"])["TEXT B"]]
        return f"[[{verdict}]]"

    spec = {"base_url": serve(answer).url, "prices": {"prompt": 100, "completion": 200}}
    models = {
        "old": {"base_url": "http://127.0.0.1:1/v1", "model": "old", "retries": 0},
        "new": {**spec, "model": "new"},
    }
    (tmp_path / "models.yaml").write_text(yaml.safe_dump(models))
    references = [Reference(model="a", text="low", score=1), Reference(model="b", text="high", score=2)]
    ladders = [
        Ladder(id=f"p{i}", prompt="Write.", references=references, policy_score=0, potential=1) for i in range(4)
    ]
    write_rows(tmp_path / "ladders.jsonl", ladders)
    recipe = {
        "policy": "nowhere",
        "data": {"ladders": "ladders.jsonl", "per_step": 4},
        "rewards": [{"kind": "pairwise", "judge": "old"}],
        "optim": {"mini_batch": 1},
        "run": {"name": "r", "steps": 9},
    }
    with RunDirectory.open("r") as run, SqliteCallLog(run.database_path) as log:
        log.secret()
        run.recipe_path.write_text(yaml.safe_dump(recipe))
        run.database.set_fact("prompts", hashlib.sha256((tmp_path / "ladders.jsonl").read_bytes()).hexdigest())
        rollouts = [
            RolloutRecord(
                step=1,
                row=row,
                prompt_id=f"p{row}",
                rung=0,
                text=now,
                reference="low",
                tokens=2,
                words=1,
                think_words=0,
                finish_reason="stop",
                outcome=was,
                cause=None if was else "timeout",
                reward={"win": 1.0, "loss": 0.0}.get(was),
                scores={"pairwise": {"win": 1.0, "loss": 0.0}[was]} if was else None,
                advantages=AdvantageMoments(2, 0.5, 0.5, 0.5),
            )
            for row, (was, now) in enumerate(zip(OUTCOMES, NEW_OUTCOMES, strict=True))
        ]
        run.database.record_step(1, seconds=1.0, metrics={}, rollouts=rollouts, promotions=[Promotion(1, "p0", 1)])
    return "r"


@pytest.fixture
def group_run(tmp_path, monkeypatch):
    """A run of GRPO on one prompt, with two measured rewards: one group of three, one of them too long."""
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "prompts.jsonl", [Prompt(id="p", prompt="Write.", length_range=(2, 4))])
    recipe = {
        "method": "grpo",
        "policy": "nowhere",
        "data": {"prompts": "prompts.jsonl", "per_step": 1, "group": 3},
        "rewards": [{"kind": "length"}, {"kind": "format"}],
        "generation": {"think": "direct"},
        "run": {"name": "g", "steps": 1},
    }
    texts = {"<answer>One two three": (1.0, 1.0), "<answer>One": (0.5, 1.0), "One two three four five six": (0.0, 0.0)}
    with RunDirectory.open("g") as run, SqliteCallLog(run.database_path) as log:
        log.secret()
        run.recipe_path.write_text(yaml.safe_dump(recipe))
        run.database.set_fact("prompts", hashlib.sha256((tmp_path / "prompts.jsonl").read_bytes()).hexdigest())
        rollouts = [
            RolloutRecord(
                step=1,
                row=row,
                prompt_id="p",
                rung=0,
                text=text,
                reference="",
                tokens=2,
                words=len(text.split()),
                think_words=0,
                finish_reason="stop",
                outcome=None,
                cause=None,
                reward=sum(scores) / 2,
                scores=dict(zip(("length", "format"), scores, strict=True)),
            )
            for row, (text, scores) in enumerate(texts.items())
        ]
        run.database.record_step(1, seconds=1.0, metrics={}, rollouts=rollouts)
    return "g"


def _run(command, capsys, code=0):
    with pytest.raises(SystemExit) as ended:
        main(command.split())
    assert (ended.value.code or 0) == code
    said = capsys.readouterr()
    return said.out if code == 0 else said.err.splitlines()[-1]


def test_the_changes_are_printed(run, capsys):
    printed = _run(f"replay {run} --judge new --out rows.jsonl", capsys)
    for line in (
        "rollouts                4 in 1 steps",
        "different reference     for 0 rollouts",
        "outcomes before         loss 2, win 1",
        "outcomes after          win 2, loss 1, tie 1",
        "no reward before        timeout 1",
        "no reward after         none",
        "promotions              1 before, 2 after",
        "mean rung               0.25 before, 0.50 after; 1 prompts on another rung",
        "cost on record          0.0000 (0 calls)",
        "cost without record 0.0080 (4 calls)",
        "cost of this replay     0.0080 (4 calls); 0 answers were recorded",
        "path                    rows.jsonl",
        "next                    longform train r/recipe.yaml --set rewards.0.judge=new --set run.name=NAME",
    ):
        assert line.split() in [it.split() for it in printed.splitlines()]
    assert "would have written others" in printed
    assert ["loss", "1", "0", "1", "0"] in [line.split() for line in printed.splitlines()]
    rows = [json.loads(line) for line in Path("rows.jsonl").read_text().splitlines()]
    assert [(row.get("outcome_before"), row["outcome_after"]) for row in rows] == list(
        zip(OUTCOMES, NEW_OUTCOMES, strict=True)
    )
    assert rows[1]["reward_before"] == 0.0
    assert rows[1]["advantage_before"] == 0 < rows[1]["advantage_after"]


def test_json_holds_the_same_figures(run, capsys):
    figures = json.loads(_run(f"replay {run} --judge new --json", capsys), parse_constant=pytest.fail)
    assert figures["same_reference"]["agreeing"][0] == pytest.approx(2 / 3)
    assert figures["rewards"][-1]["difference"][0] == pytest.approx(1 / 3)
    assert figures["promotions_after"] == 2
    assert figures["price"]["paid"]["calls"] == 4
    assert figures["answers_on_record"] == 0
    again = json.loads(_run(f"replay {run} --judge new --json", capsys))
    assert (again["price"]["paid"]["calls"], again["answers_on_record"]) == (0, 4)


def test_balanced_is_held_against_summed_without_a_judge(group_run, capsys):
    printed = _run(f"replay {group_run} --set advantages=summed --out rows.parquet", capsys)
    for line in (
        "rollouts            3 in 1 steps",
        "cost of this replay     0.0000 (0 calls); 0 answers were recorded",
        "next                    longform train g/recipe.yaml --set advantages=summed --set run.name=NAME",
    ):
        assert line.split() in [printed_line.split() for printed_line in printed.splitlines()]
    assert ["format", "0.667", "0.667"] in [line.split()[:3] for line in printed.splitlines()]
    assert not [name for name in ("outcomes", "promotions", "rung", "reference") if name in printed]
    rows = pq.read_table("rows.parquet").to_pylist()
    assert [row["scores_after"]["length"] for row in rows] == [1.0, 0.5, 0.0]
    balanced, summed = ([row[f"advantage_{side}"] for row in rows] for side in ("before", "after"))
    assert balanced == pytest.approx([0.5 + 0.5 / 3**0.5, 0.5 / 3**0.5, -0.5 - 1 / 3**0.5], abs=1e-5)
    sums = [1.0, 0.75, 0.0]
    assert summed == pytest.approx([(it - 1.75 / 3) / stdev(sums) for it in sums], abs=1e-5)
    figures = json.loads(_run(f"replay {group_run} --json", capsys))
    assert [it["kind"] for it in figures["kinds"]] == ["length", "format"]
    assert figures["rungs"] is None


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ("--judge any", "--judge any: no reward of this run has a judge; change the rewards with --set"),
        (
            "--set rewards.0.max_words=3",
            "prompts.jsonl: prompt p: its length_range ends at 4; rewards.length.max_words, where",
        ),
    ],
)
def test_what_rewards_on_the_page_cannot_follow_is_one_line(group_run, capsys, arguments, error):
    assert error in _run(f"replay {group_run} {arguments}", capsys, code=2)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (
            "--set optim.lr=1",
            "--set optim.lr=1: a replay can only change rewards, advantages and curriculum",
        ),
        ("--judge knew", "models.yaml: has no model 'knew'; did you mean 'new'?"),
        ("--set curriculum.mode=sometimes", "curriculum.mode: Input should be"),
        ("--budget 0", "--budget"),
        ("", "endpoint old at http://127.0.0.1:1/v1 cannot be reached"),
    ],
)
def test_what_cannot_be_is_one_line(run, capsys, arguments, error):
    assert error in _run(f"replay {run} {arguments}", capsys, code=2)


def test_a_folder_without_a_run_is_one_line(run, capsys):
    assert (
        _run("replay elsewhere", capsys, code=2)
        == "longform: elsewhere: not a run directory (it has no run.sqlite); `longform runs` lists runs"
    )


def test_a_replay_loads_no_torch(run):
    script = (
        "import sys; from longform.cli import main\n"
        "try: main(['replay', 'r', '--judge', 'new', '--json'])\n"
        "except SystemExit as end: sys.exit(end.code or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60).returncode == 0
