"""The examples do what they say."""

import sys
from pathlib import Path

import pytest

from longform.records.schemas import Prompt
from longform.rewards.plugin import try_rewards
from longform.rewards.settings import PluginRewardSettings

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(autouse=True)
def in_examples(monkeypatch):
    monkeypatch.chdir(EXAMPLES)
    monkeypatch.setattr(sys, "path", [str(EXAMPLES), *sys.path])


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_loop_learns_and_climbs_the_whole_ladder(seed):
    from rl_loop import LADDER, train  # pyright: ignore[reportMissingImports]

    history = train(seed=seed, steps=30)
    assert max(it.reward for it in history[:3]) < 0.35
    assert min(it.reward for it in history[-3:]) > 0.75
    assert history[-1].rung == len(LADDER) - 1
    assert history[0].rung < 1


def test_the_loop_is_repeatable():
    from rl_loop import train  # pyright: ignore[reportMissingImports]

    assert train(seed=5, steps=3) == train(seed=5, steps=3)


def test_the_rewards_are_rewards():
    prompt = Prompt(id="1", prompt="Write a dialogue that is a testament to rain")
    rewards = [
        PluginRewardSettings(kind="own_reward:dialogue"),
        PluginRewardSettings(kind="own_reward:BannedPhrases", settings={"phrases": ["Tapestry", "testament to"]}),
    ]
    first, second = try_rewards(rewards, prompt)
    assert "returned 0 for" in first
    assert "returned 0.9 for" in second
