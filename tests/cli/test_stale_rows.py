"""A row whose prompt, text, writer or judge has changed is made anew, or kept if asked for and called stale."""

import json
from pathlib import Path

import pytest

from longform.cli import main
from longform.judging.pointwise import DIMENSIONS


@pytest.fixture(autouse=True)
def files(tmp_path, monkeypatch, serve):
    monkeypatch.chdir(tmp_path)

    def script(request, number):
        if "<<<" not in request["messages"][-1]["content"]:
            return f"Text {number}."
        return json.dumps({"scores": dict.fromkeys(DIMENSIONS, 5)})

    server = serve(script)
    write("prompts.jsonl", *({"id": f"p{i}", "prompt": f"Write {i}."} for i in range(3)))
    write("texts.jsonl", *({"prompt_id": f"p{i}", "model": "w", "text": f"Text {i}"} for i in range(3)))
    models(server, "a-model")
    return server


def write(path, *rows):
    Path(path).write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def models(server, model, **keys):
    Path("models.yaml").write_text(json.dumps({"m": {"base_url": server.url, "model": model, **keys}}))


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as stopped:
        main([*arguments, "--json"])
    assert not stopped.value.code
    return json.loads(capsys.readouterr().out)


def grade(capsys, *flags):
    return run(
        capsys, "grade", "texts.jsonl", "--prompts", "prompts.jsonl", "--judge", "m", "--out", "grades.jsonl", *flags
    )


def generate(capsys, *flags):
    return run(capsys, "generate", "prompts.jsonl", "--writer", "m", "--out", "responses.jsonl", *flags)


def test_what_did_not_change_is_not_made_again(capsys):
    assert grade(capsys)["new"] == 3
    assert grade(capsys)["new"] == 0
    assert generate(capsys)["new"] == 3
    assert generate(capsys, "--temperature", "1")["new"] == 0  # the default


def test_a_changed_text_is_graded_anew(capsys):
    grade(capsys)
    rows = [json.loads(line) for line in Path("texts.jsonl").read_text().splitlines()]
    rows[1]["text"] = "Another text"
    write("texts.jsonl", *rows)
    kept = grade(capsys, "--keep-stale")
    assert (kept["new"], kept["stale (kept)"]) == (0, {"text": 1})
    made = grade(capsys)
    assert (made["new"], made["made anew, as it changed"]) == (1, {"text": 1})
    assert grade(capsys)["new"] == 0


@pytest.mark.parametrize("keys", [{"temperature": 0.9}, {"system": "Be strict."}, {"body": {"effort": "low"}}], ids=str)
def test_grades_of_a_judge_with_other_parameters_are_made_anew(capsys, files, keys):
    grade(capsys)
    models(files, "a-model", **keys)
    assert grade(capsys)["made anew, as it changed"] == {"judge": 3}


def test_two_models_under_one_name_are_not_mixed(capsys, files):
    grade(capsys)
    generate(capsys)
    models(files, "another-model")
    assert grade(capsys)["made anew, as it changed"] == {"judge": 3}
    assert generate(capsys)["made anew, as it changed"] == {"writer": 3}


def test_a_changed_prompt_is_written_anew(capsys):
    generate(capsys)
    write("prompts.jsonl", *({"id": f"p{i}", "prompt": f"Write {i or 'a poem'}."} for i in range(3)))
    assert generate(capsys)["made anew, as it changed"] == {"prompt": 1}
    assert generate(capsys, "--temperature", "0.5")["made anew, as it changed"] == {"writer": 3}


def test_rows_of_other_tools_do_not_say_what_they_were_made_from_and_stay(capsys):
    write("grades.jsonl", *({"prompt_id": f"p{i}", "model": "w", "judge": "m", "score": 3} for i in range(3)))
    assert grade(capsys)["new"] == 0
