"""What a recipe refers to is checked before a model is loaded or a call is made: one line for what cannot be used."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from longform.recipe.begin import begin_run, check_begin
from longform.recipe.inputs import check_inputs
from longform.recipe.recipe import Recipe
from longform.records.errors import BadInputError
from longform.records.files import write_rows
from longform.records.run_directory import RunDirectory
from longform.records.schemas import Ladder, Prompt, Reference
from longform.rl.settings import POLICY_WARMUP
from longform.training.judge_model.recipe import JudgeModelRecipe

PAIRWISE = {"kind": "pairwise", "judge": "judge"}
GROUP = {"method": "grpo", "data": {"prompts": "prompts.jsonl", "per_step": 2, "group": 2}}
LENGTH = {**GROUP, "rewards": [{"kind": "length"}]}
VALIDATION = {"prompts": "held-out.jsonl", "judge": "examiner"}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a judge that answers in batches": (
        {"rewards": [{"kind": "pairwise", "judge": "slow"}]},
        r"models\.yaml: slow\.batch: a training run cannot wait for batches",
    ),
    "grades without criteria of prompts that have none": (
        {"validation": {**VALIDATION, "without_criteria": True}},
        r"validation\.without_criteria: no prompt of held-out\.jsonl has criteria",
    ),
    "validation on training prompts": (
        {"validation": {**VALIDATION, "prompts": "prompts.jsonl"}},
        r"prompts\.jsonl: 2 of 2 prompts are also in the training data, such as 'p0'",
    ),
    "an examiner that is the judge under another name": (
        {"validation": {**VALIDATION, "judge": "twin"}},
        r"validation\.judge: 'twin' and 'judge', which gives the reward, are the same model in models\.yaml",
    ),
    "a ladder without the reference that is asked for": (
        {"curriculum": {"mode": "fixed", "reference": "gpt"}},
        r"ladders\.jsonl: ladder p0: has no reference of 'gpt', which curriculum\.reference asks for",
    ),
    "a ladder without the policy's own response": (
        {"curriculum": {"start": "own"}},
        r"ladders\.jsonl: ladder p0: ",
    ),
    "a list that a judge of two texts is to order": (
        {**GROUP, "rewards": [{"kind": "group", "judge": "logprobs", "by": "list"}]},
        "endpoint logprobs: verdict: logprobs tells A from B and cannot order a list",
    ),
    "a reward model that is none": (
        {**GROUP, "rewards": [{"kind": "writing", "model": "a-model"}]},
        r"rewards\.writing\.model: a-model is LlamaForCausalLM, not a sequence classifier",
    ),
    "a reward model without a readable configuration": (
        {**GROUP, "rewards": [{"kind": "writing", "model": "broken"}]},
        r"rewards\.writing\.model: broken has no readable config\.json",
    ),
    "a reward model that is not there": (
        {**GROUP, "rewards": [{"kind": "writing", "model": "./gone"}]},
        r"\./gone: not a model folder",
    ),
    "a list of phrases that is none": (
        {**GROUP, "rewards": [{"kind": "format", "slop": 1.0, "slop_list": "models.yaml"}]},
        r"models\.yaml: ",
    ),
    "a length that a prompt does not state": (
        LENGTH,
        r"prompts\.jsonl: prompt p1: has no length_range, which the length reward needs",
    ),
}


@pytest.fixture(autouse=True)
def _files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    entry = {"base_url": "http://127.0.0.1:9/v1", "model": "m"}
    models = {"judge": entry, "twin": entry, "examiner": {**entry, "model": "e"}, "slow": {**entry, "batch": True}}
    models["logprobs"] = {**entry, "verdict": "logprobs"}
    Path("models.yaml").write_text(yaml.safe_dump(models))
    prompts = [Prompt(id=f"p{n}", prompt=f"Write {n}.", length_range=None if n else (10, 20)) for n in range(2)]
    write_rows("prompts.jsonl", prompts)
    write_rows("held-out.jsonl", [Prompt(id="h", prompt="Write of the sea.")])
    rungs = [Reference(model=name, text=f"A story by {name}.", score=score) for score, name in enumerate("ab")]
    write_rows(
        "ladders.jsonl", [Ladder(**it.model_dump(), references=rungs, policy_score=0, potential=1) for it in prompts]
    )
    for name, content in {"a-model": '{"architectures": ["LlamaForCausalLM"]}', "broken": "{"}.items():
        Path(name).mkdir()
        Path(name, "config.json").write_text(content)


def recipe(**changes):
    fields = {
        "policy": "an/id-of-the-hub",
        "data": {"ladders": "ladders.jsonl", "per_step": 2},
        "rewards": [PAIRWISE],
        "run": {"name": "run", "steps": 1},
    }
    return Recipe.model_validate(fields | changes)


@pytest.mark.parametrize(("changes", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_a_recipe_refers_to_and_cannot_be_used_is_one_line(changes, message):
    with pytest.raises(BadInputError, match=message) as error:
        check_inputs(recipe(**changes))
    assert "\n" not in str(error.value)


LOCAL = {"generation": {"engine": "vllm"}}
CONTRADICTIONS: dict[str, dict[str, Any]] = {
    "cluster: only valid with engine: cluster": {"cluster": {"nodes": 1}},
    "generation.engine: only valid with engine: local; cluster.rollout names": {"engine": "cluster", **LOCAL},
    "memory.quantize: only valid with lora and engine: local": {"memory": {"quantize": "nf4"}},
    "memory.optimizer_bits: only valid with engine: local": {"engine": "cluster", "memory": {"optimizer_bits": 8}},
    "generation.top_p: must be 1 with generation.engine: vllm": {"generation": {"engine": "vllm", "top_p": 0.9}},
    "server: only valid with engine: vllm or sglang": {"generation": {"server": {"tensor_parallel": 2}}},
    "server: tensor_parallel and arguments are only valid for a server that is started": {
        "generation": {"engine": "vllm", "server": {"address": "http://127.0.0.1:8000", "arguments": ["--x"]}}
    },
}


@pytest.mark.parametrize(("message", "changes"), CONTRADICTIONS.items(), ids=CONTRADICTIONS.keys())
def test_settings_that_contradict_each_other_are_refused(message, changes):
    with pytest.raises(ValidationError, match=re.escape(message)):
        recipe(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"generation": {"think": "on"}}, "generation: a judge needs `think: off` and `chat_template: on`"),
        (
            {"rl": {"steps": 1}, "generation": {"temperature": 0}},
            "generation.temperature: must not be 0: all answers of a",
        ),
        ({"devices": {"count": 2}}, "devices: a judge model is trained on one device; leave it out"),
        ({"devices": {"count": 3, "per_sequence": 2}}, "count 3 is not a multiple of per_sequence 2"),
        ({"validation": {"share": 0.1}}, "validation: the held-out pairs examine every stage; leave it out"),
    ],
)
def test_a_recipe_of_a_judge_model_says_what_it_has_no_use_for(changes, message):
    with pytest.raises(ValidationError, match=re.escape(message)):
        JudgeModelRecipe.model_validate({"base": "a/model", "pairs": ["pairs.jsonl"], "out": "out"} | changes)


def test_a_length_reward_needs_the_ranges_of_its_own_source_alone():
    write_rows("ranged.jsonl", [Prompt(id=f"r{n}", prompt="Write.", length_range=(10, 20)) for n in range(2)])
    sources = [{"name": "any", "prompts": "prompts.jsonl"}, {"name": "ranged", "prompts": "ranged.jsonl"}]
    rewards = [{"kind": "length", "sources": ["ranged"]}, {"kind": "pointwise", "judge": "judge", "sources": ["any"]}]
    data = {"sources": sources, "per_step": 2, "group": 2}
    found = check_inputs(recipe(method="grpo", data=data, rewards=rewards))
    assert [row.id for row in found.prompts] == ["p0", "p1", "r0", "r1"]


def test_lists_of_phrases_and_reward_models_belong_to_a_run(tmp_path):
    Path("slop.json").write_text("{}")
    rewards = [
        {"kind": "format", "slop": 1.0, "slop_list": "slop.json"},
        {"kind": "writing", "model": ["a-model", "broken"]},
        {"kind": "likelihood", "template": "plan.txt"},
    ]
    Path("plan.txt").write_text("{request} {plan}")
    made = recipe(**GROUP, rewards=rewards, generation={"think": "on"})

    def begin(resume):
        with RunDirectory.open(made.run_path) as run:
            begin_run(run, made, resume=resume)
            run.database.record_step(1, seconds=1.0, metrics={})

    begin(False)
    begin(True)
    for name, changed in {"slop.json": "[]", "plan.txt": "{plan} {request}"}.items():
        before = Path(name).read_text()
        Path(name).write_text(changed)
        with pytest.raises(BadInputError, match=f"{name}: has changed since the run began"):
            begin(True)
        Path(name).write_text(before)
    Path("a-model", "config.json").write_text(json.dumps({"architectures": []}))
    with pytest.raises(BadInputError, match="reward model a-model"):
        begin(True)


def test_a_run_of_grpo_from_before_version_0_3_goes_on_with_the_settings_that_it_had():
    had = {"mini_batch": 4, "warmup_steps": round(POLICY_WARMUP * 40)}
    made = recipe(
        **GROUP, rewards=[{"kind": "pointwise", "judge": "judge"}], optim=had, run={"name": "old", "steps": 40}
    )
    made.run_path.mkdir(parents=True)
    check_begin(made, resume=False)  # a folder without records is no run yet
    with RunDirectory.open(made.run_path) as run:
        begin_run(run, made, resume=False)
        run.database.record_step(1, seconds=1.0, metrics={})
    path = made.run_path / "recipe.yaml"
    stored = yaml.safe_load(path.read_text())
    stored["optim"] = {name: value for name, value in stored["optim"].items() if name not in had}
    path.write_text(yaml.safe_dump(stored))
    with RunDirectory.open(made.run_path) as run:
        begin_run(run, made, resume=True)
        with pytest.raises(BadInputError, match=r"optim\.mini_batch 4, not 2"):
            begin_run(run, made.changed("optim.mini_batch", 2), resume=True)
