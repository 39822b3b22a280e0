"""A folder in which every command of the pipeline works, and the commands as processes of their own."""

import json
import os
import select
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from artifacts import save_policy
from longform.miniature.policy import build_model, build_tokenizer
from longform.miniature.world import prompts
from longform.records.files import write_rows

PRICES = {"prompt": 3.0, "completion": 15.0}
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}

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


_FORKS = """
import json, os, sys, traceback
import aiohttp, pyarrow, numpy, transformers
import longform.training.run, longform.writers.local
from longform.cli import main

def work(order):
    os.chdir(order["folder"])
    os.environ.update(order["environment"])
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for stream, path in enumerate(order["pipes"], 1):
        os.dup2(os.open(path, os.O_WRONLY), stream)
    try:
        exec(order["first"], {})
        main(order["command"])
        return 0
    except SystemExit as end:
        return end.code or 0
    except BaseException:
        traceback.print_exc()
        return 1

for line in sys.stdin:
    pid = os.fork()
    if not pid:
        code = work(json.loads(line))
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(code)
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


class Forks:
    """Runs commands one after the other, each in a fork of a process that has imported everything: real processes that
    begin at once. Use as a context manager.

    Args:
        folder: for the pipes that they print to; a file would share the limits that a test sets on files.
    """

    def __init__(self, folder: Path) -> None:
        self._paths = [folder / "printed", folder / "errors"]
        for path in self._paths:
            os.mkfifo(path)
        self._pipes = [os.open(path, os.O_RDONLY | os.O_NONBLOCK) for path in self._paths]
        self._parent = subprocess.Popen(
            [sys.executable, "-c", _FORKS], env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> "Forks":
        return self

    def __exit__(self, *_: object) -> None:
        self._parent.communicate(timeout=60)
        for pipe in self._pipes:
            os.close(pipe)

    def start(self, folder: Path, command: Sequence[str], *flags: str, first: str = "", **environment: str) -> int:
        """Begin a command in `folder`, after the Python code `first`; its process id."""
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        order = {
            "folder": str(folder),
            "command": [*command, *flags],
            "first": first,
            "environment": environment,
            "pipes": [str(path) for path in self._paths],
        }
        print(json.dumps(order), file=self._parent.stdin, flush=True)
        return int(self._parent.stdout.readline())

    def has_ended(self) -> bool:
        """Whether the command that was begun last has ended by itself or otherwise."""
        assert self._parent.stdout is not None
        return bool(select.select([self._parent.stdout], [], [], 0)[0])

    def wait(self) -> "subprocess.CompletedProcess[str]":
        """The end of the command that was begun last; what it printed. An exit code below 0 is the signal that killed it."""
        assert self._parent.stdout is not None
        code = int(self._parent.stdout.readline())
        printed, errors = (os.read(pipe, 1 << 20).decode() for pipe in self._pipes)
        assert "Traceback" not in errors, errors
        return subprocess.CompletedProcess([], code, printed, errors)

    def run(
        self, folder: Path, command: Sequence[str], *flags: str, code: int = 0, first: str = "", **environment: str
    ) -> "subprocess.CompletedProcess[str]":
        """A command in `folder`, to its end, which must be `code`."""
        self.start(folder, command, *flags, first=first, **environment)
        done = self.wait()
        assert done.returncode == code, done.stderr
        return done
