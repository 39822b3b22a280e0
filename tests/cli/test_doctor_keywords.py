"""`longform doctor --judge`: a sampled question about rising words, with the price first, on record, or nothing to ask."""

import json
from pathlib import Path

import pytest
import yaml

from longform.cli import main
from longform.judging.answers import read_fences
from longform.records.files import write_rows
from longform.records.resume import hash_file
from longform.records.run_directory import RunDirectory
from longform.records.schemas import Prompt
from viewed_runs import rollout

STEPS, ROWS = 10, 32
PLAIN = "Seven boats went out in the morning and came back in the evening."


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def server(serve):
    """A judge that finds `copper` out of place where the request does not name it."""

    def judge(request, number):
        fenced = read_fences(request["messages"][-1]["content"])
        assert fenced["WORD"] in fenced["TEXT"].lower()
        if "mute" in fenced["REQUEST"]:
            return "Well."
        return json.dumps({"out_of_place": fenced["WORD"] not in fenced["REQUEST"]})

    return serve(judge)


def write(server, *, words=("copper", "amber")):
    """A run of prompts 0 to 15; copper is asked for by the odd ones, prompt 0 gets no verdict, even rows use a word."""
    Path("models.yaml").write_text(yaml.safe_dump({"asked": {"base_url": server.url, "model": "m", "retries": 0}}))
    asked = [
        Prompt(id=f"p{n}", prompt=f"Write {'mute' if n == 0 else 'about copper' if n % 2 else 'a story'} {n}.")
        for n in range(16)
    ]
    write_rows("prompts.jsonl", asked)
    recipe = {
        "method": "grpo",
        "policy": "start",
        "data": {"prompts": "prompts.jsonl", "per_step": 16, "group": 2},
        "rewards": [{"kind": "format"}],
        "run": {"name": "run", "steps": STEPS},
    }
    rising = {"text/keywords": float(len(words)), **{f"keyword/{word}": 0.05 for word in words}}
    with RunDirectory.open(Path("run")) as run:
        run.recipe_path.write_text(yaml.safe_dump(recipe))
        run.database.set_fact("prompts", hash_file(Path("prompts.jsonl")))
        for step in range(1, STEPS + 1):
            texts = [f"{PLAIN} Copper and copper." if row % 2 == 0 else PLAIN for row in range(ROWS)]
            metrics = {"reward/count": float(ROWS), "text/count": float(ROWS), "outcome/win": 0.5, **rising}
            rollouts = [rollout(step, row, text=text) for row, text in enumerate(texts)]
            run.database.record_step(step, seconds=1.0, metrics=metrics, rollouts=rollouts)


def run(*words):
    with pytest.raises(SystemExit) as caught:
        main([str(word) for word in words])
    return caught.value.code or 0


def doctor(capsys, *flags):
    assert run("doctor", "run", "--judge", "asked", "--json", *flags) == 0
    shown = capsys.readouterr()
    return json.loads(shown.out)["keywords"], shown.err


def test_a_sample_of_the_responses_with_a_rising_word_is_asked_about_with_the_price_first(server, capsys):
    write(server)
    found, errors = doctor(capsys, "--questions", "40")
    assert errors.startswith("the judge gets at most 40 questions, about ")
    assert len({it["messages"][-1]["content"] for it in server.requests}) == 40, "no response twice"
    missing = found["no_verdict"].get("no_verdict", 0)
    assert found["asked"] == 40
    bad, counted = found["by_word"]["copper"]
    assert counted == 40 - missing
    assert list(found["by_word"]) == ["copper"], "amber rises and is in no text"
    assert found["out_of_place"]["value"]["estimate"] == pytest.approx(bad / counted)
    assert 0.2 < bad / counted < 0.8, "the even prompts"
    assert found["out_of_place"]["prompts"] <= 15


def test_a_recorded_answer_is_not_asked_for_again_and_all_are_asked_about_if_there_are_few(server, capsys):
    write(server)
    first, _ = doctor(capsys, "--questions", "1000")
    asked = len(server.requests)
    assert first["asked"] == 8 * ROWS // 2, "of the eight steps of the window"
    assert first["no_verdict"] == {"no_verdict": 8}
    assert first["out_of_place"]["value"]["estimate"] == pytest.approx(7 / 15)
    again, _ = doctor(capsys, "--questions", "1000")
    assert len(server.requests) == asked
    assert again == first
    assert Path("run/keywords.calls.sqlite").exists()


def test_the_share_is_printed_with_the_words(server, capsys):
    write(server)
    assert run("doctor", "run", "--judge", "asked", "--questions", "1000") == 0
    shown = capsys.readouterr().out
    assert "keyword-drift (steps" in shown
    assert "rising words out of place, by asked: 0.47 (" in shown
    assert "of 128 responses (copper 56 of 120)" in shown
    assert "  no verdict: no_verdict 8\n" in shown


def test_nothing_is_asked_without_a_rising_word_or_without_a_judge(server, capsys):
    write(server, words=())
    found, errors = doctor(capsys)
    assert (found["words"], found["asked"], errors) == ({}, 0, "")
    assert run("doctor", "run", "--judge", "asked") == 0
    assert "rising words: none, so the judge was asked nothing" in capsys.readouterr().out
    assert run("doctor", "run") == 0
    assert server.requests == []
    assert not list(Path("run").glob("keywords*"))


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--judge", "nobody"], "nobody"),
        (["--judge", "asked", "--budget", "1"], "--budget: models.yaml has no prices for 'asked'"),
        (["--budget", "1"], "--budget: only valid with --judge"),
        (["--models", "models.yaml"], "--models: only valid with --judge"),
    ],
)
def test_bad_input_is_one_line(server, capsys, flags, said):
    write(server)
    assert run("doctor", "run", *flags) == 2
    error = capsys.readouterr().err
    assert error.startswith("longform: ") and error.count("\n") == 1
    assert said in error


def test_prompts_that_have_changed_since_the_run_are_refused(server, capsys):
    write(server)
    write_rows("prompts.jsonl", [Prompt(id="p0", prompt="Another.")])
    assert run("doctor", "run", "--judge", "asked") == 2
    assert "prompts.jsonl" in capsys.readouterr().err
    assert server.requests == []
