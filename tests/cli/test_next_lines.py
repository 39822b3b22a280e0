"""The `next` line of a command is a command: pasted into a shell, with the words in capitals replaced, it runs."""

import json
import shlex
from pathlib import Path

import pytest

from longform.cli import main
from longform.judging.answers import read_fences

FOLDER = "my files"
"""With a space, which a shell would split at."""
WORDS = {
    "JUDGE": "judge",
    "GRADES": f"{FOLDER}/grades.jsonl",
    "LADDERS": f"{FOLDER}/ladders.jsonl",
    "MODEL": "weak",
    "PROMPTS": f"{FOLDER}/kept.jsonl",
    "LENGTHS": f"{FOLDER}/ranges.jsonl",
}


@pytest.fixture(autouse=True)
def files(tmp_path, monkeypatch, serve):
    monkeypatch.chdir(tmp_path)
    Path(FOLDER).mkdir()

    def script(request, number):
        question = request["messages"][-1]["content"]
        if "<<<" not in question:
            return f"A text of {request['model']}. " * (1 if request["model"] == "weak" else 20)
        if '"scores"' in question:
            return json.dumps({"scores": {"style": min(10, 1 + len(read_fences(question)["TEXT"]) // 40)}})
        if '"range"' in question:
            return '{"range": [100, 200]}'
        if "[[X]]" in question:
            return "[[A]]"
        return json.dumps(dict.fromkeys(("writing", "long", "complete", "safe"), True))

    server = serve(script)
    names = ("judge", "examiner", "weak", "strong")
    Path("models.yaml").write_text(json.dumps({it: {"base_url": server.url, "model": it} for it in names}))
    rows = [{"id": f"p{i}", "prompt": f"Write report {i}.", "criteria": [{"name": "style"}]} for i in range(4)]
    Path(FOLDER, "prompts.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def run(capsys, line: str) -> str:
    """Run a line as a shell would; returns its next line."""
    words = shlex.split(line, comments=True)
    assert words[0] == "longform"
    with pytest.raises(SystemExit) as stopped:
        main([WORDS.get(word, word) for word in words[1:]])
    shown = capsys.readouterr()
    assert not stopped.value.code, shown.err
    found = [it.removeprefix("next").strip() for it in shown.out.splitlines() if it.startswith("next ")]
    return found[0] if found else ""


def test_from_responses_to_ladders(capsys):
    line = run(capsys, f"longform generate '{FOLDER}/prompts.jsonl' --writer strong --out '{FOLDER}/texts.jsonl'")
    assert line.startswith("longform grade ")
    run(capsys, f"longform generate '{FOLDER}/prompts.jsonl' --writer weak --out '{FOLDER}/weak.jsonl'")
    both = line.replace(f"'{FOLDER}/texts.jsonl'", f"'{FOLDER}/texts.jsonl' '{FOLDER}/weak.jsonl'", 1)
    line = run(capsys, both)
    assert line.startswith("longform select ")
    assert run(capsys, line).startswith("longform train RECIPE --set 'data.ladders=")


def test_from_a_filter_to_lengths(capsys):
    line = run(capsys, f"longform filter '{FOLDER}/prompts.jsonl' --judge judge --out '{FOLDER}/kept.jsonl'")
    assert line.startswith("longform lengths ")
    assert run(capsys, line).startswith("longform train RECIPE --set 'data.prompts=")


def test_from_a_probe_to_its_calls(capsys):
    line = run(capsys, "longform probe judge")
    assert line == "longform calls probe-judge --show"
    run(capsys, line)


def test_from_a_comparison_to_games_and_their_ratings(capsys):
    for writer in ("strong", "weak"):
        run(capsys, f"longform generate '{FOLDER}/prompts.jsonl' --writer {writer} --out '{FOLDER}/{writer}.jsonl'")
    line = run(
        capsys,
        f"longform compare '{FOLDER}/strong.jsonl' '{FOLDER}/weak.jsonl' --prompts '{FOLDER}/prompts.jsonl' "
        f"--judge judge --out '{FOLDER}/games.jsonl'",
    )
    assert line == f"longform arena '{FOLDER}/games.jsonl' --per-judge"
    run(capsys, line)
