"""A pretraining that was killed, wherever that was, ends with the very weights of one that was not."""

import json
import signal
from pathlib import Path

import pytest
import yaml

from artifacts import save_policy
from forks import Forks
from longform.miniature.base import build_base_tokenizer
from longform.miniature.corpus import documents
from longform.miniature.policy import build_model

pytestmark = pytest.mark.slow

RECIPE = {
    "policy": "base",
    "sources": [
        {"name": "books", "path": "books.jsonl", "share": 0.7},
        {"name": "papers", "path": "papers.jsonl", "share": 0.3},  # passed over twice
    ],
    "tokens": 12_345,
    "checkpoint_every": 3,
    "out": "out",
    "memory": {"max_tokens_per_microbatch": 256},
    "settings": {"max_tokens": 64, "batch_size": 8, "lr": 4e-3, "warmup_steps": 4, "seed": 3},
}
"""24 updates."""
KILL = "os.kill(os.getpid(), signal.SIGKILL)"
IN_UPDATE = """
import os, signal, torch
step, done = torch.optim.{optimizer}.step, []
def killed(self, *args, **kwargs):
    done.append(1)
    if len(done) == {number}:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, *args, **kwargs)
torch.optim.{optimizer}.step = killed
"""
IN_CHECKPOINT = """
import os, signal, torch
save, done = torch.save, []
def killed(what, path, *args, **kwargs):
    done.append(1)
    if len(done) == {number}:
        open(path, "wb").write(b"half of it")
        os.kill(os.getpid(), signal.SIGKILL)
    return save(what, path, *args, **kwargs)
torch.save = killed
"""
AT = """
import os, signal, {module}
{module}.{name} = lambda *args, **kwargs: os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    folder = tmp_path_factory.mktemp("start")
    tokenizer = build_base_tokenizer()
    save_policy(build_model(tokenizer, seed=0), tokenizer, folder / "base")
    for name, seed, number in (("books", 1, 150), ("papers", 2, 20)):
        rows = [json.dumps({"text": text}) + "\n" for text in documents(seed=seed, count=number)]
        (folder / f"{name}.jsonl").write_text("".join(rows))
    return folder


def build_side(start: Path, folder: Path, **settings: object) -> Path:
    folder.mkdir()
    for path in start.iterdir():
        (folder / path.name).symlink_to(path)
    (folder / "r.yaml").write_text(yaml.safe_dump(RECIPE | {"settings": RECIPE["settings"] | settings}))
    return folder


def kill(forks: Forks, folder: Path, first: str, *flags: str) -> None:
    forks.start(folder, ["pretrain", "r.yaml"], *flags, first=first)
    assert forks.wait().returncode == -signal.SIGKILL, "it ended before it was killed"
    assert not (folder / "out").exists()


@pytest.mark.parametrize("optimizer", ["adamw", pytest.param("muon", marks=pytest.mark.full)])
def test_kills_leave_no_trace_in_the_weights(forks, start, tmp_path, optimizer):
    whole, killed = (build_side(start, tmp_path / name, optimizer=optimizer) for name in ("whole", "killed"))
    forks.run(whole, ["pretrain", "r.yaml"])

    checkpoints, stepped = killed / "out.checkpoints", {"adamw": "AdamW", "muon": "Muon"}[optimizer]
    kill(forks, killed, AT.format(module="longform.training.supervised.mixture", name="pa.record_batch"))
    assert not (checkpoints / "packed").exists()
    kill(forks, killed, IN_UPDATE.format(optimizer=stepped, number=2), "--resume")  # before the first checkpoint
    kill(forks, killed, IN_UPDATE.format(optimizer=stepped, number=8), "--resume")  # two updates after the second
    assert {path.name for path in checkpoints.glob("checkpoint-*")} == {"checkpoint-3", "checkpoint-6"}
    kill(forks, killed, IN_CHECKPOINT.format(number=6), "--resume")  # while the optimizer is written
    assert {path.parent.name for path in checkpoints.glob("*/whole")} == {"checkpoint-6", "checkpoint-9"}
    assert (checkpoints / "checkpoint-12" / "optimizer.pt").read_bytes() == b"half of it"
    kill(
        forks, killed, AT.format(module="longform.training.supervised.pretrain_run", name="shutil.copy"), "--resume"
    )  # at the end
    forks.run(killed, ["pretrain", "r.yaml"], "--resume")

    assert not checkpoints.exists()
    files = {path.name for path in (whole / "out").iterdir()}
    assert {"model.safetensors", "mixture.json", "pretrain.yaml"} <= files
    assert files == {path.name for path in (killed / "out").iterdir()}
    for name in files:
        assert (whole / "out" / name).read_bytes() == (killed / "out" / name).read_bytes(), name


def test_what_was_begun_is_gone_on_with_as_it_was_or_not_at_all(forks, start, tmp_path):
    folder = build_side(start, tmp_path / "folder")
    command = ["pretrain", "r.yaml"]
    assert "no pretraining to resume" in forks.run(folder, command, "--resume", code=2).stderr
    kill(forks, folder, IN_UPDATE.format(optimizer="AdamW", number=5))

    refused = forks.run(folder, command, code=2).stderr
    assert (
        "out.checkpoints: contains an interrupted pretraining; continue with --resume, or remove the folder" in refused
    )
    changed = forks.run(folder, command, "--resume", "--set", "settings.lr=1e-3", code=2).stderr
    assert changed.startswith("longform: --resume: ")
    assert "was begun with settings.lr 0.004, not 0.001" in changed

    text = (folder / "papers.jsonl").read_text()
    (folder / "papers.jsonl").unlink()
    (folder / "papers.jsonl").write_text(text + '{"text": "One more."}\n')
    assert "papers.jsonl: has changed since" in forks.run(folder, command, "--resume", code=2).stderr
    (folder / "papers.jsonl").write_text(text)
    forks.run(
        folder, command, "--resume", "--set", "memory.max_tokens_per_microbatch=128", "--set", "checkpoint_every=5"
    )
    assert (folder / "out" / "model.safetensors").exists()
    assert "out: out exists" in forks.run(folder, command, code=2).stderr
