"""A study with a trained arm in the miniature world, whole: every kind of step once, and what it spends."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from longform.cli import main

WORLD = "$world"
PROMPTS, HELD_OUT = f"{WORLD}/prompts.jsonl", f"{WORLD}/held-out.jsonl"
STUDY: dict[str, Any] = {
    "study": "small",
    "base": "miniature/ppo",
    "seeds": [1],
    "world": {"train_prompts": 4, "validation_prompts": 1, "held_out_prompts": 2, "lesson_steps": 1},
    "models": f"{WORLD}/models.yaml",
    "prepare": {
        "start": {
            "sft": "miniature/start",
            "set": {"policy": f"{WORLD}/untrained", "data.rows": [f"{WORLD}/lessons.jsonl"], "settings.steps": 1},
        },
        "candidates": {"generate": PROMPTS, "writers": ["$start", "novice", "master"], "max_tokens": 20},
        "grades": {"grade": "$candidates", "prompts": PROMPTS, "judge": "judge"},
        "ladders": {
            "select": "$candidates", "grades": "$grades", "prompts": PROMPTS, "policy": "start", "top_k": 2,
        },
    },
    "train": {
        "policy": "$start", "policy_name": "start", "data.ladders": "$ladders", "validation": None, "run.steps": 1,
        "data.per_step": 2, "optim.mini_batch": 2, "generation.max_tokens": 20,
    },
    "arms": {"dynamic": {}},
    "examine": [{"name": "grade", "at": [0, "last"], "grade": True, "prompts": HELD_OUT, "judge": "examiner"}],
    "curves": [{"y": "grade"}],
}  # fmt: skip


def study(command, *flags):
    with pytest.raises(SystemExit) as ended:
        main(["study", command, "study.yaml", *flags])
    return ended.value.code or 0


def test_a_study_in_a_world_stops_at_a_runs_budget_and_goes_on_with_the_same_server_to_its_tables(capsys):
    small = {**STUDY["train"], "run.budget": 1e-9}
    Path("study.yaml").write_text(yaml.safe_dump({**STUDY, "train": small}, sort_keys=False))
    assert study("run") == 3
    said = capsys.readouterr().err
    assert "7/12  ladders, seed 1: selection\n" in said
    assert "longform: dynamic, seed 1: training: run.budget: " in said.splitlines()[-1]
    address = Path("runs/small/world-address").read_text()
    assert f"base_url: {address}" in next(Path("runs/small/world").glob("*/models.yaml")).read_text()

    Path("study.yaml").write_text(yaml.safe_dump(STUDY, sort_keys=False))
    assert study("run", "--json") == 0
    said = capsys.readouterr()
    assert "8/12  dynamic, seed 1: training\n" in said.err and "7/12" not in said.err
    assert json.loads(said.out)["tasks"] == 12
    assert Path("runs/small/world-address").read_text() == address
    assert study("table", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["facts"]["measured"] == "2 of 2"
    assert [it["step"] for it in found["curves"][0]["arms"]["dynamic"]] == [0, 1]
    assert study("plot", "--page", "page.html") == 0
    assert "curves" in capsys.readouterr().out and "<svg" in Path("page.html").read_text()


def test_a_key_of_the_world_that_there_is_not_is_one_line(capsys):
    Path("study.yaml").write_text(yaml.safe_dump({**STUDY, "world": {"train_prompt": 4}}, sort_keys=False))
    assert study("run", "--dry-run") == 2
    assert "study.yaml: world.train_prompt: unknown key; did you mean 'train_prompts'?" in capsys.readouterr().err
    assert not Path("runs").exists()
