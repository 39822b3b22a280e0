"""A study in the miniature world, by the command: killed and resumed to the same tables, and drawn again without a call."""

import json
import signal

import pytest
import yaml

from longform.records.calls import SqliteCallLog

pytestmark = pytest.mark.slow
WORLD = "$world"
STUDY = {
    "study": "killed",
    "base": "miniature/ppo",
    "seeds": [1],
    "world": {"train_prompts": 8, "validation_prompts": 2, "held_out_prompts": 4, "lesson_steps": 2},
    "models": f"{WORLD}/models.yaml",
    "prepare": {
        "start": {
            "sft": "miniature/start",
            "set": {"policy": f"{WORLD}/untrained", "data.rows": [f"{WORLD}/lessons.jsonl"], "settings.steps": 2},
        },
        "candidates": {
            "generate": f"{WORLD}/prompts.jsonl",
            "writers": ["$start", "novice", "master"],
            "max_tokens": 40,
        },
        "grades": {"grade": "$candidates", "prompts": f"{WORLD}/prompts.jsonl", "judge": "judge"},
        "ladders": {
            "select": "$candidates",
            "grades": "$grades",
            "prompts": f"{WORLD}/prompts.jsonl",
            "policy": "start",
            "top_k": 4,
        },
    },
    "train": {
        "policy": "$start",
        "policy_name": "start",
        "data.ladders": "$ladders",
        "validation": None,
        "run.steps": 2,
        "run.checkpoint_every": 1,
        "data.per_step": 4,
        "optim.mini_batch": 4,
        "generation.max_tokens": 40,
    },
    "arms": {
        "dynamic": {},
        "continued": {
            "sft": "miniature/start",
            "set": {"policy": "$start", "data.rows": [f"{WORLD}/lessons-more.jsonl"], "settings.steps": 2},
        },
    },
    "examine": [
        {"name": "grade", "at": [0, "last"], "grade": True, "prompts": f"{WORLD}/held-out.jsonl", "judge": "examiner"},
        {"name": "Elo", "elo": {"novice": 1000.0}, "prompts": f"{WORLD}/held-out.jsonl", "judge": "examiner"},
    ],
    "tables": [{"paired_with": "continued"}],
}
KILL_IN_STEP_2 = """
import os, signal
import longform.training.run as training
real = training.train_ppo
def train_ppo(recipe, state, generator, recorder):
    record = recorder._checkpoint
    def killed(step):
        record(step)
        if step == 1:
            os.kill(os.getpid(), signal.SIGKILL)
    recorder._checkpoint = killed
    return real(recipe, state, generator, recorder)
training.train_ppo = train_ppo
"""


def test_a_killed_study_resumes_to_the_same_tables_and_a_table_asks_nothing(forks, tmp_path):
    tables = {}
    for name in ("whole", "killed"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "study.yaml").write_text(yaml.safe_dump(STUDY, sort_keys=False))
        if name == "killed":
            forks.start(folder, ["study", "run", "study.yaml"], first=KILL_IN_STEP_2)
            assert forks.wait().returncode == -signal.SIGKILL, "it ended before it was killed"
            status = json.loads(forks.run(folder, ["study", "status", "study.yaml"], "--json").stdout)
            assert 0 < status["done"] < status["tasks"]
        forks.run(folder, ["study", "run", "study.yaml"])
        tables[name] = forks.run(folder, ["study", "table", "study.yaml"], "--json").stdout
    assert json.loads(tables["whole"]) == json.loads(tables["killed"])
    assert "nan" not in tables["whole"].lower()
    logs = sorted((tmp_path / "killed").glob("**/*.calls.sqlite"))
    assert logs
    before = [_calls(path) for path in logs]
    forks.run(tmp_path / "killed", ["study", "table", "study.yaml"])
    forks.run(tmp_path / "killed", ["study", "plot", "study.yaml"])
    forks.run(tmp_path / "killed", ["study", "run", "study.yaml"])
    assert [_calls(path) for path in logs] == before


def _calls(path):
    with SqliteCallLog(path) as log:
        return log.totals()
