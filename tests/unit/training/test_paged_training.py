"""Training on tokens that the paged engine drew."""

from typing import Any, cast

import pytest
import torch
from toy import save_model, train_toy

from longform.monitors.watch import diagnose
from longform.recipe.recipe import Recipe
from longform.records.run_directory import RunDirectory
from longform.training.engine_match import match_engine
from longform.training.forward import Batch

PAGED = {"generation": {"max_tokens": 8, "engine": "paged"}}


@pytest.mark.parametrize("method", ["grpo", pytest.param("ppo", marks=pytest.mark.full)])
def test_the_policy_learns_from_paged_rollouts_with_honest_log_probs(tmp_path, method) -> None:
    start = save_model(tmp_path / "start")
    data = (
        {"ladders": "unused.jsonl", "per_step": 8, "group": 4}
        if method == "grpo"
        else {"ladders": "unused.jsonl", "per_step": 32}
    )
    optim = {"lr": 0.02, "warmup_steps": 0} | (
        {} if method == "grpo" else {"critic_lr": 0.02, "critic_warmup_steps": 0}
    )
    train_toy(start, tmp_path, {"method": method, "data": data, "optim": optim, **PAGED}, steps=12)
    with RunDirectory.read(tmp_path / "toy") as run:
        rewards = [value for _, value in run.database.metric("reward/mean")]
        assert sum(rewards[-3:]) > sum(rewards[:3]) + 0.3
        assert max(value for _, value in run.database.metric("engine/largest")) < 1e-4
        assert len(run.database.metric("engine/k3")) == 12


def test_a_stopped_run_goes_on(tmp_path) -> None:
    start = save_model(tmp_path / "start")
    sections = {"method": "grpo", "data": {"ladders": "unused.jsonl", "per_step": 4, "group": 4}, **PAGED}
    train_toy(start, tmp_path, sections, steps=4, stop_after=2)
    train_toy(start, tmp_path, sections, steps=4)
    with RunDirectory.read(tmp_path / "toy") as run:
        assert run.database.last_step() == 4


class _Trainer:
    """Finds every token by 0.1 nats likelier than the engine did, but for one that it finds far likelier."""

    def policy_log_probs(self, batch, *, temperature, max_tokens):
        apart = torch.full_like(batch.log_probs, 0.1)
        apart[0, 0] = 3.0
        return batch.log_probs + apart


def test_stale_weights_are_measured_in_the_first_step_and_corrected_up_to_the_cap(tmp_path) -> None:
    recipe = Recipe.model_validate(
        {
            "policy": "p",
            "data": {"prompts": "x.jsonl", "group": 4},
            "rewards": [{"kind": "length"}],
            "method": "grpo",
            "run": {"name": "r", "steps": 1},
            "generation": {"engine": "paged"},
        }
    )
    ones = torch.ones(2, 3)
    batch = Batch(torch.zeros(2, 4).long(), torch.ones(2).long(), ones, -ones, torch.zeros(2))
    matched = match_engine(batch, cast("Any", _Trainer()), recipe)
    assert matched.weights is not None
    assert matched.weights[0, 0] == recipe.optim.importance_cap
    assert matched.weights[1, 2] == pytest.approx(torch.tensor(0.1).exp().item())
    assert matched.metrics["engine/largest"] == pytest.approx(3.0)
    assert matched.batch.log_probs[1, 0] == pytest.approx(-0.9)
    steps = [(step, 0.4) for step in range(1, 12)]
    counts = [(step, 64.0) for step, _ in steps]
    found = [it.name for it in diagnose({"engine/mean": steps, "reward/count": counts, "text/count": counts})]
    assert "engine-mismatch" in found


def test_the_own_engine_is_taken_as_it_is() -> None:
    recipe = Recipe.model_validate(
        {
            "policy": "p",
            "data": {"prompts": "x.jsonl", "group": 4},
            "rewards": [{"kind": "length"}],
            "method": "grpo",
            "run": {"name": "r", "steps": 1},
        }
    )
    ones = torch.ones(2, 3)
    batch = Batch(torch.zeros(2, 4).long(), torch.ones(2).long(), ones, -ones, torch.zeros(2))
    assert match_engine(batch, cast("Any", _Trainer()), recipe) == (batch, None, {})
