import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from longform.judging.answers import fence_tag
from longform.judging.pairwise import ask_pairwise
from longform.judging.rewriting import ask_revision
from longform.miniature.server import MODELS, serve, serve_in_background
from longform.miniature.world import parse_request, prompts
from longform.miniature.writers import revise_story, write_story
from longform.records.errors import BadInputError

(PROMPT,) = prompts(seed=5, split="train", count=1)


@pytest.fixture(scope="module")
def base_url():
    with serve_in_background() as address:
        yield address


def ask(base_url, **body):
    request = urllib.request.Request(
        f"{base_url}/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.load(response)


def say(text):
    return [{"role": "user", "content": text}]


def test_the_models_are_listed(base_url):
    with urllib.request.urlopen(f"{base_url}/models", timeout=10) as response:
        assert [model["id"] for model in json.load(response)["data"]] == list(MODELS)


def test_a_writer_writes_the_story_of_its_level_and_reports_usage(base_url):
    answer = ask(base_url, model="miniature-novice", messages=say(PROMPT.request), seed=3)
    story = write_story(parse_request(PROMPT.request), level="novice", sample=3)
    assert answer["choices"][0]["message"]["content"] == story
    assert answer["choices"][0]["finish_reason"] == "stop"
    usage = answer["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["completion_tokens"] >= len(story.split())


def test_a_writer_asked_to_fit_a_text_to_a_request_revises_it(base_url):
    story, request = write_story(parse_request(PROMPT.request), level="master"), "Write a story."
    message = ask_revision(request, story, tag=fence_tag(b"key", PROMPT.id, 0))
    answer = ask(base_url, model="miniature-master", messages=say(message))
    assert answer["choices"][0]["message"]["content"] == revise_story(story, request) != story


def test_judge_and_examiner_answer_a_judging_message(base_url):
    request = parse_request(PROMPT.request)
    good, bad = write_story(request, level="master"), "I do not know."
    message = ask_pairwise(PROMPT, text_a=bad, text_b=good, tag=fence_tag(b"key", PROMPT.id, 1))
    for model in ("miniature-judge", "miniature-examiner"):
        assert "[[B]]" in ask(base_url, model=model, messages=say(message))["choices"][0]["message"]["content"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"model": "gpt-17", "messages": say("hello")}, 404),
        ({"model": "miniature-novice", "messages": say("Write a poem.")}, 400),
        ({"model": "miniature-judge", "messages": say("Which is better?")}, 400),
        ({"model": "miniature-judge", "messages": []}, 400),
        ({"model": "miniature-judge"}, 400),
        ({"model": "miniature-judge", "messages": [1]}, 400),
        ([], 400),
    ],
)
def test_what_cannot_be_answered_is_an_error_of_the_protocol(base_url, body, status):
    request = urllib.request.Request(f"{base_url}/chat/completions", json.dumps(body).encode())
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(request, timeout=10)
    with raised.value as error:
        assert error.code == status
        assert json.load(error)["error"]["message"]


def test_latency_is_waited():
    with serve_in_background(latency_seconds=0.2) as address:
        began = time.perf_counter()
        ask(address, model="miniature-novice", messages=say(PROMPT.request))
        assert time.perf_counter() - began >= 0.2


def test_a_taken_port_is_named():
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(BadInputError, match="--port"):
        serve(port=taken.getsockname()[1])


def test_a_child_that_cannot_start_is_an_error_of_one_line(capfd):
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(BadInputError, match="did not start"),
        serve_in_background(port=taken.getsockname()[1]),
    ):
        pass
    assert "--port" in capfd.readouterr().err


def test_the_server_ends_with_a_killed_parent():
    program = (
        "import time; from longform.miniature.server import serve_in_background\n"
        "with serve_in_background() as address: print(address, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        port = int(parent.stdout.readline().strip().removesuffix("/v1").rsplit(":", 1)[1])
        os.kill(parent.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while answers(port):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def answers(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
