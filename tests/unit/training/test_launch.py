"""Fine-tuning that a study starts in several processes: the command, what it stops with, and what it is resumed with."""

import sys
from pathlib import Path

import pytest

from longform.recipe.loading import load_recipe
from longform.records.errors import BadInputError, StoppedError
from longform.training.supervised import launch
from longform.training.supervised.launch import launch_sft
from longform.training.supervised.sft_recipe import SftRecipe

RECIPE = """policy: model
data: {rows: [rows.jsonl]}
out: out
settings: {steps: 2, batch_size: 2, max_tokens: 64, lr: 1e-3}
"""
PYTHON = f"""#!/bin/sh
if [ "$1" = -P ]; then exec {sys.executable} "$@"; fi
echo "$@" >> commands
if [ -e error ]; then cat error; exit 3; fi
echo 'longform: a warning'
"""
"""In place of Python it writes down the launcher's command; the process that guards it is real."""


@pytest.fixture(autouse=True)
def _python(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("python").write_text(PYTHON)
    Path("python").chmod(0o755)
    monkeypatch.setattr(launch.sys, "executable", str(tmp_path / "python"))


def recipe(*overrides):
    Path("recipe.yaml").write_text(RECIPE)
    return load_recipe(Path("recipe.yaml"), SftRecipe, list(overrides))


def test_processes_are_started_with_the_recipe_and_go_on_from_a_checkpoint(tmp_path):
    made = recipe("devices.count=2")
    launch_sft(made, tmp_path / "task")
    written = tmp_path / "task" / "sft.yaml"
    assert load_recipe(written, SftRecipe, []) == made
    assert Path("commands").read_text() == (
        f"-m torch.distributed.run --standalone --nproc_per_node 2 -m longform sft {written}\n"
    )
    made.checkpoints.mkdir()
    (made.checkpoints / "begun.json").touch()
    Path("error").write_text("Traceback\nlonghand\nlongform: --resume: the disk is full\nall processes ended\n")
    with pytest.raises(StoppedError, match=r"task/sft\.log: fine-tuning stopped: --resume: the disk is full$"):
        launch_sft(recipe("devices.count=2", "devices.sharded=true"), tmp_path / "task")
    last = Path("commands").read_text().splitlines()[-1]
    assert last.startswith("-m accelerate.commands.launch --config_file ") and "--num_processes 2 " in last
    assert last.endswith(f"-m longform sft {written} --resume")
    Path("error").write_text("")
    with pytest.raises(StoppedError, match=r"fine-tuning stopped: no output$"):
        launch_sft(made, tmp_path / "task")


def test_devices_that_this_machine_has_not_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(
        BadInputError, match=r"devices: 4 GPUs \(2 per sequence\) cannot be used from here: this machine"
    ):
        launch_sft(recipe("devices.count=4", "devices.per_sequence=2"), tmp_path / "task")
    assert not (tmp_path / "task").exists() and not Path("commands").exists()
