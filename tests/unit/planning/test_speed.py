"""The roofline by hand: decoding reads weights and caches, updates are passes of two operations a weight and token."""

from pathlib import Path

import pytest

from longform.planning.assumptions import Assumptions
from longform.planning.estimate import estimate_run
from longform.planning.memory import GIB
from longform.planning.shapes import ModelShape
from longform.planning.speed import (
    ENGINE_OWN,
    GRAPH_SECONDS,
    Machine,
    Policy,
    at_once,
    decode_seconds,
    find_machine,
    forward_passes,
    updating_seconds,
    writing_seconds,
)
from longform.recipe.loading import load_recipe
from longform.recipe.recipe import Recipe
from longform.records.errors import BadInputError

SHAPE = ModelShape(
    parameters=1_000_000, head_parameters=0, layers=2, hidden=64, intermediate=128, heads=4, query_width=64,
    key_width=32, vocabulary=100,
)  # fmt: skip
POLICY = Policy(1e6, SHAPE)
MACHINE = Machine(
    gpus=8, per_copy=2, flops=1e12, bandwidth=1e9, weight_bytes=2, step_seconds=0.001, side_by_side=None,
    cache_bytes=256 * 1000 * 10,
)  # fmt: skip
"""A token's keys and values take 2 layers x 2 x 32 x 2 bytes = 256: a copy holds 10 sequences of 1,000 tokens."""


def _recipe(**sections):
    content = {
        "policy": "some/writer-1B",
        "data": {"ladders": "none.jsonl", "per_step": 16},
        "rewards": [{"kind": "pairwise", "judge": "j"}],
        "memory": {"precision": "bfloat16"},
        "models": "none.yaml",
        "run": {"name": "a", "steps": 10},
    }
    return Recipe.model_validate(content | sections)


def test_a_decoding_step_reads_the_weights_and_every_cache():
    seconds = decode_seconds(MACHINE, POLICY, batch=10, length=500)
    assert seconds == pytest.approx(0.001 + (2e6 + 10 * 500 * 256) / (2 * 1e9))


def test_a_wide_batch_is_bound_by_arithmetic():
    slow = Machine(8, 2, 1e9, 1e12, 2, 0.0, None, 1e12)
    flops = 2e6 + 2 * 2 * 64 * 500  # two operations a weight, and attention to half of 500 tokens
    assert decode_seconds(slow, POLICY, batch=100, length=500) == pytest.approx(100 * flops / 2e9)


def test_writing_is_a_bulk_of_batches_and_a_tail_of_one():
    # Four copies, 20 responses each in batches of 10: 2 x 800 steps, then the longest goes on alone to 2,000.
    assert at_once(MACHINE, POLICY, length=1000) == 10
    seconds = writing_seconds(MACHINE, POLICY, responses=80, prompt=200, response=800, longest=2000)
    bulk = 1600 * decode_seconds(MACHINE, POLICY, batch=10, length=600)
    tail = 400 * decode_seconds(MACHINE, POLICY, batch=1, length=1200)
    reading = 20 * 200 * (2e6 + 2 * 2 * 64 * 200) / 2e12
    assert seconds == pytest.approx(bulk + tail + reading)
    assert writing_seconds(MACHINE, POLICY, responses=0, prompt=1, response=1, longest=1) == 0


def test_passes_are_counted_by_method():
    ppo = _recipe()  # policy and critic forward and backward, values, reference
    assert forward_passes(ppo) == 3 + 3 + 1 + 1
    assert forward_passes(_recipe(engine="cluster")) == 8 + 1, "log-probabilities once more"
    assert forward_passes(_recipe(memory={"gradient_checkpointing": True})) == 10
    assert forward_passes(_recipe(lora={}, optim={"kl_coef": 0})) == 2 + 2 + 1
    grpo = {"method": "grpo", "data": {"ladders": "l", "per_step": 2, "group": 8}}
    assert forward_passes(_recipe(**grpo)) == 3
    assert forward_passes(_recipe(**grpo, optim={"epochs": 2, "kl_coef": 0.1})) == 2 * 3 + 1
    kept = {"down_sample": grpo["data"]["group"] // 2, "kl_coef": 0.1}
    assert forward_passes(_recipe(**grpo, optim=kept)) == 3 / 2 + 1, "the reference model reads all responses"


def test_updates_are_operations_over_all_gpus():
    seconds = updating_seconds(MACHINE, POLICY, _recipe(), length=1000)
    assert seconds == pytest.approx(16 * 1000 * (2e6 + 2 * 2 * 64 * 1000) * 8 / 8e12)


def test_a_cluster_leaves_its_cache_what_weights_do_not_take():
    cluster = {"gpus_per_node": 4, "nodes": 2, "tensor_parallel": 2, "rollout_memory": 0.5, "gpu_memory_gb": 80}
    recipe = _recipe(engine="cluster", cluster=cluster)
    machine = find_machine(recipe, Policy(8e9, None), Assumptions(gpu="a100", utilisation=0.5, bandwidth_share=0.5))
    assert (machine.gpus, machine.per_copy) == (8, 2)
    assert machine.cache_bytes == pytest.approx(2 * (40 * GIB - 8e9 - ENGINE_OWN))
    assert (machine.flops, machine.bandwidth) == (156e12, 1.02e12)
    assert Policy(8e9, None).cache_bytes == 131_072, "as Llama-3.1-8B's: 32 layers x 2 x 1,024 x 2 bytes"


def test_a_server_of_a_local_run_writes_what_its_cache_holds_and_updates_on_one_gpu():
    recipe = _recipe(
        generation={"engine": "vllm", "batch": 64, "server": {"memory": 0.5, "tensor_parallel": 2}},
        memory={"precision": "bfloat16", "limit_gb": 24},
    )
    machine = find_machine(recipe, POLICY, Assumptions(gpu="a100"))
    assert (machine.gpus, machine.per_copy, machine.step_seconds) == (1, 2, GRAPH_SECONDS)
    assert machine.cache_bytes == 2 * (0.5 * 24 * GIB - ENGINE_OWN) - 2e6
    assert at_once(machine, POLICY, length=1000) == 64, "more would fit"
    assert at_once(machine, POLICY, length=machine.cache_bytes / 256 / 7.5) == 7
    alone = find_machine(_recipe(), POLICY, Assumptions(gpu="a100"))
    assert at_once(alone, POLICY, length=1e12) == 64, "what the recipe says, which the memory plan checks"


def test_an_estimate_adds_up(tmp_path):
    recipe = _recipe(validation={"prompts": tmp_path / "v.jsonl", "every": 5, "judge": "e"}, optim={"epochs": 2})
    given = Assumptions(
        tokens_per_prompt=100, tokens_per_response=1000, validation_prompts=20, judge_latency=30, price_per_gpu_hour=2
    )
    found = estimate_run(recipe, given)
    assert found.policy.parameters == 1e9
    assert found.rollouts == 160
    assert found.written == (160 + 3 * 20) * 1000
    assert found.trained == 160 * 1100 * 2
    assert found.step.judging == 30, "one latency after the last response"
    assert found.unpriced == ["j", "e"]
    validating = found.hours * 3600 - 10 * found.step.total
    assert validating > 3 * 30
    assert found.gpu_cost == pytest.approx(2 * found.hours)
    assert "some/writer-1B has 1,000,000,000 parameters, according to its name" in found.notes


def test_slow_judges_hold_a_step_up_only_beyond_its_writing(tmp_path):
    models = tmp_path / "models.yaml"
    models.write_text("j: {base_url: 'http://localhost:1/v1', model: m, rpm: 1}")
    given = Assumptions(tokens_per_prompt=100, tokens_per_response=1000, longest_response=1000)
    found = estimate_run(_recipe(models=models), given)
    assert found.step.judging == pytest.approx(16 * 60 - found.step.writing)
    assert found.step.bottleneck == "judging"


def test_a_policy_of_unknown_size_asks_for_it():
    with pytest.raises(BadInputError, match="its name does not state a size; pass --parameters"):
        estimate_run(_recipe(policy="some/writer"))
    assert estimate_run(_recipe(policy="some/writer"), Assumptions(parameters=2e9)).policy.parameters == 2e9


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parents[3] / "src/longform/recipes").glob("*-80gb.yaml")), ids=lambda p: p.stem
)
def test_every_recipe_for_one_card_is_estimated_without_its_files(path, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    found = estimate_run(load_recipe(path, Recipe), Assumptions(tokens_per_response=3000))
    assert 1 < found.hours < 1000
