"""What a step is in numbers: answers that hold words, plans of sound responses, the parts that rewards have in their sum."""

import numpy as np
import pytest

from longform.monitors.keywords import JudgedText
from longform.recipe.recipe import Recipe
from longform.records.database import RolloutRecord, ValidationText
from longform.records.schemas import Prompt
from longform.rewards.reward import RewardResult
from longform.rl.group_advantages import GroupAdvantages
from longform.steps.metrics import (
    StepScores,
    by_reward_metrics,
    diversity_metrics,
    grade_error,
    group_metrics,
    judged_texts,
    step_metrics,
)
from longform.text.structure import parse_response
from longform.text.words import count_words

STORY = "Amber rivers carried seven painted boats towards the silent harbour while children slept."


def _recipe(*, think="off", group=2, **more):
    return Recipe.model_validate(
        {
            "method": "grpo",
            "policy": "start",
            "data": {"prompts": "prompts.jsonl", "per_step": 2, "group": group},
            "rewards": [{"kind": "length"}, {"kind": "format"}],
            "generation": {"max_tokens": 8, "think": think},
            "run": {"name": "run", "steps": 1},
            **more,
        }
    )


def _metrics(texts, recipe, *, scores=None, reference="", length_range=None):
    """Of four rollouts, two each of two prompts."""
    prompts = [Prompt(id=f"p{n}", prompt="Write a story about boats.", length_range=length_range) for n in range(2)]
    answers = [parse_response(text, recipe.generation.think).answer for text in texts]
    rollouts = [
        RolloutRecord(1, n, f"p{n // 2}", 0, text, reference, 3, count_words(answer), 0, "stop", None, None, 0.5)
        for n, (text, answer) in enumerate(zip(texts, answers, strict=True))
    ]
    scores = scores or [(1.0, 1.0)] * len(texts)
    results = [{"length": RewardResult(length), "format": RewardResult(form)} for length, form in scores]
    responses = [parse_response(text, recipe.generation.think) for text in texts]
    by_reward = np.array(scores)
    step = StepScores(results, by_reward, by_reward.mean(1).astype(np.float32), np.ones(len(texts), dtype=bool), [])
    return step_metrics(rollouts, [prompts[n // 2] for n in range(4)], responses, step, recipe)


def test_answers_without_a_word_neither_repeat_nor_copy():
    doubled = f"<think>Boats.</think><answer>{STORY} {STORY}</answer>"
    metrics = _metrics([doubled, "", "boats", doubled], _recipe(think="on"), reference=STORY)
    assert metrics["text/repeated_sentences"] == 0.5, "of the two answers, not of the four responses"
    assert metrics["text/copied_from_reference"] == 1.0
    assert metrics["text/copied_from_prompt"] == 0.0
    assert metrics["text/words"] == 13, "two answers of 26 words, and two of none"
    empty = _metrics([""] * 4, _recipe(think="on"))
    assert "text/repetition" not in empty


def test_plans_are_counted_in_well_formed_responses():
    sound = f"<think>Boats, and then sleep.</think><answer>{STORY}</answer>"
    metrics = _metrics([sound, f"<think>{STORY}</think>", "", ""], _recipe(think="on"))
    assert (metrics["text/structure"], metrics["text/think_words"]) == (0.25, 4)
    direct = _metrics([f"<answer>{STORY}</answer>"] * 4, _recipe(think="direct"))
    assert direct["text/structure"] == 1
    assert "text/think_words" not in direct
    assert "text/structure" not in _metrics([STORY] * 4, _recipe())


def test_rewording_stuffing_and_copying_are_measured():
    again = (
        f"{STORY} While children slept, seven painted boats were carried by amber rivers towards the silent harbour."
    )
    metrics = _metrics([again, STORY, "boat " * 20, "Write a story about boats."], _recipe())
    assert metrics["text/redundancy"] == 0.5 / 4
    assert metrics["text/stuffing"] == pytest.approx(14 / 20 / 4)
    assert metrics["text/copied_from_prompt"] == 0.25
    assert "text/copied_from_reference" not in metrics, "there is none"


def test_likeness_is_measured_over_the_step_and_among_the_responses_to_a_prompt():
    """Two prompts of two responses each."""
    other = "Nobody ever saw how grey clouds gathered above seven empty chairs."
    apart = _metrics([STORY, STORY, other, other], _recipe())
    assert apart["text/group_self_bleu"] == pytest.approx(1)
    assert apart["text/self_bleu"] == pytest.approx(1), "every text has its copy"
    crossed = _metrics([STORY, other, STORY, other], _recipe())
    assert crossed["text/group_self_bleu"] < 0.1
    assert crossed["text/group_distinct"] == pytest.approx(1)
    assert crossed["text/distinct"] == pytest.approx(0.5)
    assert crossed["text/self_bleu"] == pytest.approx(1)
    assert "text/self_bleu" not in _metrics([STORY, "", "", ""], _recipe())


def test_of_a_large_step_responses_to_different_prompts_are_compared_first():
    """64 prompts with 32 responses each: the first responses of 32 prompts are compared, not one group."""
    answers = [f"w{prompt} x{prompt} y{prompt} z{prompt}" for prompt in range(64) for _ in range(32)]
    found = diversity_metrics(answers, [str(prompt) for prompt in range(64) for _ in range(32)])
    assert found["text/distinct"] == 1
    assert found["text/self_bleu"] < 0.1
    assert found["text/group_self_bleu"] == pytest.approx(1)


def test_the_range_counts_where_prompts_have_one():
    assert _metrics([STORY, STORY, "boats", ""], _recipe(), length_range=(10, 20))["text/in_range"] == 0.5
    assert "text/in_range" not in _metrics([STORY] * 4, _recipe())


def test_the_largest_share_is_told_where_rewards_are_summed():
    scores = [(1.0, 0.5), (0.0, 0.5), (1.0, 0.4), (0.0, 0.6)]
    summed = _metrics([STORY] * 4, _recipe(advantages="summed"), scores=scores)
    assert summed["reward/largest_share"] == summed["reward/length/share"] > 1, "format works against the sum"
    assert "reward/largest_share" not in _metrics([STORY] * 4, _recipe(), scores=scores)
    ppo = {"method": "ppo", "data": {"prompts": "prompts.jsonl", "per_step": 4}}
    assert "reward/largest_share" in _metrics([STORY] * 4, _recipe(**ppo), scores=scores)


def test_the_parts_of_the_sum_are_what_they_are_by_hand():
    by_reward = np.array([[[1.0, 0.2], [0.0, 0.2]], [[0.5, 0.0], [9.0, 9.0]]])
    mask = np.array([[True, True], [True, False]])
    metrics = by_reward_metrics(by_reward, mask, kinds=["length", "format"], weights=[1.0, 3.0])
    assert metrics["reward/length/mean"] == pytest.approx(0.5)
    assert metrics["reward/format/mean"] == pytest.approx(0.4 / 3)
    # The first group's deviations of length are 1/2 and -1/2: root of 1/2; the second has one response.
    assert metrics["reward/length/spread"] == pytest.approx(0.5**0.5 / 2)
    assert (metrics["reward/length/share"], metrics["reward/format/share"]) == pytest.approx((1.0, 0.0))
    assert by_reward_metrics(by_reward, np.zeros_like(mask), kinds=["length", "format"], weights=[1.0, 3.0]) == {}


def test_shares_of_the_sum_add_up_to_one():
    by_reward = np.random.default_rng(0).random((6, 4, 3))
    metrics = by_reward_metrics(by_reward, np.ones((6, 4), dtype=bool), kinds=["a", "b", "c"], weights=[1.0, 2.0, 0.5])
    assert sum(metrics[f"reward/{kind}/share"] for kind in "abc") == pytest.approx(1.0)


def test_groups_that_are_skipped_are_not_counted_as_without_spread():
    mask = np.array([[True, True], [False, False], [True, True], [True, True]])
    groups = GroupAdvantages(np.zeros((4, 2)), mask, np.array([True, False, False, False]))
    assert group_metrics(groups) == {"group/skipped": 0.25, "group/without_spread": 0.5}


def test_the_tally_of_keywords_gets_the_answers_alone():
    whole = "<think>Boats.</think><answer>Rivers.</answer>"
    record = RolloutRecord(1, 0, "p0", 0, whole, "", 3, 1, 1, "stop", None, None, 0.5)
    assert judged_texts([record], {"p0": "Write."}.__getitem__, thinking="on") == [JudgedText("Rivers.", "Write.", 0.5)]


def _validated(*grades):
    return [ValidationText(1, str(n), "Write.", "text", grade) for n, grade in enumerate(grades)]


def test_the_error_of_a_mean_grade_counts_the_texts_that_have_one():
    # Sample deviation of 2, 4, 6: 2; over the root of 3.
    assert grade_error(_validated(2.0, None, 4.0, 6.0)) == {"validation/grade_error": pytest.approx(2 / 3**0.5)}


@pytest.mark.parametrize("grades", [(), (5.0,), (5.0, None)])
def test_one_grade_has_no_error_to_speak_of(grades):
    assert grade_error(_validated(*grades)) == {}
