"""What keeps a run from harm: updates that are not finite, checkpoints by time, policies that are kept, code in folders."""

import json
import subprocess
import sys
import textwrap
from types import SimpleNamespace

import pytest
import torch
from toy import policy_weights, save_model, train_toy
from transformers import AutoModelForCausalLM

from forks import WITHOUT_SKLEARN
from longform.recipe.recipe import Recipe
from longform.records.errors import BadInputError, StoppedError
from longform.training import checkpoint, update
from longform.training.checkpoint import MAX_STEPS_WITHOUT_UPDATE
from longform.writers.loading import load_model, load_tokenizer
from longform.writers.paths import writer_name

QUIET = {"optim": {"lr": 1e-2, "critic_lr": 1e-2, "warmup_steps": 0, "critic_warmup_steps": 0, "mini_batch": 16}}


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("start"))


def _break_updates(monkeypatch, steps):
    """Make the policy's loss infinite in some steps, counted from 1."""
    seen = iter(range(1, 1000))
    plain = update.response_statistics
    updates_per_step = 2

    def broken(model, batch, *, temperature):
        log_probs, entropies = plain(model, batch, temperature=temperature)
        step = (next(seen) + updates_per_step - 1) // updates_per_step
        return (log_probs * float("inf") if step in steps else log_probs), entropies

    monkeypatch.setattr(update, "response_statistics", broken)


def test_an_update_that_is_not_finite_is_skipped_and_counted_and_the_run_goes_on(start, tmp_path, monkeypatch):
    _break_updates(monkeypatch, {2})
    state, metrics = train_toy(start, tmp_path, QUIET, steps=3)
    assert metrics["policy/skipped"] == {1: 0.0, 2: 1.0, 3: 0.0}
    assert 2 not in metrics["policy/loss"]
    assert torch.isfinite(policy_weights(state)).all()
    assert metrics["critic/skipped"] == {1: 0.0, 2: 0.0, 3: 0.0}


def test_updates_that_stay_not_finite_stop_the_run_and_the_last_good_checkpoint_stays(start, tmp_path, monkeypatch):
    _break_updates(monkeypatch, set(range(3, 100)))
    monkeypatch.setattr(update, "update_critic", lambda *args, **kwargs: {"critic/skipped": 1.0})
    grpo = {
        "method": "grpo",
        "data": {"ladders": "unused.jsonl", "per_step": 8, "group": 4},
        "optim": {"lr": 1e-2, "warmup_steps": 0, "mini_batch": 16},
    }
    with pytest.raises(StoppedError, match=r"step 5: loss or gradient was not finite in every update of 3 steps"):
        train_toy(start, tmp_path, grpo, steps=20)
    assert MAX_STEPS_WITHOUT_UPDATE == 3
    kept = sorted(it.name for it in (tmp_path / "toy" / "checkpoints").iterdir())
    assert kept == ["step-000002", "step-000004"]
    weights = AutoModelForCausalLM.from_pretrained(tmp_path / "toy" / "checkpoints" / kept[-1] / "policy").state_dict()
    assert all(torch.isfinite(it).all() for it in weights.values())


def test_a_checkpoint_is_written_when_the_newest_one_is_old(start, tmp_path, monkeypatch):
    clock = iter(range(0, 100_000, 600))  # ten minutes from one look to the next
    monkeypatch.setattr(checkpoint, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    run = {
        "name": "toy",
        "folder": str(tmp_path),
        "steps": 5,
        "seed": 3,
        "checkpoint_every": 100,
        "keep_checkpoints": 9,
    }
    train_toy(start, tmp_path, QUIET | {"run": run | {"checkpoint_minutes": 15.0}}, steps=5)
    found = {int(it.name[-6:]) for it in (tmp_path / "toy" / "checkpoints").iterdir()}
    assert {2, 5} <= found
    assert 1 not in found


@pytest.mark.parametrize("lora", [None, {"rank": 2}])
def test_policies_are_kept_beyond_their_checkpoints(start, tmp_path, lora):
    run = {"name": "toy", "folder": str(tmp_path), "steps": 6, "seed": 3, "checkpoint_every": 3, "keep_checkpoints": 1}
    train_toy(start, tmp_path, QUIET | {"run": run | {"keep_policies": 2}, "lora": lora}, steps=6)
    assert [it.name for it in (tmp_path / "toy" / "checkpoints").iterdir()] == ["step-000006"]
    kept = sorted((tmp_path / "toy" / "policies").iterdir())
    assert [it.name for it in kept] == ["step-000002", "step-000004", "step-000006"]
    assert [writer_name(str(it)) for it in kept] == ["toy-step-000002", "toy-step-000004", "toy-step-000006"]
    last, newest = (load_model(str(it), device="cpu")[1].state_dict() for it in (
        kept[-1], tmp_path / "toy" / "checkpoints" / "step-000006" / "policy"
    ))  # fmt: skip
    assert all(torch.equal(last[name], newest[name]) for name in last)


def test_checkpoints_of_adapters_are_equal_byte_for_byte_in_every_process(start, tmp_path, monkeypatch):
    """Processes hash strings differently, and so order sets differently: this one by a seed drawn at its start."""
    script = f"""
        import sys
        from pathlib import Path
        from longform.rl.settings import LoraSettings, MemorySettings
        from longform.training.lora import AdaptedModels
        models = AdaptedModels({str(start)!r}, device="cpu", with_reference=False, initial_value=0.5,
                               lora=LoraSettings(rank=2), memory=MemorySettings(), seed=1)
        models.save(Path(sys.argv[1]))
    """
    here, other = tmp_path / "here", tmp_path / "other"
    monkeypatch.setattr(sys, "argv", ["save.py", str(here)])
    exec(textwrap.dedent(script), {})
    environment = {"PYTHONHASHSEED": "1", "PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path)}
    light = f"{WITHOUT_SKLEARN}\n{textwrap.dedent(script)}"
    subprocess.run([sys.executable, "-c", light, str(other)], check=True, env=environment)
    written, again = (
        {it.relative_to(folder): it.read_bytes() for it in folder.rglob("*") if it.is_file()}
        for folder in (here, other)
    )
    assert written == again
    assert len(written) > 2


@pytest.fixture
def hostile(start, tmp_path):
    """A model folder whose configuration, model and tokenizer are Python files of its own that leave a mark."""
    folder = save_model(tmp_path / "hostile")
    mark = tmp_path / "executed"
    (folder / "code.py").write_text(f"open({str(mark)!r}, 'w').close()\nclass Config: pass\nclass Model: pass\n")
    content = json.loads((folder / "config.json").read_text())
    content |= {"model_type": "mine", "auto_map": {"AutoConfig": "code.Config", "AutoModelForCausalLM": "code.Model"}}
    (folder / "config.json").write_text(json.dumps(content))
    content = json.loads((folder / "tokenizer_config.json").read_text())
    content |= {"tokenizer_class": "Mine", "auto_map": {"AutoTokenizer": ["code.Model", None]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(content))
    return folder, mark


def test_code_in_a_model_folder_does_not_run_and_nothing_is_asked_on_standard_input(hostile, monkeypatch):
    folder, mark = hostile
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked on standard input"))
    for load in (lambda: load_model(str(folder), device="cpu"), lambda: load_tokenizer(str(folder))):
        with pytest.raises(
            BadInputError, match=r"needs code .*which is not run by default; .*trust_remote_code: true"
        ) as error:
            load()
        assert "\n" not in str(error.value)
    assert not mark.exists()
    with pytest.raises(BadInputError):
        load_model(str(folder), device="cpu", trust_remote_code=True)  # the class is no model; its module was run
    assert mark.exists()


def test_grpo_updates_once_a_step_after_a_short_warm_up_and_ppo_as_the_paper_does():
    sections = {
        "policy": "p",
        "data": {"prompts": "p.jsonl", "per_step": 8, "group": 8},
        "rewards": [{"kind": "length"}],
        "run": {"name": "r", "steps": 200},
    }
    grpo, ppo = (Recipe.model_validate(sections | {"method": it}) for it in ("grpo", "ppo"))
    assert (grpo.mini_batch, grpo.warmup_steps) == (64, 6)
    assert (ppo.mini_batch, ppo.warmup_steps) == (16, 80)
    assert (grpo.resolved.optim.mini_batch, grpo.resolved.optim.warmup_steps) == (64, 6)
    assert grpo.resolved.resolved == grpo.resolved
