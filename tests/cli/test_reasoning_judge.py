"""A judge that thinks for 3,000 tokens before its answer grades, compares, filters, predicts lengths and is audited.

Each question is paid once."""

import asyncio
import json
from collections import Counter
from pathlib import Path

import pytest

from longform.cli import main
from longform.endpoints.client import Endpoint
from longform.endpoints.models import read_models
from longform.judging.requests import CRITERIA
from longform.records.calls import SqliteCallLog
from longform.records.schemas import Prompt
from longform.rewards.reward_set import build_rewards
from longform.rewards.settings import PairwiseSettings
from longform.text.structure import parse_response

THOUGHT_TOKENS = 3000
THOUGHTS = 'First I thought [[A]] and {"scores": {"style": 1}} and {"range": [0, 0]}. ' * 20


def _answer(question: str) -> str:
    if "[[X]]" in question:
        return "TEXT B is finer.\n[[B]]"
    if '"range"' in question:
        return '{"range": [800, 1000]}'
    if '"writing"' in question:
        return json.dumps(dict.fromkeys(CRITERIA, True))
    return '{"scores": {"style": 7}}'


@pytest.fixture(params=["a field of its own", "tags", "no opening tag"])
def server(request, serve, reply, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def script(asked, number):
        allowed = asked["max_tokens"]
        usage = {
            "prompt_tokens": 100,
            "completion_tokens": min(allowed, THOUGHT_TOKENS + 20),
            "completion_tokens_details": {"reasoning_tokens": min(allowed, THOUGHT_TOKENS)},
        }
        finish, text = "stop", _answer(asked["messages"][-1]["content"])
        if allowed < THOUGHT_TOKENS:
            finish, text = "length", ""
        message: dict[str, str | None] = {"content": text, "reasoning_content": THOUGHTS}
        if request.param != "a field of its own":
            closing = "" if finish == "length" else "\n</think>\n\n"
            opening = "" if request.param == "no opening tag" and finish == "stop" else "<think>\n"
            message = {"content": f"{opening}{THOUGHTS}{closing}{text}"}
        body = {"choices": [{"index": 0, "message": message, "finish_reason": finish}], "usage": usage}
        return reply(body=json.dumps(body))

    server = serve(script)
    entry = {"base_url": server.url, "model": "thinker", "max_tokens": 8000, "prices": {"prompt": 1, "completion": 2}}
    Path("models.yaml").write_text(json.dumps({"judge": entry, "short": entry | {"max_tokens": 1024}}))
    prompts = [
        {"id": f"p{i}", "prompt": f"Write a long report {i}.", "criteria": [{"name": "style"}]} for i in range(3)
    ]
    _write("prompts.jsonl", prompts)
    for model in ("old", "new"):
        _write(
            f"{model}.jsonl", [{"prompt_id": f"p{i}", "model": model, "text": f"{model} text {i}"} for i in range(3)]
        )
    pairs = [
        {"id": f"p{i}", "prompt": f"Write {i}.", "response_a": "one", "response_b": "two", "label": "b"}
        for i in range(3)
    ]
    _write("pairs.jsonl", pairs)
    return server


def _write(path, rows):
    Path(path).write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def _run(command: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(command.split())
    return int(stopped.value.code or 0)


COMMANDS = {
    "grade": "grade old.jsonl --prompts prompts.jsonl --judge judge --out grades.jsonl",
    "filter": "filter prompts.jsonl --judge judge --out kept.jsonl",
    "lengths": "lengths prompts.jsonl --judge judge --out ranges.jsonl",
    "compare": "compare old.jsonl new.jsonl --prompts prompts.jsonl --judge judge --grade --out games.jsonl",
    "audit": "audit pairs.jsonl --judge judge --out audited.jsonl --resamples 50",
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_command_gets_an_answer_to_each_question_and_pays_for_it_once(server, command, capsys):
    assert _run(command) == 0, capsys.readouterr().err
    questions = Counter(json.dumps(request["messages"]) for request in server.requests)
    assert questions
    assert set(questions.values()) == {1}
    (log,) = Path().glob("*.calls.sqlite")
    with SqliteCallLog(log) as calls:
        made = calls.read("judge")
        assert {call.outcome for call in made} == {"ok"}
        assert all(call.thoughts and "[[A]] and" not in call.text for call in made)
        assert calls.totals().thought_tokens == THOUGHT_TOKENS * len(made)
    asked = len(server.requests)
    assert _run(command) == 0
    assert len(server.requests) == asked


def test_too_short_a_limit_is_named_once_and_not_paid_twice(server, capsys):
    command = COMMANDS["grade"].replace("--judge judge", "--judge short")
    assert _run(command) == 3
    assert "cut_off" in (said := capsys.readouterr().err)
    assert "`max_tokens` in models.yaml" in said
    assert len(server.requests) == 3
    assert _run(command) == 3
    assert len(server.requests) == 3


def test_it_rewards_a_training_run(server):
    spec = read_models("models.yaml")["judge"]

    async def work():
        with SqliteCallLog("run.sqlite") as log:
            async with Endpoint("judge", spec, call_log=log) as endpoint:
                settings = PairwiseSettings(kind="pairwise", judge="judge")
                rewards = build_rewards([settings], {"judge": endpoint}, secret=b"s", seed=0)
                response = parse_response("<think>a plan [[A]]</think>A fine text.", "off")
                prompt = Prompt(id="p", prompt="Write a long report.")
                return await rewards.score(prompt, response=response, reference="An old text.", step=1)

    result = asyncio.run(work())["pairwise"]
    assert (result.outcome, result.score) == ("win", 1.0)
    (request,) = server.requests
    assert "a plan" not in request["messages"][-1]["content"]
