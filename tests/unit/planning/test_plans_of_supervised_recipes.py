"""The recipes of the supervised stages fit the machines they name, and state their plans; accelerate reads its files."""

import json
from pathlib import Path

import pytest
import yaml
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils.launch import prepare_multi_gpu_env
from shapes import SHAPES

from longform.planning.device import check_memory
from longform.planning.memory import GIB, LOW, layer_activation_bytes
from longform.planning.shapes import shape_of
from longform.planning.supervised import SupervisedWorkload, check_supervised, plan_supervised
from longform.project.shipped_recipes import copy_recipe, find_recipe
from longform.recipe.loading import load_recipe
from longform.records.errors import BadInputError
from longform.rl.settings import LoraSettings, MemorySettings
from longform.training.judge_model.recipe import JudgeModelRecipe
from longform.training.supervised.pretrain_recipe import PretrainRecipe
from longform.training.supervised.processes import find_processes
from longform.training.supervised.reward_model_recipe import RewardModelRecipe
from longform.training.supervised.sft_recipe import SftRecipe
from longform.training.supervised.stage_check import check_stage_memory

RECIPES = Path(__file__).parents[3] / "src/longform/recipes"
SCHEMAS = {
    "sft": SftRecipe,
    "pretrain": PretrainRecipe,
    "reward-model": RewardModelRecipe,
    "judge-model": JudgeModelRecipe,
}
PLANNED = {
    "baselines/sft": "qwen2.5-1.5b",
    "baselines/sft-7b-12k": "qwen2.5-7b",
    "baselines/sft-7b-24k": "qwen2.5-7b",
    "reward-model": "qwen2.5-7b",
    "reward-model-72b": "qwen2.5-72b",
    "judge-model": "qwen2.5-1.5b",
    "pretrain/texts": "qwen2.5-1.5b",
    "pretrain/cot": "qwen2.5-1.5b",
    "pretrain/longwriter-zero-32b": "qwen2.5-32b",
}
LAUNCHES = sorted((RECIPES / "accelerate").glob("*.yaml"))
SEVEN = shape_of(SHAPES["qwen2.5-7b"][0])


@pytest.mark.parametrize("name", PLANNED)
def test_a_recipe_fits_the_machines_it_names_and_states_its_plan(name, tmp_path):
    shipped = find_recipe(name)
    assert shipped.kind in SCHEMAS
    recipe = load_recipe(RECIPES / f"{name}.yaml", SCHEMAS[shipped.kind])
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text(json.dumps(SHAPES[PLANNED[name]][0]))
    pairs = shipped.kind == "reward-model"
    settings = recipe.sft if isinstance(recipe, JudgeModelRecipe) else recipe.settings
    assert settings is not None
    plan = check_stage_memory(recipe, str(model), settings, texts_per_row=2 if pairs else 1)
    assert recipe.memory.limit_gb == 80
    assert plan.total < 0.95 * 80 * GIB, plan.lines()
    (row,) = (
        line
        for line in (RECIPES / "README.md").read_text().splitlines()
        if f"| {name}.yaml |" in line and "B |" in line
    )
    assert row.split("|")[4].strip().removesuffix(" GiB") == f"{plan.total / GIB:.1f}"


def test_the_reinforcement_learning_of_a_judge_model_fits_the_card_that_it_names(tmp_path):
    recipe = load_recipe(RECIPES / "judge-model.yaml", JudgeModelRecipe)
    (tmp_path / "config.json").write_text(json.dumps(SHAPES["qwen2.5-1.5b"][0]))
    assert check_memory(recipe.reinforcement(str(tmp_path), on_gpu=True)).total < 0.95 * 80 * GIB


@pytest.mark.parametrize("path", LAUNCHES, ids=lambda path: path.stem)
def test_accelerate_reads_its_configurations(path, monkeypatch):
    parser = launch_command_parser()
    arguments = parser.parse_args(
        ["--config_file", str(path), "--machine_rank", "0", "-m", "longform", "sft", "r.yaml"]
    )
    arguments, _, _ = _validate_launch_command(arguments)
    found = prepare_multi_gpu_env(arguments)
    assert (found["ACCELERATE_USE_FSDP"], found["FSDP_VERSION"]) == ("true", "2")
    assert found["FSDP_STATE_DICT_TYPE"] == "SHARDED_STATE_DICT"
    assert found["FSDP_CPU_RAM_EFFICIENT_LOADING"].lower() == "true"
    content = yaml.safe_load(path.read_text())
    for name, value in {**found, "RANK": "0", "WORLD_SIZE": str(content["num_processes"])}.items():
        if name.startswith(("ACCELERATE_", "FSDP_", "PARALLELISM_", "RANK", "WORLD_")):
            monkeypatch.setenv(name, value)
    processes = find_processes()
    assert processes.is_sharded
    assert processes.per_sequence == (8 if path.stem == "fsdp2-context" else 1)
    planned = [
        load_recipe(RECIPES / f"{name}.yaml", SCHEMAS[find_recipe(name).kind]).devices  # pyright: ignore[reportArgumentType]
        for name in PLANNED
        if f"--config_file {path.name} " in (RECIPES / f"{name}.yaml").read_text()
    ]
    assert planned
    for devices in planned:
        assert (devices.count, devices.per_sequence) == (processes.count, processes.per_sequence)


def test_a_configuration_is_copied_like_a_recipe(tmp_path):
    copied = copy_recipe("accelerate/fsdp2", out=tmp_path)
    assert copied.schema is None
    assert copied.next_command.startswith("accelerate launch --config_file ")
    assert copied.path.read_text() == (RECIPES / "accelerate/fsdp2.yaml").read_text()


def seven(**changes):
    memory = MemorySettings(precision="bfloat16", gradient_checkpointing=True, **changes.pop("memory", {}))
    return SupervisedWorkload(SEVEN, **({"rows": 16, "longest": 8192, "memory": memory} | changes))


def test_all_weights_take_sixteen_bytes_each_and_shards_divide_them():
    plan = plan_supervised(seven())
    fixed = plan.held["weights"] + plan.held["optimizer"] + plan.updating["gradients"]
    assert fixed == 16 * SEVEN.parameters
    sharded = plan_supervised(seven(shards=8))
    assert sharded.held["weights"] + sharded.held["optimizer"] + sharded.updating["gradients"] == 2 * SEVEN.parameters


def test_a_micro_batch_decides_the_activations():
    def tokens(**memory):
        return plan_supervised(seven(memory=memory)).updating["activations"]

    per_token = layer_activation_bytes(SEVEN, "autocast") + 4 * SEVEN.hidden * SEVEN.layers
    per_token += LOW * (3 * SEVEN.intermediate + 4 * SEVEN.hidden)
    assert tokens() == 16 * 8192 * per_token
    assert tokens(max_tokens_per_microbatch=16_384) == 16_384 * per_token
    assert tokens(max_tokens_per_microbatch=100) == 8192 * per_token, "a longer row is a micro-batch of its own"


def test_a_refusal_names_the_key_that_frees_most_first():
    work = seven()
    with pytest.raises(BadInputError) as refused:
        check_supervised(work, model="seven", limit=80 * GIB, available="memory.limit_gb is")
    said = str(refused.value)
    assert said.startswith("seven: needs up to ")
    freed = {
        key: plan_supervised(work).total - plan_supervised(work.changed(key, value)).total
        for key, value in (("memory.max_tokens_per_microbatch", 8192), ("lora", {}))
    }
    first = max(freed, key=lambda key: freed[key])
    assert f"it fits with {first}: " in said
    assert f"(frees {freed[first] / GIB:.2f})" in said
    with pytest.raises(
        BadInputError, match=r"use shorter rows \(settings\.max_tokens\), a smaller model, or several GPUs"
    ):
        check_supervised(work, model="seven", limit=2 * GIB, available="memory.limit_gb is")
    adapted = seven(lora=LoraSettings(), memory={"max_tokens_per_microbatch": 8192})
    assert check_supervised(adapted, model="seven", limit=40 * GIB, available="").total < 40 * GIB
