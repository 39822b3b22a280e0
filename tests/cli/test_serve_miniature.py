import asyncio
import subprocess
import sys

import pytest

from longform.endpoints.client import Endpoint
from longform.endpoints.models import ModelSpec
from longform.judging.pairwise import PairwiseJudge
from longform.miniature.judge import JUDGE
from longform.miniature.world import parse_request, prompts
from longform.miniature.writers import write_story
from longform.records.calls import MemoryCallLog


@pytest.fixture
def biased_judge():
    """The served judge, made to prefer the first text whatever it says."""
    command = [sys.executable, "-m", "longform", "serve-miniature", "--position-bias", "9", "--noise", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield ModelSpec(base_url=process.stdout.readline().strip(), model="miniature-judge")
        process.terminate()


def test_position_bias_and_noise_of_the_served_judge_can_be_set(biased_judge):
    (row,) = prompts(seed=1, split="train", count=1)
    novice, master = (write_story(parse_request(row.request), level=level) for level in ("novice", "master"))

    async def ask():
        async with Endpoint("judge", biased_judge, call_log=MemoryCallLog()) as endpoint:
            judge = PairwiseJudge(endpoint, position="first", secret=b"s")
            return await judge.compare(row, response=novice, reference=master, step=1)

    assert asyncio.run(ask()).value == "win"


def test_the_flags_stand_at_the_judge_of_the_quickstart():
    from inspect import signature

    from longform.cli.serve_miniature import serve_miniature

    defaults = {name: it.default for name, it in signature(serve_miniature).parameters.items()}
    assert (defaults["noise"], defaults["position_bias"]) == (JUDGE.noise, JUDGE.position_bias)
