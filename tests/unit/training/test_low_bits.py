"""Weights of 4 bits below adapters, and moments of 8 bits; without bitsandbytes, one line (see `make test-low-bits`)."""

import importlib.util

import pytest
import torch
from pydantic import ValidationError
from toy import save_model, train_toy

from longform.recipe.recipe import Recipe
from longform.records.errors import BadInputError
from longform.rl.settings import LoraSettings, MemorySettings
from longform.training.lora import AdaptedModels
from longform.writers import quantization
from longform.writers.self_check import check_generation
from longform.writers.settings import GenerationSettings

RECIPE = {
    "policy": "p",
    "data": {"prompts": "x.jsonl", "group": 4},
    "rewards": [{"kind": "length"}],
    "method": "grpo",
    "run": {"name": "r", "steps": 1},
}
needs_bitsandbytes = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="needs bitsandbytes: pip install -e '.[low-bits]'"
)


def quantized(start):
    return AdaptedModels(
        str(start),
        device="cpu",
        with_reference=True,
        initial_value=None,
        memory=MemorySettings(quantize="nf4"),
        lora=LoraSettings(rank=2),
        seed=0,
    )


def test_without_the_library_the_key_is_named_with_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setattr(quantization, "find_spec", lambda name: None)
    with pytest.raises(BadInputError, match=r"memory.quantize: needs bitsandbytes; pip install 'longform\[low-bits\]'"):
        quantized(save_model(tmp_path / "start"))
    sections = {"method": "grpo", "data": {"ladders": "x", "per_step": 4, "group": 4}, "memory": {"optimizer_bits": 8}}
    with pytest.raises(BadInputError, match=r"memory.optimizer_bits: needs bitsandbytes"):
        train_toy(tmp_path / "start", tmp_path, sections, steps=1)


def test_only_weights_that_stay_as_they_are_are_quantized():
    with pytest.raises(ValidationError, match=r"memory.quantize: only valid with lora"):
        Recipe.model_validate(RECIPE | {"memory": {"quantize": "nf4"}})
    Recipe.model_validate(RECIPE | {"memory": {"quantize": "nf4"}, "lora": {"rank": 4}})


@needs_bitsandbytes
def test_adapters_learn_on_weights_of_4_bits_that_stay_as_they_are(tmp_path):
    start = save_model(tmp_path / "start", hidden_size=64, intermediate_size=128)  # its kernels take blocks of 32
    models = quantized(start)
    with models.as_policy() as policy:
        layers = [it for it in policy.modules() if type(it).__module__.startswith("bitsandbytes")]
        assert len(layers) == 7, "the matrices of one layer"
        check_generation(policy, path="p", settings=GenerationSettings(max_tokens=8))
    sections = {"method": "grpo", "data": {"ladders": "unused.jsonl", "per_step": 8, "group": 4}}
    sections |= {"lora": {"rank": 4}, "memory": {"quantize": "nf4"}, "optim": {"lr": 0.02, "warmup_steps": 0}}
    state, metrics = train_toy(start, tmp_path, sections, steps=12, stop_after=6)
    rewards = list(metrics["reward/mean"].values())
    resumed, _ = train_toy(start, tmp_path, sections, steps=7)
    assert sum(rewards[-3:]) > sum(rewards[:3])
    assert not torch.equal(policy_of(state), policy_of(resumed))
    with pytest.raises(BadInputError, match="merge them into their model first"):
        resumed.models.save_policy(tmp_path / "adapters")
        quantized(tmp_path / "adapters")


@needs_bitsandbytes
def test_moments_of_8_bits_need_a_gpu(tmp_path):
    sections = {"method": "grpo", "data": {"ladders": "x", "per_step": 4, "group": 4}, "memory": {"optimizer_bits": 8}}
    with pytest.raises(BadInputError, match=r"memory.optimizer_bits: 8 needs a GPU, and this run uses cpu"):
        train_toy(save_model(tmp_path / "start"), tmp_path, sections, steps=1)


def policy_of(state):
    return torch.cat([it.detach().flatten() for it in state.models.policy_parameters()])
