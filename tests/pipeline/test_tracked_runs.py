"""Runs that a tracker follows, here a plugin from a file: killed, resumed, and with trackers that fail."""

import json
import signal

import pytest
import yaml

from longform.records.run_directory import RunDirectory
from tracked_run import KEY, STEPS, build_run, first_text, recorded

TRACKER = """
import json, os, signal
from pathlib import Path
from longform.tracking.tracker import TrackerStart

class Lines:
    def _write(self, kind, *values):
        with Path("lines.jsonl").open("a") as file:
            file.write(json.dumps([kind, *values]) + "\\n")

    def start(self, run):
        self._write("start", run.name, run.id, run.step, run.sent, str(run.folder), dict(run.config))
        return TrackerStart(run.id or "id-1", run.sent, "lines.jsonl")

    def log(self, step, metrics):
        self._write("log", step, dict(metrics))
        if Path("dies-at").exists() and step == int(Path("dies-at").read_text()):
            Path("dies-at").unlink()
            os.kill(os.getpid(), signal.SIGKILL)

    def texts(self, step, rows):
        self._write("texts", step, [row._asdict() for row in rows])

    def finding(self, step, finding):
        self._write("finding", step, finding.name)

    def finish(self, state):
        self._write("finish", state)

class Broken(Lines):
    def log(self, step, metrics):
        if step == 2:
            raise ConnectionError("the\\nserver is down")
"""


def _train(forks, folder, *flags, code=0):
    return forks.run(folder, ["train", "recipe.yaml"], *flags, code=code, JUDGE_KEY=KEY)


@pytest.fixture(scope="module")
def world(tmp_path_factory, forks):
    folder = build_run(tmp_path_factory.mktemp("world"), track=["own_tracker:Lines"])
    (folder / "own_tracker.py").write_text(TRACKER)
    _train(forks, folder, code=-signal.SIGKILL)
    killed = (folder / "lines.jsonl").read_text().splitlines()
    resumed = _train(forks, folder, "--resume")
    lines = [json.loads(line) for line in (folder / "lines.jsonl").read_text().splitlines()]
    return folder, lines[: len(killed)], lines[len(killed) :], resumed


def test_a_killed_and_resumed_run_is_one_run_with_every_step_once(world):
    folder, killed, resumed, _ = world
    assert killed[0][:6] == ["start", "a-run", None, 0, -1, "runs/a-run"]
    assert resumed[0][:6] == ["start", "a-run", "id-1", 3, 4, "runs/a-run"]
    logged = [(step, metrics) for kind, step, metrics in (it for it in killed + resumed if it[0] == "log")]
    assert [step for step, _ in logged] == list(range(1, STEPS + 1))
    assert resumed[-1] == ["finish", "finished"]
    for step, metrics in logged:
        times = {name for name in metrics if name.startswith("seconds/")}  # of steps that were repeated
        assert {name: value for name, value in metrics.items() if name not in times} == {
            name: value for name, value in recorded(folder)[step].items() if name not in times
        }
    assert dict(logged)[STEPS] == recorded(folder)[STEPS]


def test_texts_come_as_often_as_the_recipe_says_and_are_those_of_the_records(world):
    folder, killed, resumed, _ = world
    tables = {step: rows for kind, step, rows in (it for it in killed + resumed if it[0] == "texts")}
    assert list(tables) == [2, 4, 6]
    first = first_text(folder, 4)
    assert tables[4][0]["response"] == first.text
    assert tables[4][0]["reference"] == first.reference
    assert tables[4][0]["reward"] == first.reward
    assert len(tables[4]) == 4


def test_neither_keys_nor_addresses_of_endpoints_reach_a_tracker(world):
    folder, _, resumed, _ = world
    config = resumed[0][6]
    assert (config["policy"], config["models"], config["optim.lr"]) == ("start", "models.yaml", 1e-3)
    said = (folder / "lines.jsonl").read_text()
    assert KEY not in said
    assert "judge.internal.example" not in said


def test_the_terminal_shows_where_to_look_a_sample_and_the_step_that_is_resumed(world):
    said = world[3].stderr
    assert "own_tracker:Lines: lines.jsonl" in said
    assert "step 4: " in said
    assert "training a-run 6/6" in said


def _weights(folder, name):
    return (folder / "runs" / name / "checkpoints" / f"step-{STEPS:06d}" / "policy" / "model.safetensors").read_bytes()


def test_a_tracker_that_fails_changes_nothing_in_the_run(world, forks):
    folder = world[0]
    without = _train(forks, folder, "--set", "run.name=without", "--set", "run.track=[]", "--set", "run.show_every=0")
    broken = _train(forks, folder, "--set", "run.name=broken", "--set", "run.track=[own_tracker:Broken]")
    assert "switched off" not in without.stderr
    assert broken.stderr.count("tracker own_tracker:Broken is switched off: ConnectionError: the server is down") == 1
    _train(forks, folder, "--set", "run.name=without", "--resume")  # trackers may change
    assert _weights(folder, "without") == _weights(folder, "broken") == _weights(folder, "a-run")
    with RunDirectory.read(folder / "runs" / "broken") as run:
        assert run.database.last_step() == STEPS


@pytest.mark.parametrize("flags", [(), ("--dry-run",)])
def test_a_tracker_that_is_not_there_is_refused_before_the_run_begins(world, forks, flags):
    folder = world[0]
    done = _train(forks, folder, "--set", "run.name=refused", "--set", "run.track=[wandbb]", *flags, code=2)
    assert "longform: run.track: unknown tracker 'wandbb'; available: trackio, wandb, " in done.stderr
    assert not (folder / "runs" / "refused").exists()


def test_a_supervised_stage_is_followed_and_resumed_as_one_run(world, forks):
    folder = world[0]
    rows = [{"prompt": f"write {number}", "completion": f"the cat {number} sat"} for number in range(16)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = {
        "policy": "start",
        "out": "tuned",
        "data": {"rows": ["rows.jsonl"]},
        "settings": {"steps": 12, "batch_size": 4, "max_tokens": 32, "warmup_steps": 0},
        "checkpoint_every": 4,
        "validation": {"share": 0.25, "every": 4},
        "track": ["own_tracker:Lines"],
    }
    (folder / "sft.yaml").write_text(yaml.safe_dump(recipe))
    (folder / "lines.jsonl").unlink()
    (folder / "dies-at").write_text("6")
    forks.run(folder, ["sft", "sft.yaml"], code=-signal.SIGKILL)
    forks.run(folder, ["sft", "sft.yaml"], "--resume")
    lines = [json.loads(line) for line in (folder / "lines.jsonl").read_text().splitlines()]
    starts = [line for line in lines if line[0] == "start"]
    assert [it[:4] for it in starts] == [["start", "tuned", None, 0], ["start", "tuned", "id-1", 4]]
    logged = [(step, metrics) for step, metrics in (it[1:] for it in lines if it[0] == "log")]
    losses = [step for step, metrics in logged if "train/loss" in metrics]
    # The process died between the step and the note that it was logged.
    assert losses == [1, 2, 3, 4, 5, 6, 6, *range(7, 13)]
    assert [step for step, metrics in logged if "eval/loss" in metrics] == [4, 8, 12]
    assert lines[-1] == ["finish", "finished"]
