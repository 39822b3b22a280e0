"""All rewards of a recipe on one response."""

import asyncio

from longform.records.schemas import Prompt
from longform.rewards.reward import RewardResult
from longform.rewards.reward_set import RewardSet, build_rewards
from longform.rewards.settings import FormatSettings, LengthSettings

PROMPT = Prompt(id="p", prompt="Write.", length_range=(2, 4))


def _score(rewards, response):
    return asyncio.run(rewards.score(PROMPT, response=response, reference="", step=1))


class Fixed:
    def __init__(self, rewarded):
        self.rewarded = rewarded

    async def score(self, prompt, *, response, reference, step):
        return self.rewarded


def test_measured_rewards_see_the_answer_and_its_structure():
    settings = [LengthSettings(kind="length"), FormatSettings(kind="format")]
    rewards = build_rewards(settings, {}, secret=b"", seed=0)
    sheet = _score(rewards, "<think>A plan of many words.</think><answer>Once upon a time.</answer>")
    assert sheet.scores == {"length": 1.0, "format": 1.0}
    assert sheet.response.think == "A plan of many words."
    assert _score(rewards, "Once upon a time.").scores == {"length": 0.0, "format": 0.0}


def test_one_silent_reward_silences_the_sheet_and_says_why():
    silent, heard = RewardResult(None, None, "timeout", calls=("a",)), RewardResult(1.0, "win", calls=("b", "c"))
    sheet = _score(RewardSet({"pointwise": Fixed(silent), "pairwise": Fixed(heard)}), "text")
    assert (sheet.scores, sheet.cause, sheet.outcome) == (None, "timeout", "win")
    assert sheet.calls == ("a", "b", "c")


def test_scores_stand_in_the_order_of_the_recipe():
    fixed = {kind: Fixed(RewardResult(score)) for kind, score in (("length", 0.1), ("pairwise", 0.2), ("format", 0.3))}
    scores = _score(RewardSet(fixed), "text").scores
    assert scores is not None
    assert list(scores.items()) == [("length", 0.1), ("pairwise", 0.2), ("format", 0.3)]
