"""`longform generate`: writers that think, and flags that mean nothing."""

import json
from pathlib import Path

import pytest

from longform.cli import main

SAID = "<think>Short.</think><answer>Once.</answer> More?"


@pytest.fixture
def server(tmp_path, monkeypatch, serve):
    monkeypatch.chdir(tmp_path)
    server = serve(lambda request, number: SAID)
    Path("prompts.jsonl").write_text('{"id": "p", "prompt": "写一首诗。"}\n', encoding="utf-8")
    Path("models.yaml").write_text(f"scribe: {{base_url: '{server.url}', model: s, retries: 0}}")
    return server


def _generate(*flags, writer="scribe"):
    with pytest.raises(SystemExit) as caught:
        main(["generate", "prompts.jsonl", "--writer", writer, "--out", "out.jsonl", *flags])
    return caught.value.code


def _row():
    return json.loads(Path("out.jsonl").read_text(encoding="utf-8"))


def test_a_writer_that_thinks_leaves_its_answer(server, capsys):
    assert not _generate("--think", "on")
    row = _row()
    assert (row["text"], row["meta"]) == ("Once.", {"plan": "Short.", "well_formed": True})
    content = server.requests[0]["messages"][0]["content"]
    assert "<think>" in content
    assert content.endswith("\n\n写一首诗。")


def test_a_think_prompt_of_ones_own_is_sent(server, capsys):
    Path("mine.txt").write_text("Plan, then write: {request}\n", encoding="utf-8")
    assert not _generate("--think", "direct", "--think-prompt", "mine.txt")
    assert server.requests[0]["messages"] == [{"role": "user", "content": "Plan, then write: 写一首诗。"}]


def test_without_thinking_thoughts_are_not_part_of_the_text(server, capsys):
    assert not _generate()
    thoughts, _, text = SAID.removeprefix("<think>").partition("</think>")
    assert _row()["text"] == text
    assert _row()["meta"] == {"thoughts": thoughts}


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--think-prompt mine.txt", "--think-prompt mine.txt: only valid with --think"),
        ("--think on --think-prompt nowhere.txt", "nowhere.txt: the think prompt cannot be read"),
        (
            "--think on --think-prompt prompts.jsonl",
            "prompts.jsonl: a think prompt must contain {request} exactly once",
        ),
        ("--think yes", "think"),
        ("--engine vllm", "--engine vllm: only valid for a local model, but scribe is a name in models.yaml"),
    ],
)
def test_a_flag_that_means_nothing_is_one_line(server, capsys, flags, said):
    assert _generate(*flags.split()) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not Path("out.jsonl").exists()
    assert not server.requests


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--engine paged --top-p 0.5", "top_p: must be 1 with engine: paged"),
        ('--chat-template off --template-kwargs {"a":1}', "chat_template_kwargs: only valid with chat_template: on"),
    ],
)
def test_settings_of_a_local_model_that_do_not_go_together_are_one_line(server, capsys, flags, said):
    Path("model").mkdir()
    Path("model", "config.json").write_text("{}", encoding="utf-8")
    assert _generate(*flags.split(), writer="model") == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not Path("out.jsonl").exists()
