"""Two processes make the same updates as one, read each row once an epoch, and end together."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml

from artifacts import save_policy
from forks import ENVIRONMENT, WITHOUT_SKLEARN
from longform.miniature.base import build_base_tokenizer
from longform.miniature.corpus import documents
from longform.miniature.policy import build_model, build_tokenizer, sft_rows

STAGES = """
import json, os, sys
from pathlib import Path
from longform.cli import main
from longform.recipe.loading import load_recipe
from longform.training.supervised import stage
from longform.training.supervised.pretrain_recipe import PretrainRecipe
from longform.training.supervised.pretrain_run import run_pretraining
from longform.training.supervised.reward_model_recipe import RewardModelRecipe, run_reward_model

out, rank = sys.argv[1], os.environ.get("RANK", "0")
read = []
step = stage.MicroBatches.training_step

def noted(self, model, inputs, *more):
    ids = inputs["input_ids"]
    if "labels" in inputs:
        read.extend(row[row != 0].tolist() for row, size in zip(ids, self.row_tokens(inputs)) if size)
    return step(self, model, inputs, *more)

stage.MicroBatches.training_step = noted

report, found = stage._report, []

def noted_report(state):
    made = report(state)
    found.append([made.first_loss, made.final_loss, *(it.loss for it in made.validations)])
    return made

stage._report = noted_report
try:
    main(["sft", "sft.yaml", "--set", f"out={out}-sft"])
except SystemExit as ended:
    assert not ended.code
rows = list(read)
run_reward_model(load_recipe("rm.yaml", RewardModelRecipe, [f"out={out}-rm"]))
run_pretraining(load_recipe("pretrain.yaml", PretrainRecipe, [f"out={out}-pt"]))
Path(f"{out}-{rank}.json").write_text(json.dumps({"losses": found, "rows": rows}))
"""
FAILING = """
import os, time
from longform.training.supervised import sft_run
from longform.cli import main
if os.environ["RANK"] == "1":
    def fail(*_, **__):
        raise RuntimeError("a GPU fell off the bus")
    sft_run.fine_tune = fail
main(["sft", "sft.yaml", "--set", "out=failed"])
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stages")
    tokenizer, base_tokenizer = build_tokenizer(), build_base_tokenizer()
    save_policy(build_model(tokenizer, seed=3), tokenizer, folder / "start")
    save_policy(build_model(base_tokenizer, seed=3), base_tokenizer, folder / "base")
    rows = sft_rows(seed=1, count=21)
    _write(folder / "rows.jsonl", ({"messages": row["prompt"] + row["completion"]} for row in rows))
    _write(
        folder / "pairs.jsonl",
        (
            {"prompt": f"Write {n}.", "chosen": "The fox. " * (n % 3 + 1), "rejected": "The key. " * (n % 4 + 1)}
            for n in range(30)
        ),
    )
    _write(folder / "books.jsonl", ({"text": text} for text in documents(seed=1, count=40)))
    settings = {"batch_size": 4, "lr": 1e-3, "warmup_steps": 2}
    memory = {"max_tokens_per_microbatch": 200}
    recipes = {
        "sft.yaml": {
            "policy": "start",
            "data": {"rows": ["rows.jsonl"]},
            "out": "out",
            "settings": settings | {"epochs": 1, "max_tokens": 150},
            "memory": memory,
            "validation": {"file": "rows.jsonl", "every": 3},
        },
        "rm.yaml": {
            "base": "start",
            "preferences": ["pairs.jsonl"],
            "held_out": 0.2,
            "out": "out",
            "settings": settings | {"epochs": 1, "max_tokens": 60, "center": 0.1, "evaluate_every": 50},
            "memory": memory | {"max_tokens_per_microbatch": 100},
        },
        "pretrain.yaml": {
            "policy": "base",
            "sources": [{"name": "books", "path": "books.jsonl", "share": 1.0}],
            "tokens": 4 * 64 * 5,
            "out": "out",
            "settings": settings | {"max_tokens": 64},
            "memory": memory | {"max_tokens_per_microbatch": 64},
        },
    }
    for name, recipe in recipes.items():
        (folder / name).write_text(yaml.safe_dump(recipe))
    (folder / "stages.py").write_text(f"{WITHOUT_SKLEARN}\n{STAGES}")
    (folder / "failing.py").write_text(FAILING)
    return folder


def _write(path: Path, rows) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _start_two(folder: Path, *command: str) -> "subprocess.CompletedProcess[str]":
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]
    return subprocess.run(
        [*launcher, *command], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=120
    )


def test_two_processes_make_the_updates_of_one(folder, forks):
    alone, both = forks.run_script(folder / "stages.py", folder, "one"), _start_two(folder, "stages.py", "two")
    assert both.returncode == 0, both.stderr[-3000:]
    for done in (alone, both):
        assert done.stdout.count("writer  ") == 1, "one process prints"
        assert done.stderr.count("fine-tuning start 6/6") == 1
    one, *two = (json.loads((folder / name).read_text()) for name in ("one-0.json", "two-0.json", "two-1.json"))
    for number, losses in enumerate(one["losses"]):
        assert all(loss == loss for loss in losses)
        for other in two:
            assert other["losses"][number] == pytest.approx(losses, abs=1e-5), number
    read = [Counter(tuple(row) for it in both for row in it["rows"]) for both in ([one], two)]
    assert read[0] == read[1]
    assert set(read[0].values()) == {1}
    assert read[0].total() == 21
    assert len(two[0]["rows"]) > 8 and len(two[1]["rows"]) > 8
    for stage in ("sft", "rm", "pt"):
        assert (folder / f"two-{stage}" / "model.safetensors").exists()
        assert not (folder / f"two-{stage}.checkpoints").exists()


@pytest.mark.full
def test_an_error_in_one_process_ends_all(folder):
    done = _start_two(folder, "failing.py")
    assert done.returncode != 0
    assert "a GPU fell off the bus" in done.stderr
    assert not (folder / "failed").exists()
