"""A run with a reward from a file, in a process that dies where it is told to."""

import os
import subprocess
import sys

import yaml

from artifacts import save_policy
from longform.miniature.policy import build_model, build_tokenizer
from longform.miniature.world import prompts
from longform.records.files import write_rows
from longform.records.run_directory import RunDirectory
from longform.records.schemas import Ladder, Reference

STEPS = 6
REWARD = """
import os, signal, sqlite3, time
from pathlib import Path

def vowels(prompt, response, reference, *, step):
    if Path("dies").exists() and step == 5:
        Path("dies").unlink()
        time.sleep(2)  # for libraries that write now and then
        os.kill(os.getpid(), signal.SIGKILL)
    return sum(map(response.count, "aeiou")) / max(len(response), 1)
"""
MODELS = "judge: {base_url: 'http://judge.internal.example/v1', model: a-judge, key_env: JUDGE_KEY}\n"
"""No reward asks it; neither address nor key may reach a tracker."""
KEY = "s3cret-of-the-judge"


def build_run(folder, **run):
    """Ladders, a policy, a reward and a recipe whose run dies in step 5, with its newest checkpoint at step 3."""
    tokenizer = build_tokenizer()
    save_policy(build_model(tokenizer, seed=3), tokenizer, folder / "start")
    references = [Reference(model=f"m{i}", text=text, score=i) for i, text in enumerate(["A", "The story"])]
    rows = [
        Ladder(**row.model_dump(), references=references, policy_score=0, potential=1)
        for row in prompts(seed=5, split="train", count=8)
    ]
    write_rows(folder / "ladders.jsonl", rows)
    (folder / "own.py").write_text(REWARD)
    (folder / "models.yaml").write_text(MODELS)
    (folder / "dies").touch()
    recipe = {
        "policy": "start",
        "models": "models.yaml",
        "data": {"ladders": "ladders.jsonl", "per_step": 4},
        "rewards": [{"kind": "own:vowels"}],
        "generation": {"max_tokens": 12},
        "optim": {"lr": 1e-3, "warmup_steps": 0, "mini_batch": 4},
        "run": {"name": "a-run", "seed": 7, "steps": STEPS, "checkpoint_every": 3, "show_every": 2, **run},
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    return folder


def longform(folder, *command, code=0, environment=None):
    """A command in `folder`, to its end."""
    env = {**os.environ, "JUDGE_KEY": KEY, **(environment or {})}
    done = subprocess.run(
        [sys.executable, "-m", "longform", *command],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=180,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done


def recorded(folder):
    """The metrics of each step in run.sqlite."""
    found: dict[int, dict[str, float]] = {}
    with RunDirectory.read(folder / "runs" / "a-run") as run:
        for name, points in run.database.metrics().items():
            for step, value in points:
                found.setdefault(step, {})[name] = value
    return found


def first_text(folder, step):
    """The first rollout of a step."""
    with RunDirectory.read(folder / "runs" / "a-run") as run:
        return next(iter(run.database.rollouts(step=step)))
