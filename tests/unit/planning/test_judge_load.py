"""Judge calls, tokens, money and time, counted by hand."""

from dataclasses import replace

import pytest
import yaml

from longform.endpoints.models import ModelSpec
from longform.planning.assumptions import Assumptions
from longform.planning.estimate import estimate_run
from longform.planning.judge_load import (
    find_specs,
    judge_seconds,
    reward_loads,
    step_calls,
    validation_load,
    validations,
)
from longform.planning.text_lengths import TextLengths
from longform.recipe.recipe import Recipe
from longform.records.errors import BadInputError
from longform.rewards.settings import PairwiseSettings, PointwiseSettings

LENGTHS = TextLengths(
    prompts=100,
    validation_prompts=50,
    prompt=100,
    response=1000,
    longest=2000,
    answer=800,
    reference=900,
    pairwise_frame=300,
    pointwise_frame=200,
    notes=(),
)


def _spec(**fields):
    return ModelSpec.model_validate({"base_url": "http://localhost:1/v1", "model": "m"} | fields)


def _recipe(rewards, **sections):
    data = {"ladders": "l.jsonl", "per_step": 10, "group": 2}
    content = {"policy": "a/b-1B", "data": data, "rewards": rewards, "run": {"name": "a", "steps": 45}}
    return Recipe.model_validate(content | sections)


def test_orders_samples_panels_and_rechecks_are_all_calls():
    reward = PairwiseSettings(kind="pairwise", judge=["a", "b"], samples=3, position="both", recheck=0.25)
    assert step_calls(reward, rollouts=16) == {"a": 16 * 3 * 2 + 4 * 2, "b": 16 * 3 * 2}
    assert step_calls(PairwiseSettings(kind="pairwise", judge="a"), rollouts=16) == {"a": 16}
    assert step_calls(PointwiseSettings(kind="pointwise", judge="a", samples=2), rollouts=16) == {"a": 32}


@pytest.mark.parametrize(
    ("by", "calls", "tokens"),
    [
        ("peer", 7, 7 * (300 + 2 * 800)),
        ("anchors", 8 * 3, 8 * 3 * (300 + 900 + 800)),
        ("list", 1, 300 + 8 * 800),
        ("round-robin", 28, 28 * (300 + 2 * 800)),
        ("elimination", 13, 13 * (300 + 2 * 800)),
    ],
)
def test_a_group_needs_as_many_calls_as_its_comparisons(by, calls, tokens):
    data = {"ladders": "l.jsonl", "per_step": 10, "group": 8}
    recipe = _recipe([{"kind": "group", "judge": "a", "by": by}], method="grpo", data=data)
    (load,) = reward_loads(recipe, LENGTHS, {}, Assumptions())
    assert load.calls == 45 * 10 * calls
    assert load.prompt_tokens == 45 * 10 * tokens


def test_panels_samples_orders_and_promotions_of_a_group_are_all_calls():
    data = {"ladders": "l.jsonl", "per_step": 10, "group": 4}
    reward = {"kind": "group", "judge": ["a", "b"], "by": "round-robin", "samples": 3, "position": "both"}
    recipe = _recipe([reward], method="grpo", data=data, curriculum={"promote_by": "sample"})
    loads = reward_loads(recipe, LENGTHS, {}, Assumptions())
    assert [load.calls for load in loads] == [45 * 10 * (6 + 1) * 3 * 2] * 2


def test_a_list_that_is_too_long_for_the_judge_is_several_calls():
    data = {"prompts": "p.jsonl", "per_step": 10, "group": 8}
    recipe = _recipe([{"kind": "group", "judge": "a", "by": "list", "samples": 2}], method="grpo", data=data)
    (load,) = reward_loads(recipe, LENGTHS, {"a": _spec(context=1024 + 300 + 4 * 800)}, Assumptions())
    assert load.calls == 45 * 10 * 2 * 3, "4, then 2 + 2 more, then 2 + 2 more"


def test_rounds_of_questions_about_a_group_follow_each_other():
    def load(by, count, specs=None, **sections):
        data = {"ladders": "l.jsonl", "per_step": 10, "group": count}
        recipe = _recipe([{"kind": "group", "judge": "a", "by": by}], method="grpo", data=data, **sections)
        (found,) = reward_loads(recipe, LENGTHS, specs or {}, Assumptions(judge_latency=10))
        return found

    assert [load("elimination", count).seconds for count in (2, 3, 4, 5, 8)] == [10, 30, 30, 40, 40]
    assert load("elimination", 8).latency == 40, "the wait after the last response, at least"
    assert [load(by, 8).seconds for by in ("peer", "list", "round-robin", "anchors")] == [10] * 4
    assert load("list", 8, curriculum={"promote_by": "sample"}).seconds == 20, "the best is known after the list"
    narrow = load("elimination", 8, {"a": _spec(concurrency=13)})
    assert (narrow.seconds, narrow.bound) == (100, "concurrency"), "130 questions, 13 at once"
    wide = load("elimination", 8, {"a": _spec(concurrency=130)})
    assert (wide.seconds, wide.bound) == (40, "latency")


def test_a_run_is_counted_by_judge_with_its_price():
    rewards = [{"kind": "pairwise", "judge": "a"}, {"kind": "pointwise", "judge": "a"}]
    specs = {"a": _spec(prices={"prompt": 2, "completion": 10})}
    (load,) = reward_loads(_recipe(rewards), LENGTHS, specs, Assumptions(answer_tokens=100))
    # 20 rollouts a step; a comparison reads 300 + 900 + 800 tokens, a grade 200 + 800
    assert load.calls == 45 * 20 * 2
    assert load.prompt_tokens == 45 * 20 * (2000 + 1000)
    assert load.completion_tokens == 1800 * 100
    assert load.cost == pytest.approx((2 * 2_700_000 + 10 * 180_000) / 1e6)


def test_validation_is_graded_before_between_and_after():
    validation = {"prompts": "v.jsonl", "every": 20, "judge": "e"}
    recipe = _recipe([{"kind": "pairwise", "judge": "a"}], validation=validation)
    assert validations(recipe) == 4, "before the first step, after 20, 40 and 45"
    load = validation_load(recipe, LENGTHS, {}, Assumptions())
    assert load is not None
    assert (load.calls, load.prompt_tokens, load.cost) == (4 * 50, 4 * 50 * 1000, None)
    assert validation_load(_recipe([{"kind": "pairwise", "judge": "a"}]), LENGTHS, {}, Assumptions()) is None


def test_a_served_reward_model_reads_request_and_answer_and_writes_nothing():
    rewards = [{"kind": "length"}, {"kind": "writing", "model": ["x", "y"], "endpoint": ["a", "b"]}]
    prices = {"prompt": 2, "completion": 10}
    loads = reward_loads(_recipe(rewards), LENGTHS, {"a": _spec(prices=prices)}, Assumptions())
    assert [(it.name, it.calls, it.prompt_tokens, it.completion_tokens) for it in loads] == [
        ("a", 900, 900 * (100 + 800), 0),
        ("b", 900, 900 * (100 + 800), 0),
    ]
    assert loads[0].cost == pytest.approx(2 * 810_000 / 1e6)
    assert (loads[0].seconds, loads[0].bound) == (2, "concurrency"), "20 texts, 16 at once, a second each"
    (limited, _) = reward_loads(_recipe(rewards), LENGTHS, {"a": _spec(tpm=18_000)}, Assumptions())
    assert (limited.seconds, limited.bound) == (60, "tpm")


@pytest.mark.parametrize(
    ("limits", "seconds", "bound"),
    [
        ({"concurrency": 100}, 10, "latency"),
        ({"concurrency": 16}, 70, "concurrency"),  # 7 rounds
        ({"concurrency": 100, "rpm": 60}, 100, "rpm"),
        ({"concurrency": 100, "rpm": 60, "tpm": 100_000}, 60 * 302_400 / 100_000, "tpm"),
    ],
)
def test_the_tightest_limit_holds_a_step_back(limits, seconds, bound):
    found = judge_seconds(_spec(**limits), calls=100, admitted=302_400, latency=10)
    assert found == (pytest.approx(seconds), bound)


def test_a_judge_without_price_or_file_is_said(tmp_path):
    recipe = _recipe([{"kind": "pairwise", "judge": "a"}], models=tmp_path / "models.yaml")
    specs, notes = find_specs(recipe)
    assert not specs
    assert "models.yaml does not exist: prices are unknown" in notes[0]
    entry = {"base_url": "http://localhost:1/v1", "model": "m"}
    (tmp_path / "models.yaml").write_text(yaml.safe_dump({"a": entry}))
    specs, notes = find_specs(recipe)
    assert set(specs) == {"a"}
    assert "has no prices for a" in notes[0]
    (tmp_path / "models.yaml").write_text(yaml.safe_dump({"b": entry}))
    with pytest.raises(BadInputError, match="has no model 'a'"):
        find_specs(recipe)


def test_grading_by_each_criterion_is_a_call_for_each():
    reward = PointwiseSettings(kind="pointwise", judge="a", samples=2, per_criterion=True)
    assert step_calls(reward, rollouts=16, criteria=5.0) == {"a": 16 * 2 * 5}
    lengths = replace(LENGTHS, criteria=5.0, criterion_frame=150)
    rewards = [{"kind": "pointwise", "judge": "a", "per_criterion": True}]
    validation = {"prompts": "v.jsonl", "every": 45, "judge": "e", "per_criterion": True}
    recipe = _recipe(rewards, validation=validation)
    (load,) = reward_loads(recipe, lengths, {}, Assumptions())
    assert (load.calls, load.prompt_tokens) == (45 * 20 * 5, 45 * 20 * 5 * (150 + 800))
    examined = validation_load(recipe, lengths, {}, Assumptions())
    assert examined is not None and examined.calls == 2 * 50 * 5


def test_an_estimate_says_what_it_assumes_and_what_it_does_not_count(tmp_path):
    by = [{"kind": "group", "judge": "a", "by": name} for name in ("elimination", "anchors")]
    given = Assumptions(parameters=1e8, tokens_per_prompt=100, tokens_per_response=1000)

    def notes(rewards, **sections):
        return " / ".join(estimate_run(_recipe(rewards, models=str(tmp_path / "models.yaml"), **sections), given).notes)

    assert "elimination asks 2n - 3 questions for n responses" in notes(by[:1], method="grpo")
    assert "a prompt has 3 rungs around its current one" in notes(by[1:], method="grpo")
    assert "models.yaml does not exist: prices are unknown" in notes(by[:1], method="grpo")
    data = {"prompts": "p.jsonl", "per_step": 10, "group": 4}
    rewards = [{"kind": "writing", "model": "a/model"}, {"kind": "likelihood"}]
    said = notes(rewards, method="grpo", data=data, generation={"think": "on"}, optim={"resample": 2})
    for note in (
        "the passes of the reward model are not counted",
        "the passes of the likelihood reward's model are not counted",
        "up to 2 rounds of dynamic sampling per step are not counted",
        "a decoding step of transformers takes",
    ):
        assert note in said, note
    assert "a judge answers after" not in said and "models.yaml does not exist" not in said
    served = notes(rewards[:1], method="grpo", data=data, generation={"engine": "vllm"})
    assert "a decoding step of vllm takes" in served


def test_grading_without_criteria_too_is_a_second_call_for_each_prompt():
    validation = {"prompts": "v.jsonl", "judge": "e", "without_criteria": True}
    both, one = (
        validation_load(_recipe([{"kind": "pairwise", "judge": "a"}], validation=it), LENGTHS, {}, given=Assumptions())
        for it in (validation, {**validation, "without_criteria": False})
    )
    assert both is not None and one is not None
    assert (both.calls, both.prompt_tokens) == (2 * one.calls, 2 * one.prompt_tokens)
