import asyncio
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from longform.endpoints.client import Endpoint
from longform.endpoints.models import ModelSpec, read_models
from longform.judging.pairwise import PairwiseJudge
from longform.miniature.judge import JUDGE
from longform.miniature.world import parse_request, prompts
from longform.miniature.writers import write_story
from longform.records.calls import MemoryCallLog


@pytest.fixture
def biased_judge():
    """The served judge, made to prefer the first text whatever it says."""
    command = [sys.executable, "-m", "longform", "serve-miniature", "--position-bias", "9", "--noise", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield ModelSpec(base_url=process.stdout.readline().strip(), model="miniature-judge")
        process.send_signal(signal.SIGINT)
        assert (process.wait(10), process.stderr and process.stderr.read()) == (0, ""), "Ctrl-C is the way to end it"


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


def _status(request: urllib.request.Request) -> int:
    """The status of an answer; the address is printed a moment before the server accepts."""
    for _ in range(100):
        try:
            return urllib.request.urlopen(request).status
        except urllib.error.HTTPError as error:
            return error.code
        except urllib.error.URLError:
            time.sleep(0.1)
    raise AssertionError("the server does not answer")


def test_it_prints_a_models_yaml_and_answers_only_to_the_names_of_the_loopback(tmp_path):
    command = [sys.executable, "-m", "longform", "serve-miniature"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        try:
            shown = [server.stdout.readline() for _ in range(40)]
            address = shown[0].strip()
            start = next(number for number, line in enumerate(shown) if line.startswith("judge:"))
            (tmp_path / "models.yaml").write_text("".join(it for it in shown[start:] if it.strip()))
            assert read_models(tmp_path / "models.yaml")["judge"].base_url == address
            for host, status in (("127.0.0.1", 200), ("localhost", 200), ("evil.example.org", 400)):
                request = urllib.request.Request(f"{address}/models", headers={"Host": host})
                answered = _status(request)
                assert answered == status, host
        finally:
            server.kill()
