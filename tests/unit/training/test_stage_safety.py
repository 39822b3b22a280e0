"""A supervised stage outlives damaged checkpoints and updates that are not finite."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from toy import build_tokenizer, save_model

from longform.records.errors import BadInputError, CheckpointWarning, LongformWarning, StoppedError
from longform.rl.settings import MemorySettings
from longform.training.supervised.encoding import encode_rows
from longform.training.supervised.resumable import (
    check_start,
    finished_updates,
    is_begun,
    model_files,
    newest_checkpoint,
    resumable,
)
from longform.training.supervised.settings import SupervisedRecipe
from longform.training.supervised.sft import fine_tune
from longform.training.supervised.sft_recipe import SftSettings
from longform.training.supervised.stage import StageRun
from longform.writers.loading import load_model

TOKENIZER = build_tokenizer()
ROWS = [{"prompt": "write", "completion": f"so {word} and good"} for word in ("good", "very", "bad", "then")]
SETTINGS = SftSettings(steps=4, batch_size=2, lr=1e-2, warmup_steps=0)


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("start"))


def _train(model, checkpoints, tokenizer=TOKENIZER):
    model = load_model(str(model), device="cpu")[1] if isinstance(model, Path) else model
    encoded = encode_rows(TOKENIZER, ROWS, max_tokens=99)
    run = StageRun(MemorySettings(), checkpoints, checkpoint_every=1)
    return fine_tune(model, tokenizer, encoded, SETTINGS, run)


@pytest.fixture(scope="module")
def whole(start, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return folder, _train(start, folder).model.state_dict()


def _cut_in_half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (lambda it: _cut_in_half(it / "model.safetensors"), "model.safetensors has changed since it was written"),
        (lambda it: (it / "optimizer.pt").unlink(), "optimizer.pt is missing"),
        (lambda it: _cut_in_half(it / "whole"), "whole cannot be read"),
        (lambda it: _cut_in_half(it / "trainer_state.json"), "trainer_state.json has changed since it was written"),
    ],
)
def test_a_stage_goes_on_from_the_checkpoint_before_a_damaged_one(start, whole, tmp_path, damage, what):
    folder, weights = whole
    folder = shutil.copytree(folder, tmp_path / "run")
    damage(folder / "checkpoint-4")
    assert finished_updates(folder) == 3
    with pytest.warns(CheckpointWarning, match=rf"checkpoint-4: this .* \({what}\); moved to damaged-checkpoint-4$"):
        resumed = _train(start, folder).model.state_dict()
    assert all(weights[name].equal(resumed[name]) for name in weights)


def test_without_another_checkpoint_it_starts_over_and_says_so(whole, tmp_path):
    folder = shutil.copytree(whole[0], tmp_path / "run")
    shutil.rmtree(folder / "checkpoint-3")
    (folder / "checkpoint-4" / "optimizer.pt").unlink()
    with pytest.warns(CheckpointWarning, match="no other checkpoint is left, so the training starts over"):
        assert newest_checkpoint(folder) is None


def test_a_damaged_record_of_the_settings_is_one_line(tmp_path):
    recipe = SupervisedRecipe(out=tmp_path / "out")
    recipe.checkpoints.mkdir()
    (recipe.checkpoints / "begun.json").write_text('{"recipe": {"ou')
    assert is_begun(recipe)
    with pytest.raises(BadInputError, match=r"begun.json: damaged; remove .* to start again"):
        resumable(recipe, [], name="fine-tuning").__enter__()


@pytest.mark.parametrize("bad", [{2}, {1, 2, 3, 4}], ids=["one", "all"])
def test_an_update_that_is_not_finite_is_skipped_and_several_in_a_row_stop_the_stage(start, tmp_path, bad):
    model: Any = load_model(str(start), device="cpu")[1]
    forwards = [0]
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    def spoil(module, inputs, output):
        forwards[0] += 1
        return output * (float("nan") if forwards[0] in bad else 1.0)

    model.get_decoder().norm.register_forward_hook(spoil)
    with pytest.warns(LongformWarning, match=r"update \d: loss or gradient is not finite; the update is skipped"):
        if len(bad) > 1:
            with pytest.raises(StoppedError, match="update 3: loss or gradient was not finite in 3 updates in a row"):
                _train(model, tmp_path)
        else:
            assert _train(model, tmp_path).report.skipped == 1
    after = model.state_dict()
    assert all(it.isfinite().all() for it in after.values())
    assert all(before[name].equal(after[name]) for name in before) == (len(bad) > 1)


def test_a_tokenizer_without_padding_and_end_tokens_is_enough(start, tmp_path):
    tokenizer = build_tokenizer()
    tokenizer.pad_token = tokenizer.eos_token = None
    bare, usual = _train(start, tmp_path / "bare", tokenizer), _train(start, tmp_path / "usual")
    assert tokenizer.pad_token is None
    assert all(map(torch.equal, bare.model.state_dict().values(), usual.model.state_dict().values()))


def test_bad_input_before_the_first_checkpoint_leaves_nothing_to_resume(tmp_path):
    recipe = SupervisedRecipe(out=tmp_path / "out")
    for has_checkpoint in (False, True):
        with pytest.raises(BadInputError), resumable(recipe, [], name="fine-tuning") as folder:
            if has_checkpoint:
                (folder / "checkpoint-1").mkdir()
            raise BadInputError("m: cannot be loaded as a model")
        assert is_begun(recipe) == has_checkpoint


def test_a_stage_is_begun_by_one_process_and_says_when_it_starts_over(tmp_path):
    recipe = SupervisedRecipe(out=tmp_path / "out")
    with pytest.raises(BadInputError, match=r"out\.checkpoints: no fine-tuning to resume"):
        check_start(recipe, name="fine-tuning", resume=True)
    with pytest.raises(KeyboardInterrupt), resumable(recipe, [], name="fine-tuning"):
        with (
            pytest.raises(BadInputError, match=r"out\.checkpoints: in use by another fine-tuning process"),
            resumable(recipe, [], name="fine-tuning"),
        ):
            pass
        raise KeyboardInterrupt
    with pytest.raises(BadInputError, match="contains an interrupted fine-tuning; continue with --resume, or remove"):
        check_start(recipe, name="fine-tuning", resume=False)
    with pytest.warns(CheckpointWarning, match="the fine-tuning stopped before its first checkpoint and starts over"):
        check_start(recipe, name="fine-tuning", resume=True)


def test_files_below_adapters_belong_to_a_stage(start, tmp_path):
    (tmp_path / "adapters").mkdir()
    (tmp_path / "adapters" / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(start)}))
    assert {start / "model.safetensors", tmp_path / "adapters" / "adapter_config.json"} <= set(
        model_files(str(tmp_path / "adapters"))
    )
