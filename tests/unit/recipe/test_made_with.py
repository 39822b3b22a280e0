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
