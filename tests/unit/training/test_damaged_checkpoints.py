"""A damaged checkpoint is named, and the one before it is used."""

from shutil import copytree

import pytest
import torch
from toy import policy_weights, save_model, train_toy

from longform.records.errors import BadInputError, CheckpointWarning

PPO = {"run": {"name": "toy", "steps": 6, "seed": 3, "checkpoint_every": 2, "keep_checkpoints": 2}}


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("model"))


def _train(start, folder, **options):
    sections = {"run": {**PPO["run"], "folder": str(folder)}}
    return train_toy(start, folder, sections, steps=6, **options)


def _cut_in_half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


DAMAGE = {
    "truncated weights": lambda folder: _cut_in_half(folder / "policy" / "model.safetensors"),
    "no critic": lambda folder: (folder / "critic" / "model.safetensors").unlink(),
    "truncated optimizers": lambda folder: _cut_in_half(folder / "optimizers.pt"),
    "truncated curriculum": lambda folder: _cut_in_half(folder / "curriculum.npz"),
    "empty optimizers": lambda folder: (folder / "optimizers.pt").write_bytes(b""),
}


@pytest.fixture(scope="module")
def whole(start, tmp_path_factory):
    """The weights of a run that was never interrupted."""
    return policy_weights(_train(start, tmp_path_factory.mktemp("whole"))[0])


@pytest.fixture(scope="module")
def cut(start, tmp_path_factory):
    """The folder of a run that stopped after its fifth step."""
    folder = tmp_path_factory.mktemp("cut")
    _train(start, folder, stop_after=5)
    return folder


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_run_goes_on_from_the_checkpoint_before_a_damaged_one(start, whole, cut, tmp_path, damage):
    copytree(cut, tmp_path / "cut")
    checkpoints = tmp_path / "cut" / "toy" / "checkpoints"
    damage(checkpoints / "step-000004")
    with pytest.warns(
        CheckpointWarning, match=r"step-000004: this checkpoint is damaged: .*; moved to damaged-step-000004"
    ):
        resumed, _ = _train(start, tmp_path / "cut")
    assert torch.equal(policy_weights(resumed), whole)
    assert sorted(path.name for path in checkpoints.iterdir()) == ["damaged-step-000004", "step-000004", "step-000006"]


def test_where_all_are_damaged_the_run_ends_in_one_line(start, tmp_path):
    _train(start, tmp_path / "cut", stop_after=3)
    _cut_in_half(tmp_path / "cut" / "toy" / "checkpoints" / "step-000002" / "optimizers.pt")
    with pytest.warns(CheckpointWarning), pytest.raises(BadInputError, match="no other checkpoint is left") as caught:
        _train(start, tmp_path / "cut")
    assert "\n" not in str(caught.value)


def test_a_run_without_a_checkpoint_starts_over_and_says_so(start, tmp_path):
    _train(start, tmp_path / "cut", stop_after=1)
    with pytest.warns(CheckpointWarning, match=r"toy: stopped before its first checkpoint; 1 step will be repeated"):
        _train(start, tmp_path / "cut", stop_after=1)
