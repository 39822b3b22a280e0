"""`longform filter` and `longform lengths`: from prompts to prompts with ranges, killed and wrongly used."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from longform.cli import main
from longform.judging.requests import CRITERIA

REQUESTS = {
    "story": "Write a story of 2,000 words.",
    "sum": "What is 2 + 2?",
    "gone": "Improve the attached essay.",
    "诗": "写一篇800字的散文。",
}


def _answer(request, number):
    content = request["messages"][0]["content"]
    if '"writing"' in content:
        return json.dumps(dict.fromkeys(CRITERIA, True) | {"writing": "2 + 2" not in content})
    if "attached" in content:
        return '{"range": [0, 0]}'
    if "800字" in content:
        return '{"range": [700, 900]}'
    return '{"range": [1800, 2200]}' if "[500, 900]" in content else '{"range": [500, 900]}'


@pytest.fixture
def server(tmp_path, monkeypatch, serve):
    monkeypatch.chdir(tmp_path)
    server = serve(_answer)
    _write("prompts.jsonl", REQUESTS)
    Path("models.yaml").write_text(f"judge: {{base_url: '{server.url}', model: j, retries: 0, concurrency: 2}}")
    return server


def _write(name, requests):
    rows = (json.dumps({"id": id_, "prompt": text}, ensure_ascii=False) for id_, text in requests.items())
    Path(name).write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")


def _run(command):
    with pytest.raises(SystemExit) as caught:
        main(command.split())
    return caught.value.code


def _rows(name):
    return [json.loads(line) for line in Path(name).read_text(encoding="utf-8").splitlines()]


def test_from_requests_to_length_ranges(server, capsys):
    assert not _run("filter prompts.jsonl --judge judge --out kept.jsonl")
    said = capsys.readouterr().out
    assert "3 of 4 prompts with a verdict (75.0%)" in said
    assert "longform lengths kept.jsonl --judge judge" in said
    assert not _run("lengths kept.jsonl --judge judge --out lengths.jsonl")
    said = capsys.readouterr().out
    assert "2 of 3 prompts" in said
    assert "1 after a broken rule, 0 of them dropped" in said
    assert "longform train RECIPE --set data.prompts=lengths.jsonl" in said
    meta = {"filter": {"judge": "judge"}, "length_judge": "judge"}
    assert _rows("lengths.jsonl") == [
        {"id": "story", "prompt": REQUESTS["story"], "length_range": [1800, 2200], "meta": meta},
        {"id": "诗", "prompt": REQUESTS["诗"], "length_range": [700, 900], "meta": meta},
    ]


def test_json_holds_every_figure(server, capsys):
    assert not _run("filter prompts.jsonl --judge judge --out kept.jsonl --json")
    filtered = json.loads(capsys.readouterr().out)
    assert (filtered["prompts"], filtered["kept"], filtered["share_kept"]) == (4, 3, 0.75)
    assert filtered["dropped"] == {"writing": 1, "long": 0, "complete": 0, "safe": 0}
    assert filtered["criteria"].keys() == set(CRITERIA)
    assert not _run("lengths kept.jsonl --judge judge --out lengths.jsonl --retries 0 --json")
    lengths = json.loads(capsys.readouterr().out)
    assert (lengths["with_range"], lengths["dropped_by_zero"], lengths["dropped_by_rules"]) == (1, 1, 1)
    assert lengths["broken_rules"] == {"stated": 1}


def test_a_second_call_asks_nothing(server, capsys):
    for _ in range(2):
        assert not _run("filter prompts.jsonl --judge judge --out kept.jsonl")
        assert not _run("lengths prompts.jsonl --judge judge --out lengths.jsonl")
        assert len(server.requests) == 4 + 5
    assert not _run("lengths lengths.jsonl --judge judge --out same.jsonl")
    assert len(server.requests) == 9
    assert _rows("same.jsonl") == _rows("lengths.jsonl")


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (
            "filter prompts.jsonl --judge judge --out prompts.jsonl",
            2,
            "--out prompts.jsonl: would overwrite prompts.jsonl",
        ),
        ("lengths prompts.jsonl --judge judge --out ./prompts.jsonl", 2, "would overwrite prompts.jsonl"),
        ("lengths prompts.jsonl --judge judge --out models.yaml", 2, "would overwrite models.yaml"),
        ("filter nowhere.jsonl --judge judge --out kept.jsonl", 2, "nowhere.jsonl: cannot be read"),
        ("lengths prompts.jsonl --judge nobody --out l.jsonl", 2, "nobody"),
        ("lengths prompts.jsonl --judge judge --out l.jsonl --retries -1", 2, "retries"),
        ("filter prompts.jsonl --judge judge --out kept.jsonl --budget 1", 2, "no prices"),
        (
            "filter one.jsonl --judge judge --out kept.jsonl",
            2,
            "kept.jsonl: not written: the judge kept none of 1 prompts",
        ),
        (
            "lengths gone.jsonl --judge judge --out l.jsonl",
            2,
            "l.jsonl: not written: no prompt has a length (1 got [0, 0]",
        ),
    ],
)
def test_what_cannot_work_is_one_line(server, capsys, command, code, said):
    _write("one.jsonl", {"sum": REQUESTS["sum"]})
    _write("gone.jsonl", {"gone": REQUESTS["gone"]})
    assert _run(command) == code
    error = capsys.readouterr().err.strip().split("\n")[-1]
    assert error.startswith("longform: ")
    assert said in error
    assert len(_rows("prompts.jsonl")) == 4
    assert not Path("kept.jsonl").exists()


@pytest.mark.parametrize("command", ["filter", "lengths"])
def test_a_prompt_that_the_endpoint_rejects_does_not_end_a_second_call(server, reply, capsys, command):
    """Nor is it lost from sight: causes and counts in a line, and as an object."""
    server.script = lambda request, number: (
        reply("odd", status=400) if "lighthouse" in request["messages"][0]["content"] else _answer(request, number)
    )
    _write("prompts.jsonl", {"诗": REQUESTS["诗"], "odd": "Write about a lighthouse.", "gone": REQUESTS["gone"]})
    Path("models.yaml").write_text(f"judge: {{base_url: '{server.url}', model: j, retries: 0, concurrency: 1}}")
    for _ in range(2):
        assert not _run(f"{command} prompts.jsonl --judge judge --out out.jsonl")
        lines = [line.split() for line in capsys.readouterr().out.splitlines()]
        assert ["failures", "rejected", "1"] in lines
    assert not _run(f"{command} prompts.jsonl --judge judge --out out.jsonl --json")
    assert json.loads(capsys.readouterr().out)["failures"] == {"rejected": 1}


@pytest.mark.parametrize("command", ["filter", "lengths"])
def test_no_failures_are_an_empty_object_and_in_text_a_zero(server, capsys, command):
    assert not _run(f"{command} prompts.jsonl --judge judge --out out.jsonl --json")
    assert json.loads(capsys.readouterr().out)["failures"] == {}
    assert not _run(f"{command} prompts.jsonl --judge judge --out out.jsonl")
    assert ["failures", "0"] in [line.split() for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize("command", ["filter", "lengths"])
def test_an_endpoint_that_only_fails_ends_as_stopped(server, reply, capsys, command):
    server.script = lambda request, number: reply("busy", status=503)
    assert _run(f"{command} prompts.jsonl --judge judge --out out.jsonl") == 3
    said = capsys.readouterr().err
    assert "every request failed (server_error 4); the first: server_error: " in said
    assert "HTTP 503: busy" in said
    assert said.endswith("run the same command again to retry\n")
    server.script = _answer
    assert not _run(f"{command} prompts.jsonl --judge judge --out out.jsonl")
    assert len(_rows("out.jsonl")) == 3


def test_a_killed_command_repeats_only_what_was_in_flight(server, reply):
    _write("many.jsonl", {f"p{i}": f"Write story {i}." for i in range(30)})
    server.script = lambda request, number: reply(_answer(request, number), delay=0.05)
    command = [sys.executable, "-m", "longform", "filter", "many.jsonl", "--judge", "judge", "--out", "kept.jsonl"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while len(server.requests) < 8:
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not Path("kept.jsonl").exists()
    server.script = _answer
    assert not _run("filter many.jsonl --judge judge --out kept.jsonl")
    assert [row["id"] for row in _rows("kept.jsonl")] == [f"p{i}" for i in range(30)]
    assert len(server.requests) <= 30 + 2
