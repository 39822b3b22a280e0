"""A run is resumed with the judges, the examiner and the policy that it began with."""

import json
from pathlib import Path

import pytest

from longform.endpoints.models import read_models
from longform.recipe.begin import begin_run
from longform.recipe.recipe import Recipe
from longform.records.errors import BadInputError
from longform.records.run_directory import RunDirectory

JUDGE = {"base_url": "http://127.0.0.1:9/v1", "model": "a-judge", "temperature": 0.2}
EXAMINER = {"base_url": "http://127.0.0.1:9/v1", "model": "an-examiner"}


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    """A recipe whose run has made a step."""
    monkeypatch.chdir(tmp_path)
    Path("ladders.jsonl").touch()
    Path("held-out.jsonl").touch()
    Path("policy").mkdir()
    Path("policy/config.json").write_text("{}")
    Path("policy/model.safetensors").write_bytes(b"weights")
    models(judge=JUDGE, examiner=EXAMINER)
    made = Recipe.model_validate(
        {
            "method": "ppo",
            "policy": "policy",
            "data": {"ladders": "ladders.jsonl"},
            "rewards": [{"kind": "pairwise", "judge": "judge"}],
            "validation": {"prompts": "held-out.jsonl", "judge": "examiner"},
            "generation": {"max_tokens": 10},
            "run": {"name": "run", "steps": 4},
        }
    )
    with RunDirectory.open(made.run_path) as run:
        begin_run(run, made, resume=False)
        run.database.record_step(1, seconds=1, metrics={})
    return made


def models(**entries):
    Path("models.yaml").write_text(json.dumps(entries))


def resume(recipe):
    with RunDirectory.open(recipe.run_path) as run:
        return begin_run(run, recipe, resume=True)


def test_an_unchanged_run_is_resumed_also_at_another_address(recipe):
    resume(recipe)
    elsewhere = {"base_url": "https://example.org/v1", "timeout_seconds": 9, "concurrency": 2}
    models(judge=JUDGE | elsewhere, examiner=EXAMINER)
    resume(recipe)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": "other"}, "judge judge (model a-judge, not other)"),
        ({"temperature": 0.7}, "judge judge (temperature 0.2, not 0.7)"),
        ({"body": {"effort": "low"}}, "judge judge (body.effort None, not low)"),
        ({"system": "Be kind."}, "judge judge (system None, not Be kind.)"),
    ],
)
def test_another_judge_is_refused_in_one_line_that_names_what_changed(recipe, change, words):
    models(judge=JUDGE | change, examiner=EXAMINER)
    with pytest.raises(BadInputError) as caught:
        resume(recipe)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_judge_and_examiner_cannot_be_swapped(recipe):
    models(judge=EXAMINER, examiner=JUDGE)
    with pytest.raises(BadInputError, match=r"judge examiner .*; another judge judge "):
        resume(recipe)


def test_a_replaced_policy_folder_is_refused(recipe):
    Path("policy/model.safetensors").write_bytes(b"other weights")
    with pytest.raises(BadInputError, match=r"was begun with another policy \(other files\)"):
        resume(recipe)


def test_a_changed_template_is_refused(recipe):
    Path("critic.txt").write_text("{request}{text_a}{text_b}")
    models(judge=JUDGE | {"template": "critic.txt"}, examiner=EXAMINER)
    with pytest.raises(BadInputError, match="template_sha256"):
        resume(recipe)
    settings = read_models("models.yaml")["judge"].settings_of_answers
    Path("critic.txt").write_text("{request}{text_a}{text_b}!")
    assert read_models("models.yaml")["judge"].settings_of_answers != settings


def test_a_run_of_before_version_0_2_is_resumed_with_what_is_given(recipe):
    with RunDirectory.open(recipe.run_path) as run:
        run.database._connection.execute("DELETE FROM facts WHERE name LIKE 'made with/%'")
        run.database._connection.commit()
    models(judge=JUDGE | {"model": "other"}, examiner=EXAMINER)
    resume(recipe)


MOVED = {
    "policy": "policy",
    "models": "models.yaml",
    "data.ladders": "ladders.jsonl",
    "validation.prompts": "held-out.jsonl",
}


def test_a_run_is_resumed_where_its_files_were_moved_and_not_with_others_in_their_place(recipe):
    Path("elsewhere").mkdir()
    moved = recipe
    for key, name in MOVED.items():
        Path(name).rename(f"elsewhere/{name}")
        moved = moved.changed(key, f"elsewhere/{name}")
    Path("elsewhere/others.jsonl").write_text("{}")
    with pytest.raises(
        BadInputError, match=r"was begun with validation\.prompts held-out\.jsonl, not elsewhere/others"
    ):
        resume(moved.changed("validation.prompts", "elsewhere/others.jsonl"))
    resume(moved)


def test_two_files_of_prompts_cannot_change_places(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.jsonl").write_text("a")
    Path("b.jsonl").write_text("b")
    sources = [{"name": "one", "prompts": "a.jsonl"}, {"name": "two", "prompts": "b.jsonl"}]
    content = {
        "method": "grpo",
        "policy": "org/name",
        "data": {"sources": sources, "group": 2},
        "rewards": [{"kind": "format"}],
        "generation": {"max_tokens": 10},
        "run": {"name": "run", "steps": 4},
    }
    begun = Recipe.model_validate(content)
    with RunDirectory.open(begun.run_path) as run:
        begin_run(run, begun, resume=False)
        run.database.record_step(1, seconds=1, metrics={})
    sources[0]["prompts"], sources[1]["prompts"] = "b.jsonl", "a.jsonl"
    with pytest.raises(BadInputError, match=r"data\.sources\.0\.prompts a\.jsonl, not b\.jsonl"):
        resume(Recipe.model_validate(content))
