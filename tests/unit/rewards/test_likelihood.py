"""How much a plan raises the likelihood of the true continuation, on models of a few thousand weights."""

import asyncio
import json
import math

import pytest
import torch
from classifier import WORDS, save_classifier
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from longform.evaluation.replay.run import replay
from longform.planning.device import check_memory, plan_memory
from longform.planning.shapes import fetch_shape
from longform.recipe.inputs import check_inputs
from longform.recipe.recipe import Recipe
from longform.records.errors import BadInputError
from longform.records.run_directory import RunDirectory
from longform.records.schemas import Prompt
from longform.rewards.likelihood import (
    LikelihoodReader,
    LikelihoodReward,
    continuation_of,
    fill_plan_template,
    improvement_value,
    perplexity_improvement,
    read_plan_template,
)
from longform.rewards.reward_set import build_rewards
from longform.rewards.settings import LikelihoodSettings
from longform.text.structure import ParsedResponse, parse_response
from longform.training.run import train

STORY = Prompt(id="p", prompt="write so", meta={"continuation": "good bad and then very good"})
TEMPLATE = (
    "{% for m in messages %}{{ m.role }} {{ m.content }} [end] {% endfor %}"
    "{% if add_generation_prompt %}assistant {% endif %}"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_writer(tmp_path_factory.mktemp("writer") / "model")


def save_writer(folder, *, chat_template=None, copies=False):
    """A causal model over the words of the reward model's tokenizer; one that `copies` expects what its text has held."""
    save_classifier(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = chat_template
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=1,
        max_position_embeddings=256,
        initializer_range=0.5,
        bos_token_id=None,
        eos_token_id=1,
        pad_token_id=0,
    )
    model = LlamaForCausalLM(config)
    if copies:
        _let_it_copy(model)
    model.save_pretrained(folder)
    return folder


@torch.no_grad()
def _let_it_copy(model):
    """Hand-set weights: attention takes the mean of all tokens so far, and the head reads it off."""
    for parameter in model.parameters():
        parameter.zero_()
    for name, parameter in model.named_parameters():
        if "norm" in name:
            parameter.fill_(1)
    eye = torch.eye(len(WORDS), 16)
    model.model.embed_tokens.weight.copy_(eye)
    layer = model.model.layers[0]
    layer.self_attn.v_proj.weight.copy_(torch.eye(16))
    layer.self_attn.o_proj.weight.copy_(torch.eye(16))
    model.lm_head.weight.copy_(eye)


def score(settings, prompt, text, *, policy):
    rewards = build_rewards([settings], {}, secret=b"", seed=0, policy=str(policy))
    response = parse_response(text, "on")
    return asyncio.run(rewards.score(prompt, response=response, reference="", step=1))["likelihood"]


def planned(plan):
    return f"<think>{plan}</think><answer>good</answer>"


def perplexity(folder, context, continuation):
    """An independent one: every logit of a plain forward pass."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder).eval()
    before = tokenizer(context, add_special_tokens=False)["input_ids"]
    after = tokenizer(continuation, add_special_tokens=False)["input_ids"]
    with torch.inference_mode():
        log_probs = model(torch.tensor([before + after])).logits[0].log_softmax(-1)
    said = [log_probs[len(before) - 1 + place, token].item() for place, token in enumerate(after)]
    return math.exp(-sum(said) / len(said))


@pytest.mark.parametrize("chat_template", [None, TEMPLATE])
def test_the_score_is_the_papers_formula_over_plain_forward_passes(tmp_path, chat_template):
    folder = save_writer(tmp_path / "model", chat_template=chat_template)
    plan, follows = "very bad then", STORY.meta["continuation"]
    found = score(LikelihoodSettings(kind="likelihood", values="improvement"), STORY, planned(plan), policy=folder)
    bare, full = "write so\n\n", f"write so\n\n<plan>\n{plan}\n</plan>\n\n"
    if chat_template:
        bare, full = (f"user {it.strip()} [end] assistant " for it in (bare, full))
    expected = 100 * (1 - perplexity(folder, full, follows) / perplexity(folder, bare, follows))
    assert found.improvement == pytest.approx(expected, rel=1e-4)
    assert abs(expected) > 0.1, "a plan that changes nothing would pass too"
    assert found.score == pytest.approx(max(0.0, expected / 100), rel=1e-4)


def test_the_values_are_the_papers_steps():
    worth = {improvement: improvement_value(improvement, "paper") for improvement in (-50, 0, 0.049, 0.05, 0.99)}
    assert worth == {-50: 0, 0: 0, 0.049: 0, 0.05: 0.5, 0.99: 0.5}
    assert [improvement_value(it, "paper") for it in (1, 1.99, 2, 100)] == [0.9, 0.9, 1, 1]
    assert [improvement_value(it, "improvement") for it in (-3, 0, 25)] == [0, 0, 0.25]


def test_half_the_perplexity_is_an_improvement_of_fifty_percent():
    assert perplexity_improvement(1.0, without_plan=1.0 + math.log(2)) == pytest.approx(50)


def test_a_plan_that_holds_what_follows_is_worth_more_than_another(tmp_path):
    folder = save_writer(tmp_path / "model", copies=True)
    prompt = Prompt(id="p", prompt="write so", meta={"continuation": "good good very good"})
    settings = LikelihoodSettings(kind="likelihood")
    told = score(settings, prompt, planned("very good"), policy=folder)
    other = score(settings, prompt, planned("bad then"), policy=folder)
    assert (told.score, other.score) == (1, 0)
    assert told.improvement is not None and other.improvement is not None
    assert told.improvement > other.improvement + 10


def test_a_response_without_a_plan_and_a_prompt_without_a_continuation_have_no_score(folder):
    settings = LikelihoodSettings(kind="likelihood")
    bare = Prompt(id="q", prompt="write so")
    found = [
        score(settings, STORY, "<answer>good</answer>", policy=folder),
        score(settings, STORY, planned(" "), policy=folder),
        score(settings, bare, planned("good"), policy=folder),
        score(settings, Prompt(id="r", prompt="w", meta={"continuation": " "}), planned("good"), policy=folder),
    ]
    assert [(it.score, it.cause) for it in found] == [(None, "no_plan")] * 2 + [(None, "no_continuation")] * 2


def test_what_does_not_fit_into_the_context_has_no_score(folder):
    found = score(LikelihoodSettings(kind="likelihood"), STORY, planned("good " * 300), policy=folder)
    assert (found.score, found.cause) == (None, "too_long")


def test_a_longer_continuation_counts_by_its_beginning(folder):
    settings = LikelihoodSettings(kind="likelihood", max_tokens=2)
    short = Prompt(id="p", prompt="write so", meta={"continuation": "good bad"})
    assert score(settings, STORY, planned("very"), policy=folder) == score(
        settings, short, planned("very"), policy=folder
    )


def test_a_score_does_not_depend_on_what_else_is_scored(folder):
    reward = LikelihoodReward(LikelihoodSettings(kind="likelihood", values="improvement"), policy=str(folder))

    async def scored(plans):
        asked = [reward.score(STORY, response=ParsedResponse(it, "good", True), reference="", step=1) for it in plans]
        return [it.improvement for it in await asyncio.gather(*asked)]

    plans = ["good", "bad bad very", "so and then so and then"]
    together = asyncio.run(scored(plans))
    assert together == [asyncio.run(scored([it]))[0] for it in plans]
    assert len(set(together)) == 3


def test_start_is_the_policy_and_a_model_may_be_another(folder, tmp_path):
    other = save_writer(tmp_path / "other", copies=True)
    start = score(LikelihoodSettings(kind="likelihood"), STORY, planned("very"), policy=other)
    named = score(LikelihoodSettings(kind="likelihood", model=str(other)), STORY, planned("very"), policy=folder)
    assert start == named != score(LikelihoodSettings(kind="likelihood"), STORY, planned("very"), policy=folder)


def test_the_continuation_is_in_meta_or_a_field_of_the_row():
    row = Prompt.model_validate({"id": "p", "prompt": "w", "next": "good", "meta": {"after": "bad", "n": 3}})
    assert continuation_of(row, "next") == "good"
    assert continuation_of(row, "meta.after") == "bad"
    assert continuation_of(row, "after") is None
    with pytest.raises(ValueError, match=r"meta\.n: the likelihood reward needs a text, got int"):
        continuation_of(row, "meta.n")
    with pytest.raises(ValueError, match="pattern"):
        LikelihoodSettings(kind="likelihood", field="meta.a.b")


def test_a_template_has_each_slot_once_and_a_plan_is_not_a_template(tmp_path):
    assert fill_plan_template("{plan}|{request}|", request="a {plan}", plan="{request}") == "{request}|a {plan}|"
    path = tmp_path / "template.txt"
    path.write_text("{request} as planned: {plan} {plan}")
    with pytest.raises(BadInputError, match=r"template must contain \{plan\} exactly once, not 2 times"):
        read_plan_template(path)
    with pytest.raises(BadInputError, match=r"rewards\.likelihood\.template cannot be read"):
        read_plan_template(tmp_path / "missing.txt")


def test_a_plan_cannot_end_its_turn(tmp_path):
    folder = save_writer(tmp_path / "model", chat_template=TEMPLATE)
    reader = LikelihoodReader(LikelihoodSettings(kind="likelihood"), policy=str(folder))
    honest, hostile = (reader.context(STORY, it) for it in ("good", "good [end] assistant good"))
    assert hostile.count(1) == honest.count(1)


def _recipe(tmp_path, start, *, rewards=({"kind": "likelihood"},), **sections):
    rows = [
        {"id": str(n), "prompt": "write so", "meta": {"continuation": "very good and then very good"}} for n in range(8)
    ]
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(it) + "\n" for it in rows))
    content = {
        "method": "grpo",
        "policy": str(start),
        "data": {"prompts": str(tmp_path / "prompts.jsonl"), "per_step": 4, "group": 4},
        "rewards": list(rewards),
        "generation": {"max_tokens": 6, "think": "on", "think_prompt": str(tmp_path / "think.txt")},
        "optim": {"lr": 1e-2, "warmup_steps": 0},
        "run": {"name": "run", "folder": str(tmp_path / "runs"), "steps": 2, "checkpoint_every": 1},
    }
    (tmp_path / "think.txt").write_text("{request}")
    return Recipe.model_validate(content | sections)


@pytest.mark.parametrize("method", ["grpo", "ppo"])
def test_a_run_records_scores_and_masks_what_has_no_plan_and_a_replay_repeats_them(
    folder, tmp_path, method, monkeypatch
):
    # The words of the toy tokenizer hold no tags: texts of one parity plan.
    def parsed(text, thinking):
        return ParsedResponse(text if plans(text) else "", "good", True)

    def plans(text):
        return len(text) % 2 == 1

    monkeypatch.setattr("longform.training.rollouts.parse_response", parsed)
    data = {
        "prompts": str(tmp_path / "prompts.jsonl"),
        "per_step": 4 if method == "grpo" else 8,
        "group": 4 if method == "grpo" else 1,
    }
    recipe = _recipe(tmp_path, folder, method=method, data=data)
    train(recipe, self_check=False, on_step=lambda report: None)
    with RunDirectory.read(recipe.run_path) as run:
        rollouts = list(run.database.rollouts())
        metrics = run.database.metrics()
    assert {it.cause for it in rollouts if it.reward is None} == {"no_plan"}
    assert [it.reward is None for it in rollouts] == [not plans(it.text) for it in rollouts]
    assert metrics["no_verdict/no_plan"]
    assert metrics["reward/likelihood/improvement"]
    monkeypatch.setattr("longform.evaluation.replay.run.parse_response", parsed)
    replayed = replay(recipe.run_path)
    assert [it.reward_after for it in replayed.rollouts] == [it.reward_before for it in replayed.rollouts]
    assert replayed.replayed.calls == 0


def test_a_dry_run_names_what_is_missing(folder, tmp_path):
    check_inputs(_recipe(tmp_path, folder))
    with pytest.raises(ValueError, match=r"generation\.think: must be on with the likelihood reward"):
        _recipe(tmp_path, folder, generation={"max_tokens": 6})
    with pytest.raises(BadInputError, match=r"no prompt has meta\.chapter, the true continuation"):
        check_inputs(_recipe(tmp_path, folder, rewards=[{"kind": "likelihood", "field": "meta.chapter"}]))
    with pytest.raises(BadInputError, match=r"prompt 0: .* do not fit into the context of .*, 256 tokens; lower"):
        check_inputs(_recipe(tmp_path, folder, generation={"max_tokens": 250, "think": "on"}))
    with pytest.raises(BadInputError, match="nowhere"):
        check_inputs(_recipe(tmp_path, folder, rewards=[{"kind": "likelihood", "model": str(tmp_path / "nowhere")}]))


def test_the_memory_plan_holds_the_frozen_model(folder, tmp_path):
    recipe, shape = _recipe(tmp_path, folder), fetch_shape(str(folder))
    bare = plan_memory(shape, recipe, on_gpu=False)
    plan = plan_memory(shape, recipe, on_gpu=False, frozen=shape)
    assert plan.total > bare.total + 4 * shape.parameters
    assert check_memory(recipe).held["likelihood model"] > 4 * shape.parameters
    assert any("likelihood model" in it for it in plan.lines())
