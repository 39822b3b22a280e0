"""Rewards on scales of their own are the usual ones times the scale."""

import asyncio

import pytest

from longform.miniature.judge import JUDGE, pointwise_score
from longform.miniature.raw_rewards import length, writing
from longform.miniature.world import parse_request, prompts
from longform.miniature.writers import write_story
from longform.rewards.measured import LengthReward
from longform.text.structure import ParsedResponse

PROMPT = prompts(seed=1, split="train", count=1)[0]


@pytest.mark.parametrize("level", ["novice", "master"])
@pytest.mark.parametrize("scale", [1.0, 10.0])
def test_the_length_is_the_length_reward_times_the_scale(level, scale):
    story = write_story(parse_request(PROMPT.request), level=level)
    usual = asyncio.run(
        LengthReward().score(PROMPT, response=ParsedResponse("", story, True), reference="", step=1)
    ).score
    assert PROMPT.length_range is not None
    found = length(PROMPT.request, story, "", length_range=PROMPT.length_range, scale=scale)
    assert usual is not None
    assert found == pytest.approx(scale * usual)


def test_the_writing_is_the_judges_grade_from_0_to_the_scale():
    request = parse_request(PROMPT.request)
    story = write_story(request, level="master")
    grade = pointwise_score(request, story, JUDGE, dimension="all")
    assert writing(PROMPT.request, story, "", scale=20.0) == pytest.approx(20 * (grade - 1) / 9)
    assert writing(PROMPT.request, "nothing", "", scale=20.0) < 5
