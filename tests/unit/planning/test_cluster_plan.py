"""The memory plan of a cluster run: by hand, and against what torch keeps for the backward pass."""

import json

import pytest
import torch
from shapes import SHAPES
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen2Config

from longform.planning.cluster import (
    FUSED,
    check_cluster_memory,
    check_disk,
    check_spread,
    cluster_changes,
    plan_cluster,
)
from longform.planning.memory import GIB, activation_bytes, suggested_changes
from longform.planning.shapes import ModelShape, shape_of
from longform.recipe.recipe import Recipe
from longform.records.errors import BadInputError
from longform.training.models import prepare_learning

SHAPE = ModelShape(
    parameters=10_000, head_parameters=800, layers=2, hidden=8, intermediate=16, heads=2, query_width=8, key_width=4,
    vocabulary=100,
)  # fmt: skip
TOKENS = 4096
QWEN_7B, _ = SHAPES["qwen2.5-7b"]


def _recipe(**sections):
    content = {
        "policy": "some/model",
        "data": {"ladders": "l.jsonl", "per_step": 16},
        "rewards": [{"kind": "pairwise", "judge": "j"}],
        "generation": {"max_prompt_tokens": 40, "max_tokens": 60},
        "engine": "cluster",
        "cluster": {"gpus_per_node": 4},
        "memory": {"precision": "bfloat16"},
        "run": {"name": "a", "steps": 1},
    }
    return Recipe.model_validate(content | sections)


def test_every_part_is_counted_by_hand():
    plan = plan_cluster(SHAPE, _recipe())
    critic = 10_000 - 800 + 8
    assert plan.held["policy"] == 12 * 10_000 / 4, "weights and two moments in float32, in four pieces"
    assert plan.held["critic"] == 12 * critic / 4
    assert plan.updating["policy"] == {
        "weights and optimizer": 0,
        "gradients": 4 * 10_000 / 4,
        "gathered layers": 2 * (2 * 576 + 2 * 800) + 6 * 800,
        "activations": 100 * 2 * (16 * 8 + 4 * (2 + 2) + 2 * (2 * 8 + 2 * 4) + 8 * 16),
        "scores of the vocabulary": 10 * 100 * 100,
    }
    assert plan.updating["critic"]["scores of the vocabulary"] == 0, "it has no head"
    assert plan.writing["generation engine"] == 0.6 * 80 * GIB
    assert plan.sequence_cache == 100 * 2 * 2 * 4 * 2
    assert plan.node == {"reference": 4 * 10_000}
    assert plan.checkpoint == {"policy": 120_000, "critic": 12 * critic, "policy to use": 40_000}
    assert plan.disk == 3 * sum(plan.checkpoint.values()), "two are kept while the next is written"


def test_what_is_offloaded_is_there_only_while_it_is_used():
    plan = plan_cluster(SHAPE, _recipe(cluster={"gpus_per_node": 4, "offload": True}))
    assert set(plan.held) == {"processes"}
    assert plan.updating["policy"]["weights and optimizer"] == 30_000
    assert plan.writing["weight synchronization"] == 4 * 10_000 / 4 + 2 * GIB
    assert plan.node["policy"] == 120_000


def test_more_nodes_cut_what_is_held_and_not_what_is_gathered():
    one, two = (plan_cluster(SHAPE, _recipe(cluster={"gpus_per_node": 4, "nodes": nodes})) for nodes in (1, 2))
    assert two.held["policy"] == one.held["policy"] / 2
    assert two.updating["policy"]["gathered layers"] == one.updating["policy"]["gathered layers"]
    assert two.updating["policy"]["activations"] == one.updating["policy"]["activations"]


def test_a_sequence_is_shared_by_the_gpus_of_sequence_parallel():
    one, four = (plan_cluster(SHAPE, _recipe(cluster={"gpus_per_node": 4, "sequence_parallel": n})) for n in (1, 4))
    for name in ("activations", "scores of the vocabulary"):
        assert four.updating["policy"][name] == one.updating["policy"][name] / 4


def test_scores_are_held_twice_more_at_another_temperature_and_never_whole_when_fused():
    generation = {"max_prompt_tokens": 40, "max_tokens": 60, "temperature": 0.8}
    assert plan_cluster(SHAPE, _recipe(generation=generation)).updating["policy"]["scores of the vocabulary"] == 140_000
    fused = _recipe(cluster={"verl": {FUSED: True}})
    assert plan_cluster(SHAPE, fused).updating["policy"]["scores of the vocabulary"] == 0


def test_megatron_cuts_weights_by_tensor_parallel_and_moments_by_all():
    plan = plan_cluster(SHAPE, _recipe(cluster={"gpus_per_node": 4, "trainer": "megatron", "tensor_parallel": 2}))
    assert plan.held["policy"] == 2 * 10_000 / 2 + 12 * 10_000 / 4
    assert plan.updating["policy"]["gradients"] == 4 * 10_000 / 2
    assert plan.updating["policy"]["scores of the vocabulary"] == 50_000


def test_the_engines_room_holds_weights_and_cache():
    shape = shape_of(QWEN_7B)
    cluster = {"gpus_per_node": 4, "tensor_parallel": 2, "rollout_memory": 0.5}
    plan = plan_cluster(shape, _recipe(cluster=cluster))
    assert plan.cache == 40 * GIB - 2 * shape.parameters / 2 - 4 * GIB
    assert plan.sequences == plan.cache // (100 * 28 * 2 * 512 * 2 / 2)
    shared = plan_cluster(shape, _recipe(cluster=cluster | {"gpus_per_node": 8, "tensor_parallel": 8}))
    assert shared.sequence_cache == 100 * 28 * 2 * 512 * 2 / 4, "four key heads go to four GPUs and their copies"


@pytest.mark.parametrize("family", [LlamaConfig, Qwen2Config])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_activations_are_counted_as_torch_keeps_them(family, checkpointing):
    one, three = (_saved_bytes(family, layers, checkpointing=checkpointing) for layers in (1, 3))
    recipe = _recipe(memory={"precision": "bfloat16", "gradient_checkpointing": checkpointing})
    planned = [activation_bytes(shape_of(_config(family, layers).to_dict()), recipe) for layers in (1, 3)]
    assert planned[1] - planned[0] == pytest.approx((three - one) / TOKENS, rel=0.02)


def _config(family, layers):
    return family(
        hidden_size=64, intermediate_size=160, num_hidden_layers=layers, num_attention_heads=4, num_key_value_heads=2,
        head_dim=16, vocab_size=300,
    )  # fmt: skip


def _saved_bytes(family, layers, *, checkpointing):
    """What the forward pass leaves behind of a model in bfloat16, as FSDP gathers it; each storage once, no weights."""
    model = AutoModelForCausalLM.from_config(_config(family, layers), dtype=torch.bfloat16)
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
    with kept_whole, torch.autocast("cpu", dtype=torch.bfloat16):
        model.get_decoder()(input_ids=torch.zeros(1, TOKENS, dtype=torch.int64), use_cache=False)
    return sum(saved.values())


@pytest.fixture
def seven(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(QWEN_7B))
    return str(tmp_path)


LONG = {"max_prompt_tokens": 4096, "max_tokens": 10_000}


def test_what_does_not_fit_is_refused_with_what_would(seven):
    cluster = {"gpus_per_node": 8, "tensor_parallel": 2}
    recipe = _recipe(policy=seven, generation=LONG, cluster=cluster)
    expected = r"needs up to .* GiB on each GPU, and cluster\.gpu_memory_gb is 80; it fits with cluster\.offload: true"
    with pytest.raises(BadInputError, match=expected) as error:
        check_cluster_memory(recipe)
    assert "memory.gradient_checkpointing: true" in str(error.value)
    cluster["offload"] = True
    memory = {"precision": "bfloat16", "gradient_checkpointing": True}
    fitting = _recipe(policy=seven, generation=LONG, cluster=cluster, memory=memory)
    assert check_cluster_memory(fitting).shortfall == 0


def test_a_writing_copy_without_room_asks_for_more_gpus_or_memory(seven):
    cluster = {"gpus_per_node": 8, "gpu_memory_gb": 48, "rollout_memory": 0.38, "offload": True}
    memory = {"precision": "bfloat16", "gradient_checkpointing": True}
    recipe = _recipe(
        policy=seven, generation=LONG, cluster=cluster | {"sequence_parallel": 4}, memory=memory, optim={"kl_coef": 0}
    )
    with pytest.raises(BadInputError, match=r"leave 0\.1 GiB for the KV cache of cluster\.rollout_memory.*fits with"):
        check_cluster_memory(recipe)


def test_what_nothing_makes_fit_says_so(seven):
    recipe = _recipe(policy=seven, generation=LONG, cluster={"gpu_memory_gb": 6})
    with pytest.raises(
        BadInputError, match=r"with cluster\.offload: true.* it would still lack .*: use a smaller model"
    ):
        check_cluster_memory(recipe)


def test_advice_is_followed_by_a_recipe_that_fits():
    shape = shape_of(QWEN_7B)
    recipe = _recipe(generation=LONG, cluster={"gpu_memory_gb": 48})
    changes, changed = suggested_changes(
        recipe, cluster_changes(recipe), lambda run: plan_cluster(shape, run).shortfall
    )
    assert plan_cluster(shape, changed).shortfall == 0
    assert any(key.startswith("cluster.") for key, _ in changes)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"cluster": {"gpus_per_node": 8, "tensor_parallel": 3}}, "tensor_parallel: 3 does not divide the 8 GPUs"),
        (
            {"cluster": {"gpus_per_node": 8, "tensor_parallel": 8}},
            "tensor_parallel: 8 does not divide the 28 attention",
        ),
        ({"cluster": {"gpus_per_node": 8, "sequence_parallel": 8}}, "sequence_parallel: 8 does not divide the 28"),
        ({"cluster": {"gpus_per_node": 6}}, "mini_batch: 16 rollouts do not divide evenly among 6 groups of GPUs"),
    ],
)
def test_what_cannot_be_divided_is_refused(sections, message):
    with pytest.raises(BadInputError, match=message):
        check_spread(shape_of(QWEN_7B), _recipe(**sections))


def test_a_disk_without_room_is_refused(seven, tmp_path):
    recipe = _recipe(policy=seven, cluster={"checkpoints": str(tmp_path / "far" / "away")})
    asked = []

    def free(folder):
        asked.append(folder)
        return 500 * GIB

    with pytest.raises(BadInputError, match="checkpoints take up to 578 GiB, but only 500 are free"):
        check_disk(recipe, free=free)
    assert asked == [tmp_path], "the folder that stands already"
    assert check_disk(recipe, free=lambda folder: 600 * GIB) == plan_cluster(shape_of(QWEN_7B), recipe).disk
