"""A run that was stored by database version 3, with recipe keys of its time, is read, reported, replayed and resumed.

The run stopped after step 4 of 6, at a checkpoint. Its judge prefers the text with more occurrences of `good`.
"""

import asyncio
import json
import shutil
from pathlib import Path

import pytest
import yaml

from longform.cli import main
from longform.endpoints.limits import Budget
from longform.evaluation.replay.inputs import check_replay
from longform.evaluation.replay.run import replay_steps
from longform.judging.answers import read_fences
from longform.judging.pointwise import DIMENSIONS
from longform.recipe.loading import load_recipe, load_stored_recipe
from longform.recipe.recipe import Recipe
from longform.records.errors import BadInputError
from longform.records.run_directory import RunDirectory
from longform.training.run import train

FIXTURE = Path(__file__).parents[1] / "fixtures" / "run-v3"
TODAY = {
    "optim": {"kl": "kl_coef", "entropy": "entropy_coef", "final_lr": "lr_end_ratio"},
    "memory": {"micro_tokens": "max_tokens_per_microbatch"},
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    shutil.copytree(FIXTURE, tmp_path / "world")
    monkeypatch.chdir(tmp_path / "world")
    return tmp_path / "world"


def _recipe(folder, **changes):
    """The recipe as a person would write it today."""
    content = yaml.safe_load((folder / "recipe.yaml").read_text())
    for section, names in TODAY.items():
        content[section] = {names.get(name, name): value for name, value in content[section].items()}
    (reward,) = content["rewards"]
    reward["max_judge_failure_rate"] = reward.pop("max_no_verdict")
    for key, value in changes.items():
        section, name = key.split("__")
        content[section][name] = value
    return Recipe.model_validate(content)


def _serve_judge(serve, folder):
    def answer(request, number):
        texts = read_fences(request["messages"][0]["content"])
        if "TEXT" in texts:
            return json.dumps({"scores": dict.fromkeys(DIMENSIONS, 1 + texts["TEXT"].split().count("good") % 10)})
        first, second = (texts[f"TEXT {name}"].split().count("good") for name in "AB")
        return "[[A]]" if first > second else "[[B]]" if second > first else "[[C]]"

    server = serve(answer)
    models = yaml.safe_load((folder / "models.yaml").read_text())
    (folder / "models.yaml").write_text(
        yaml.safe_dump({name: {**spec, "base_url": server.url} for name, spec in models.items()})
    )


def test_its_recipe_is_translated_and_todays_is_equal_to_it(folder):
    stored = load_stored_recipe(folder / "run" / "recipe.yaml", Recipe)
    assert stored == _recipe(folder)
    assert (stored.ppo.kl_coef, stored.ppo.entropy_coef, stored.ppo.lr_end_ratio) == (0.002, 0.003, 0.5)
    assert stored.memory.max_tokens_per_microbatch == 512
    assert stored.judge_failure_limit == (0.75, "rewards.pairwise.max_judge_failure_rate")


def test_a_person_who_writes_an_old_key_is_told_the_new_one(folder):
    with pytest.raises(
        BadInputError, match=r"recipe\.yaml: rewards\.0\.max_no_verdict was renamed to rewards\.max_judge"
    ):
        load_recipe(folder / "recipe.yaml", Recipe)


@pytest.mark.parametrize("command", ["report", "doctor", "runs"])
def test_it_is_read_by_commands_that_change_nothing(folder, command, capsys):
    before = (folder / "run" / "run.sqlite").read_bytes()
    with pytest.raises(SystemExit) as stopped:
        main([command, "run" if command != "runs" else "."])
    assert stopped.value.code == 0, capsys.readouterr().err
    with RunDirectory.read("run") as run:
        assert run.database.last_step() == 4
        assert len(list(run.database.rollouts())) == 4 * 6
        assert dict(run.database.metric("reward/mean"))[4] == pytest.approx(2.5 / 6)
    assert (folder / "run" / "run.sqlite").read_bytes() == before
    if command == "report":
        assert "write so very" in (folder / "run" / "report.html").read_text()


def test_a_replay_asks_no_judge_and_reproduces_it(folder):
    with RunDirectory.read("run") as run:
        again = asyncio.run(replay_steps(run, check_replay(run), budget=Budget(), on_progress=lambda done, total: None))
    assert again.paid.calls == 0
    assert len(again.rollouts) == 4 * 6
    assert all(
        (it.outcome_after, it.reward_after, it.rung_after) == (it.outcome_before, it.reward_before, it.rung_before)
        for it in again.rollouts
    )


@pytest.mark.slow
def test_it_is_resumed_to_its_end_as_a_run_of_today_goes(folder, serve):
    _serve_judge(serve, folder)
    with RunDirectory.read("run") as run:
        begun = [it for it in run.database.rollouts() if it.step <= 4]
    steps = []
    train(_recipe(folder), resume=True, on_step=lambda report: steps.append(report.step))
    assert steps == [5, 6]
    train(_recipe(folder, run__name="fresh"), on_step=lambda report: None)
    with RunDirectory.read("run") as resumed, RunDirectory.read("fresh") as fresh:
        rollouts = list(resumed.database.rollouts())
        assert rollouts[: len(begun)] == begun
        assert [it.text for it in rollouts] == [it.text for it in fresh.database.rollouts()]
        for name in ("reward/mean", "policy/loss", "policy/kl_to_start", "critic/loss", "validation/grade"):
            assert resumed.database.metric(name) == [
                (step, pytest.approx(value, rel=1e-3, abs=1e-6)) for step, value in fresh.database.metric(name)
            ]
    assert "kl_coef" in (folder / "run" / "recipe.yaml").read_text(), "written again with today's keys"


def test_other_settings_are_refused_with_both_values(folder):
    with pytest.raises(
        BadInputError, match=r"was begun with optim\.kl_coef 0\.002, not 0\.1; with optim\.lr 0\.001, not"
    ):
        train(_recipe(folder, optim__kl_coef=0.1, optim__lr=0.5), resume=True, on_step=lambda report: None)


def test_a_removed_key_with_another_value_is_refused(folder):
    path = folder / "run" / "recipe.yaml"
    path.write_text(path.read_text().replace("critic_epochs: 1", "critic_epochs: 2"))
    with pytest.raises(BadInputError, match=r"was begun with optim\.critic_epochs 2, not 1; "):
        train(_recipe(folder), resume=True, on_step=lambda report: None)
