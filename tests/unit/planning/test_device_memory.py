"""The memory plan against what torch really keeps for the backward pass, and against the recipes that come with longform."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    LlamaConfig,
    Qwen2Config,
    Qwen3Config,
)

from longform.planning.device import check_memory, device_changes, device_memory, plan_memory
from longform.planning.memory import GIB, activation_bytes, adapter_parameters, suggested_changes, written_change
from longform.planning.shapes import ModelShape, count_scoring_parameters
from longform.planning.shapes import shape_of as shape_of_content
from longform.recipe.loading import load_recipe
from longform.recipe.recipe import Recipe
from longform.records.errors import BadInputError
from longform.training.models import prepare_learning
from longform.writers.context import Context

ROOT = Path(__file__).parents[3]
RECIPES = ROOT / "src/longform/recipes"
TOKENS = 4096
RANK = 4
QWEN = {"vocab_size": 151_936, "tie_word_embeddings": True}


def _qwen(hidden, intermediate, layers, heads, key_heads, **settings):
    return Qwen2Config(
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=key_heads,
        **(QWEN | settings),
    )


CONFIGS = {
    "0.5b": _qwen(896, 4864, 24, 14, 2),
    "1.5b": _qwen(1536, 8960, 28, 12, 2),
    "3b": _qwen(2048, 11008, 36, 16, 2),
    "7b": _qwen(3584, 18944, 28, 28, 4, vocab_size=152_064, tie_word_embeddings=False),
    "8b": LlamaConfig(
        hidden_size=4096,
        intermediate_size=14336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
        vocab_size=128_256,
        tie_word_embeddings=False,
    ),
}
PARAMETERS = {"0.5b": 494e6, "1.5b": 1544e6, "3b": 3086e6, "7b": 7616e6, "8b": 8030e6}
"""As the models' cards state them."""


def shape_of(config: Any) -> ModelShape:
    return shape_of_content(config.to_dict())


def _recipe(**sections):
    content = {
        "policy": "some/model",
        "data": {"ladders": "l.jsonl", "per_step": 16},
        "rewards": [{"kind": "pairwise", "judge": "j"}],
        "run": {"name": "a", "steps": 1},
    }
    return Recipe.model_validate(content | sections)


def _config(family, layers):
    return family(
        hidden_size=64, intermediate_size=160, num_hidden_layers=layers, num_attention_heads=4, num_key_value_heads=2,
        head_dim=16, vocab_size=300,
    )  # fmt: skip


def _saved_bytes(family, layers, *, precision, lora, checkpointing):
    """What the forward pass of `TOKENS` tokens leaves behind, each storage once, weights not counted."""
    low = precision == "bfloat16"
    model = AutoModelForCausalLM.from_config(
        _config(family, layers), dtype=torch.bfloat16 if low and lora else torch.float32
    )
    if lora:
        inject_adapter_in_model(LoraConfig(r=RANK, target_modules="all-linear"), model, "policy")
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.data = parameter.data.float()
    if checkpointing:
        prepare_learning([model], gradient_checkpointing=True)
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept, saved = [], {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            saved[storage.data_ptr()] = storage.nbytes()
            kept.append(tensor)
        return tensor

    model.train()
    kept_whole = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    with kept_whole, torch.autocast("cpu", dtype=torch.bfloat16, enabled=low and not lora):
        model.get_decoder()(input_ids=torch.zeros(1, TOKENS, dtype=torch.int64), use_cache=False)
    return sum(saved.values())


@pytest.mark.parametrize("family", [LlamaConfig, Qwen2Config])
@pytest.mark.parametrize("lora", [False, True])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_activations_are_counted_as_torch_keeps_them(family, lora, precision):
    one, three = (_saved_bytes(family, n, precision=precision, lora=lora, checkpointing=False) for n in (1, 3))
    sections = {"memory": {"precision": precision}, "lora": {"rank": RANK} if lora else None}
    planned = activation_bytes(shape_of(_config(family, 2)), _recipe(**sections))
    assert planned == pytest.approx((three - one) / TOKENS, rel=0.02)


def test_a_family_with_more_norms_is_near_its_plan():
    one, three = (_saved_bytes(Qwen3Config, n, precision="bfloat16", lora=True, checkpointing=False) for n in (1, 3))
    planned = activation_bytes(
        shape_of(_config(Qwen3Config, 2)), _recipe(memory={"precision": "bfloat16"}, lora={"rank": RANK})
    )
    assert planned == pytest.approx((three - one) / TOKENS, rel=0.15)


@pytest.mark.parametrize("lora", [False, True])
def test_with_checkpointing_each_layer_leaves_only_its_input(lora):
    one, three = (_saved_bytes(Qwen2Config, n, precision="bfloat16", lora=lora, checkpointing=True) for n in (1, 3))
    sections = {"lora": {"rank": RANK} if lora else None}
    shapes = [shape_of(_config(Qwen2Config, layers)) for layers in (1, 3)]
    recipe = _recipe(memory={"precision": "bfloat16", "gradient_checkpointing": True}, **sections)
    planned = activation_bytes(shapes[1], recipe) - activation_bytes(shapes[0], recipe)
    assert planned == pytest.approx((three - one) / TOKENS, rel=0.05)


def test_adapters_have_as_many_weights_as_planned():
    model = AutoModelForCausalLM.from_config(_config(Qwen2Config, 2))
    inject_adapter_in_model(LoraConfig(r=RANK, target_modules="all-linear"), model, "policy")
    weights = sum(parameter.numel() for name, parameter in model.named_parameters() if "lora_" in name)
    assert adapter_parameters(shape_of(_config(Qwen2Config, 2)), rank=RANK) == weights


@pytest.mark.parametrize(("precision", "lora"), [("float32", None), ("bfloat16", {"rank": RANK}), ("bfloat16", None)])
def test_keys_and_values_take_what_is_planned(precision, lora):
    config = _config(Qwen2Config, 2)
    low = precision == "bfloat16"
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16 if low and lora else torch.float32).eval()
    context = Context(model, longest=10)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=low and not lora):
        context.read_prompts([[row] * 50 for row in range(3)])
    layers: Any = context._cache.layers
    held = sum(layer.keys.nbytes + layer.values.nbytes for layer in layers)
    recipe = _recipe(
        memory={"precision": precision}, lora=lora, generation={"max_prompt_tokens": 40, "max_tokens": 10, "batch": 3}
    )
    planned = plan_memory(shape_of(config), recipe, on_gpu=False).writing["KV cache"]
    # Under autocast values are in bfloat16; they are planned as keys are, in float32, as transformers' own layers may hold
    # them: 8 bytes where 6 are held.
    counted_twice = 8 / 6 if low and not lora else 1
    assert planned == pytest.approx(held * counted_twice * (1 + 1 / config.num_hidden_layers))


@pytest.mark.parametrize("size", CONFIGS)
def test_shapes_of_known_models(size):
    assert shape_of(CONFIGS[size]).parameters == pytest.approx(PARAMETERS[size], rel=0.01)


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*gb.yaml")), ids=lambda path: path.stem)
def test_a_recipe_fits_the_card_it_is_named_after(path):
    size, card = path.stem.split("-")[-2:]
    recipe = load_recipe(path, Recipe)
    plan = plan_memory(shape_of(CONFIGS[size]), recipe, on_gpu=True)
    assert recipe.memory.limit_gb is not None
    assert plan.total < 0.95 * recipe.memory.limit_gb * GIB, plan.lines()
    assert recipe.memory.limit_gb <= float(card.removesuffix("gb"))
    (row,) = (line for line in (RECIPES / "README.md").read_text().splitlines() if line.startswith(f"| {path.name} |"))
    assert float(row.split("|")[4].removesuffix("GiB ")) == round(plan.total / GIB, 1), "the table of recipes/README.md"


@pytest.mark.parametrize("method", ["ppo", "grpo"])
def test_the_recipes_of_the_guide_fit_a_card_of_24_gb(method, tmp_path):
    page = {"ppo": "README.md", "grpo": "docs/longwriter-zero.md"}[method]
    blocks = (ROOT / page).read_text().split("```yaml\n")[1:]
    (text,) = (block.partition("```")[0] for block in blocks if "policy:" in block)
    (tmp_path / "recipe.yaml").write_text(text)
    plan = plan_memory(shape_of(CONFIGS["0.5b"]), load_recipe(tmp_path / "recipe.yaml", Recipe), on_gpu=True)
    assert plan.total < 22 * GIB, plan.lines()


def test_grpo_without_kl_plans_no_pass_over_all_rollouts():
    sections: dict[str, Any] = {"data": {"ladders": "l", "per_step": 8, "group": 16}, "method": "grpo"}
    shape = shape_of(CONFIGS["0.5b"])

    def activations(**optim):
        recipe = _recipe(**sections, optim={"mini_batch": 1, **optim})
        return plan_memory(shape, recipe, on_gpu=True).updating["activations"]

    assert activations(kl_coef=0.1) > 3 * activations()
    assert activations(kl_coef=0.1, resample=1) > 1.5 * activations(kl_coef=0.1)


@pytest.fixture
def start(tmp_path):
    AutoModelForCausalLM.from_config(_config(Qwen2Config, 2)).save_pretrained(tmp_path / "start")
    return str(tmp_path / "start")


def test_what_cannot_fit_is_refused_with_what_to_change(start):
    generation = {"max_tokens": 4000, "max_prompt_tokens": 96, "batch": 64}
    tight = _recipe(policy=start, generation=generation, memory={"limit_gb": 2.1})
    with pytest.raises(
        BadInputError, match=r"needs up to .* GiB, and memory\.limit_gb is 2\.10; it fits with"
    ) as error:
        check_memory(tight)
    assert "memory.max_tokens_per_microbatch: 4096" in str(error.value)
    freed = [float(it) for it in re.findall(r"\(frees ([\d.]+)\)", str(error.value))]
    assert freed == sorted(freed, reverse=True), "the change that frees most is named first"
    assert freed[0] > 0
    fitting = _recipe(
        policy=start,
        generation={**generation, "batch": 4},
        memory={"limit_gb": 2.1, "max_tokens_per_microbatch": 4096, "gradient_checkpointing": True},
    )
    assert check_memory(fitting).total < 2.1 * GIB
    with pytest.raises(BadInputError, match="use a smaller model or shorter responses"):
        check_memory(_recipe(policy=start, generation=generation, memory={"limit_gb": 0.5}))


def test_what_a_machine_has_that_does_not_say_is_not_known(start, monkeypatch):
    def unknown(name):
        raise ValueError(f"unrecognized configuration name {name}")

    monkeypatch.setattr("os.sysconf", unknown)
    assert device_memory() is None
    assert check_memory(_recipe(policy=start)).total > 0


def test_a_model_without_a_configuration_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(BadInputError, match=r"its config\.json has no 'num_hidden_layers'"):
        check_memory(_recipe(policy=str(tmp_path)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_size": "abc"}, "cannot be read"),
        ({"num_attention_heads": 0}, "cannot be read"),
    ],
)
def test_a_broken_or_unknown_configuration_is_one_line(tmp_path, changes, message):
    config = _config(Qwen2Config, 2).to_dict() | changes
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(BadInputError, match=message) as error:
        check_memory(_recipe(policy=str(tmp_path)))
    assert "\n" not in str(error.value)


def test_advice_finds_changes_that_only_help_together():
    recipe = _recipe(generation={"max_tokens": 2500, "max_prompt_tokens": 500, "batch": 16}, memory={"limit_gb": 24})
    shape = shape_of(CONFIGS["7b"])

    def shortfall(run):
        return max(plan_memory(shape, run, on_gpu=True).total - 24 * GIB, 0)

    changes, changed = suggested_changes(recipe, device_changes(recipe), shortfall)
    assert shortfall(changed) == 0
    assert {"memory.precision: bfloat16", "lora: {}"} <= {written_change(it) for it in changes}


def test_a_server_takes_its_share_of_the_card_while_it_writes_or_throughout():
    shape, card = shape_of(CONFIGS["0.5b"]), 24 * GIB

    def plan(**server):
        recipe = _recipe(generation={"max_tokens": 64, "engine": "vllm", "server": server}, memory={"limit_gb": 24})
        return plan_memory(shape, recipe, on_gpu=True, card=card)

    assert plan(memory=0.4).writing == {"server": 0.4 * card}
    assert plan(memory=0.4).total >= sum(plan(memory=0.4).held.values()) + 0.4 * card
    awake = plan(memory=0.4, sleep=False)
    assert awake.held["server"] == 0.4 * card
    assert not awake.writing
    elsewhere = plan(address="http://127.0.0.1:8000")
    assert not elsewhere.writing
    assert "server" not in elsewhere.held


def test_a_server_with_too_large_a_share_is_refused_with_a_smaller_one(tmp_path):
    CONFIGS["0.5b"].save_pretrained(tmp_path)
    generation = {"max_tokens": 64, "engine": "vllm", "server": {"memory": 0.9}}
    recipe = _recipe(policy=str(tmp_path), generation=generation, memory={"limit_gb": 24})
    with pytest.raises(BadInputError, match=r"it fits with .*generation\.server\.memory: 0\.\d"):
        check_memory(recipe)


def test_a_reward_model_is_planned_for(start, tmp_path):
    config = _config(LlamaConfig, 3)
    config.num_labels = 1
    scorer = AutoModelForSequenceClassification.from_config(config)
    scorer.save_pretrained(tmp_path / "reward")
    weights = sum(parameter.numel() for parameter in scorer.parameters())
    assert count_scoring_parameters(str(tmp_path / "reward")) == weights
    rewards = [{"kind": "writing", "model": str(tmp_path / "reward")}]
    alone = check_memory(_recipe(policy=start))
    beside = check_memory(_recipe(policy=start, rewards=rewards))
    assert beside.total - alone.total == 4 * weights, "in float32, without a GPU"


def test_a_reward_model_without_a_configuration_is_refused(start, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(BadInputError, match=r"rewards\.writing\.model: .* its configuration cannot be read"):
        check_memory(_recipe(policy=start, rewards=[{"kind": "writing", "model": str(tmp_path)}]))
