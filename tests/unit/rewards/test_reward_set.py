"""All rewards of a recipe on one response."""

import asyncio

from longform.records.schemas import Prompt
from longform.rewards.reward import RewardResult, calls_of, missing_cause, outcome_of, scores_by_kind
from longform.rewards.reward_set import RewardSet, build_rewards
from longform.rewards.settings import FormatSettings, LengthSettings
from longform.text.structure import parse_response

PROMPT = Prompt(id="p", prompt="Write.", length_range=(2, 4))


def _score(rewards, response):
    return asyncio.run(rewards.score(PROMPT, response=parse_response(response, "on"), reference="", step=1))


class Fixed:
    def __init__(self, rewarded):
        self.rewarded = rewarded

    async def score(self, prompt, *, response, reference, step):
        return self.rewarded


def test_measured_rewards_see_the_answer_and_its_structure():
    settings = [LengthSettings(kind="length"), FormatSettings(kind="format")]
    rewards = build_rewards(settings, {}, secret=b"", seed=0)
    results = _score(rewards, "<think>A plan of many words.</think><answer>Once upon a time.</answer>")
    assert scores_by_kind(results) == {"length": 1.0, "format": 1.0}
    assert scores_by_kind(_score(rewards, "Once upon a time.")) == {"length": 0.0, "format": 0.0}


def test_one_missing_score_masks_the_rollout_and_names_the_cause():
    missing, given = RewardResult(None, None, "timeout", calls=("a",)), RewardResult(1.0, "win", calls=("b", "c"))
    results = _score(RewardSet({"pointwise": Fixed(missing), "pairwise": Fixed(given)}), "text")
    assert (scores_by_kind(results), missing_cause(results), outcome_of(results)) == (None, "timeout", "win")
    assert calls_of(results) == ("a", "b", "c")


def test_scores_stand_in_the_order_of_the_recipe():
    fixed = {kind: Fixed(RewardResult(score)) for kind, score in (("length", 0.1), ("pairwise", 0.2), ("format", 0.3))}
    scores = scores_by_kind(_score(RewardSet(fixed), "text"))
    assert scores is not None
    assert list(scores.items()) == [("length", 0.1), ("pairwise", 0.2), ("format", 0.3)]
