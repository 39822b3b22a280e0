"""A folder in which every command of the pipeline works, and the commands as processes of their own."""

import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from artifacts import save_policy
from forks import ENVIRONMENT
from longform.miniature.policy import build_model, build_tokenizer
from longform.miniature.world import prompts
from longform.records.files import write_rows

PRICES = {"prompt": 3.0, "completion": 15.0}

SELECT = shlex.split(
    "select --prompts prompts.jsonl --responses start.jsonl novice.jsonl master.jsonl --grades grades.jsonl "
    "--policy start --out ladders.jsonl"
)
GRADE = shlex.split(
    "grade start.jsonl novice.jsonl master.jsonl --prompts prompts.jsonl --judge judge --out grades.jsonl"
)
TRAIN = ["train", "recipe.yaml"]
START = shlex.split("generate prompts.jsonl --writer start --max-tokens 24 --out start.jsonl")
"""The command that has the policy write, before it is trained."""
RECIPE = {
    "policy": "start",
    "models": "models.yaml",
    "data": {"ladders": "ladders.jsonl", "per_step": 16},
    "rewards": [{"kind": "pairwise", "judge": "judge"}],
    "validation": {"prompts": "validation.jsonl", "every": 4, "judge": "examiner"},
    "generation": {"max_tokens": 24},
    "optim": {"lr": 1e-3, "critic_lr": 1e-3, "warmup_steps": 2, "critic_warmup_steps": 2, "mini_batch": 8},
    "run": {"name": "run", "seed": 7, "steps": 8, "checkpoint_every": 3},
}


_CALLS = re.compile(rb'"calls":\["[0-9a-f]{64}"(?:,"[0-9a-f]{64}")*\],')


def without_calls(path: Path) -> bytes:
    """A file without the hashes of the requests behind its rows: they differ with the secret of each log of calls."""
    return _CALLS.sub(b"", path.read_bytes())


def generate(writer: str) -> list[str]:
    """The command that has a competitor write."""
    return shlex.split(f"generate prompts.jsonl --writer {writer} --max-tokens 400 --out {writer}.jsonl")


def build_world(folder: Path, url: str, *, num_prompts: int = 24, **spec: Any) -> None:
    """Prompts, an untrained policy, a recipe, and a models.yaml: all models stand behind `url`; `spec` is for each."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = build_tokenizer()
    save_policy(build_model(tokenizer, seed=3), tokenizer, folder / "start")
    write_rows(folder / "prompts.jsonl", prompts(seed=5, split="train", count=num_prompts))
    write_rows(folder / "validation.jsonl", prompts(seed=6, split="held-out", count=8))
    models = {
        name: {"base_url": url, "model": f"miniature-{name}", "prices": PRICES, "concurrency": 16, **spec}
        for name in ("judge", "examiner", "novice", "master")
    }
    (folder / "models.yaml").write_text(yaml.safe_dump(models))
    (folder / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))


def run(folder: Path, command: Sequence[str], *flags: str, code: int = 0) -> "subprocess.CompletedProcess[str]":
    """A command in `folder`, to its end, which must be `code`."""
    arguments = [sys.executable, "-m", "longform", *command, *flags]
    done = subprocess.run(arguments, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=240)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done
