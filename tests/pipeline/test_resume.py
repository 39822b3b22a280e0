"""A real process is killed at random moments and resumed; in the end nothing tells it from one that ran through."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from longform.miniature.policy import build_model, build_tokenizer, save_policy
from longform.miniature.server import serve_in_background
from longform.miniature.world import parse_request, prompts
from longform.miniature.writers import write_story
from longform.records.files import write_rows
from longform.records.run_directory import RunDirectory
from longform.records.schemas import Ladder, Reference

STEPS = 9
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A folder with an untrained policy, ladders of weak texts it can beat by luck, and a recipe."""
    folder = tmp_path_factory.mktemp("world")
    tokenizer = build_tokenizer()
    save_policy(build_model(tokenizer, seed=3), tokenizer, folder / "start")
    write_rows(folder / "ladders.jsonl", [_ladder(row) for row in prompts(seed=5, split="train", count=20)])
    write_rows(folder / "validation.jsonl", prompts(seed=6, split="held-out", count=4))
    with serve_in_background() as url:
        names = ("judge", "examiner")
        models = {name: {"base_url": url, "model": f"miniature-{name}", "concurrency": 4} for name in names}
        (folder / "models.yaml").write_text(yaml.safe_dump(models))
        (folder / "recipe.yaml").write_text(yaml.safe_dump(_recipe(folder)))
        yield folder


def _ladder(prompt):
    texts = ["", "A", "The story", write_story(parse_request(prompt.request), level="novice")]
    references = [Reference(model=f"m{i}", text=text, score=i) for i, text in enumerate(texts)]
    return Ladder(**prompt.model_dump(), references=references, policy_score=0, potential=3)


def _recipe(folder):
    return {
        "policy": str(folder / "start"),
        "models": str(folder / "models.yaml"),
        "data": {"ladders": str(folder / "ladders.jsonl"), "per_step": 8},
        "rewards": [{"kind": "pairwise", "judge": "judge"}],
        "validation": {"prompts": str(folder / "validation.jsonl"), "every": 4, "judge": "examiner"},
        "generation": {"max_tokens": 24},
        "optim": {"lr": 1e-3, "critic_lr": 1e-3, "warmup_steps": 2, "critic_warmup_steps": 2, "mini_batch": 4},
        "run": {"name": "run", "seed": 7, "steps": STEPS, "checkpoint_every": 3},
    }


def _start(world, runs, *flags):
    command = [sys.executable, "-m", "longform", "train", str(world / "recipe.yaml"), "--set", f"run.folder={runs}"]
    return subprocess.Popen(
        [*command, *flags], env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def _steps_on_record(database: Path) -> int:
    try:
        with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
            return connection.execute("SELECT COUNT(*) FROM steps").fetchone()[0]
    except sqlite3.Error:
        return 0


def _kill_at_random(process, database, rng) -> None:
    """Wait until the process has done some step of its own, then a random while, and kill it."""
    before, deadline = _steps_on_record(database), time.monotonic() + 60
    while process.poll() is None and _steps_on_record(database) in (0, before) and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(rng.uniform(0, 0.8))
    process.send_signal(signal.SIGKILL)
    process.communicate()


def _artefacts(run_path):
    checkpoint = run_path / "checkpoints" / f"step-{STEPS:06d}"
    with RunDirectory.read(run_path) as run:
        records = run.database.verdict_export(), run.database.promotions(), run.database.validations(STEPS)
    weights = {name: load_file(checkpoint / name / "model.safetensors") for name in ("policy", "critic")}
    with np.load(checkpoint / "curriculum.npz") as curriculum:
        return records, weights, curriculum["rungs"].tolist()


@pytest.mark.slow
def test_a_run_killed_at_random_moments_ends_as_an_uninterrupted_one(world, tmp_path):
    process = _start(world, tmp_path / "whole")
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors

    rng = random.Random(11)
    database = tmp_path / "killed" / "run" / "run.sqlite"
    kills = 0
    for attempt in range(12):
        process = _start(world, tmp_path / "killed", *(["--resume"] if attempt else []))
        if kills < 4:
            _kill_at_random(process, database, rng)
            kills += process.returncode == -signal.SIGKILL
        else:
            _, errors = process.communicate(timeout=120)
        if process.returncode == 0:
            break
    assert kills >= 3, "too few kills hit a living process for this test to say much"

    whole, killed = _artefacts(tmp_path / "whole" / "run"), _artefacts(tmp_path / "killed" / "run")
    assert killed[0] == whole[0]
    assert killed[2] == whole[2]
    assert any(whole[2]), "nothing was promoted, so equal rungs would say nothing"
    for model, weights in whole[1].items():
        for name, tensor in weights.items():
            assert torch.equal(killed[1][model][name], tensor), f"{model}.{name}"
    start = load_file(world / "start" / "model.safetensors")
    assert any(not torch.equal(start[name], tensor) for name, tensor in whole[1]["policy"].items())
