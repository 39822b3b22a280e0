"""Rewards that are for the prompts of some sources alone: their weight is left out of the mean of the others."""

import asyncio
import math

import numpy as np
import pytest

from longform.curriculum.schedule import Curriculum, PromptDraw
from longform.curriculum.settings import CurriculumSettings
from longform.records.schemas import Prompt, with_source
from longform.rewards.reward import RewardResult, missing_cause
from longform.rewards.reward_set import RewardSet, build_rewards
from longform.rewards.settings import AnswerSettings, FormatSettings
from longform.rl.group_advantages import EPSILON, group_advantages
from longform.steps.metrics import by_reward_metrics, finalize_step
from longform.text.structure import ParsedResponse

NAN = math.nan


class Counting:
    """A reward that counts how often it is computed."""

    def __init__(self):
        self.prompts = []

    async def score(self, prompt, *, response, reference, step):
        self.prompts.append(prompt.id)
        return RewardResult(0.5)


def test_a_reward_is_computed_for_the_prompts_of_its_sources_alone():
    everywhere, tasks = Counting(), Counting()
    rewards = RewardSet({"format": everywhere, "answer": tasks}, {"answer": ["tasks"]})
    response = ParsedResponse("", "text", True)
    kinds = []
    for source in ("tasks", "stories"):
        prompt = with_source(Prompt(id=source, prompt="?"), source)
        found = asyncio.run(rewards.score(prompt, response=response, reference="", step=1))
        kinds.append(list(found))
        assert missing_cause(found) is None
    assert kinds == [["format", "answer"], ["format"]]
    assert (everywhere.prompts, tasks.prompts) == (["tasks", "stories"], ["tasks"])


def test_the_settings_of_a_recipe_name_the_sources():
    settings = [FormatSettings(kind="format"), AnswerSettings(kind="answer", form="choice", sources=["tasks"])]
    rewards = build_rewards(settings, {}, secret=b"", seed=0)
    prompt = Prompt(id="p", prompt="?", meta={"answer": "B"})
    response = ParsedResponse("", "Answer: B", True)
    for source, kinds in (("tasks", ["format", "answer"]), ("stories", ["format"])):
        row = with_source(prompt, source)
        assert list(asyncio.run(rewards.score(row, response=response, reference="", step=1))) == kinds
    stored = Prompt.model_validate_json(with_source(prompt, "tasks").model_dump_json())
    assert "answer" in asyncio.run(rewards.score(stored, response=response, reference="", step=1)), (
        "it travels in the row"
    )


def test_the_mean_of_a_response_is_over_its_own_rewards():
    results = [
        {"a": RewardResult(1.0), "b": RewardResult(0.0)},
        {"a": RewardResult(0.4)},
        {"b": RewardResult(0.25)},
        {"b": RewardResult(None, cause="timeout")},
    ]
    draws = [PromptDraw(index, 0) for index in range(4)]
    course = Curriculum([1] * 4, [0] * 4, CurriculumSettings(), seed=0, steps=1)
    closed = finalize_step(results, draws, [""] * 4, course, weights=[3.0, 1.0], kinds=["a", "b"])
    assert closed.scores.tolist()[:3] == pytest.approx([0.75, 0.4, 0.25])
    assert closed.mask.tolist() == [True, True, True, False], "what does not apply is not missing"
    np.testing.assert_array_equal(closed.by_reward[:3], [[1.0, 0.0], [0.4, NAN], [NAN, 0.25]])


@pytest.mark.parametrize("how", ["balanced", "summed"])
def test_a_groups_advantages_are_those_that_its_own_rewards_alone_would_give(how):
    rng = np.random.default_rng(0)
    scores = rng.random((3, 5, 3))
    scores[0, :, 1] = NAN
    scores[1, :, :2] = NAN
    mask = rng.random((3, 5)) < 0.8
    mask[:, :2] = True
    weights, required = [1.0, 2.0, 5.0], [0.5, 0.5, None]
    found = group_advantages(scores, mask, weights=weights, how=how, required=required)
    for group, kept in enumerate(([0, 2], [2], [0, 1, 2])):
        alone = group_advantages(
            scores[group : group + 1, :, kept],
            mask[group : group + 1],
            weights=[weights[k] for k in kept],
            how=how,
            required=[required[k] for k in kept],
        )
        np.testing.assert_allclose(found.advantages[group], alone.advantages[0], atol=1e-12)
        assert found.informative[group] == alone.informative[0]


def test_one_reward_alone_gives_its_standard_scores():
    scores = np.array([[[1.0, NAN], [0.0, NAN]]])
    found = group_advantages(scores, np.ones((1, 2), dtype=bool), weights=[1.0, 9.0], how="balanced")
    expected = 0.5 / (0.5**0.5 + EPSILON)
    np.testing.assert_allclose(found.advantages, [[expected, -expected]])


def test_metrics_of_a_reward_are_over_the_responses_that_it_is_for():
    by_reward = np.array([[[1.0, NAN], [0.0, NAN]], [[0.5, 0.2], [0.5, 0.6]]])
    metrics = by_reward_metrics(by_reward, np.ones((2, 2), dtype=bool), kinds=["a", "b"], weights=[1.0, 1.0])
    assert metrics["reward/a/mean"] == pytest.approx(0.5)
    assert metrics["reward/b/mean"] == pytest.approx(0.4)
    assert metrics["reward/a/spread"] == pytest.approx(0.5**0.5 / 2)
    assert metrics["reward/b/spread"] == pytest.approx(0.4 / 2**0.5)
    # Within groups, a moves the sum by 1/2 and -1/2, b by half of 0.2 and -0.2: 0.5 of 0.52 and 0.02 of 0.52.
    assert metrics["reward/a/share"] == pytest.approx(0.5 / 0.52)
    assert metrics["reward/b/share"] == pytest.approx(0.02 / 0.52)
    nowhere = by_reward_metrics(by_reward[:1], np.ones((1, 2), dtype=bool), kinds=["a", "b"], weights=[1.0, 1.0])
    assert "reward/b/mean" not in nowhere
