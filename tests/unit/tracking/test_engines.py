"""Both engines tell trackers of their runs in the same place."""

import json

import pytest
from remembering import RememberingTracker

from longform import engines
from longform.cluster import launch
from longform.monitors.series import Finding
from longform.recipe.recipe import Recipe
from longform.records.errors import BadInputError, StoppedError
from longform.records.run_directory import RunDirectory
from longform.steps.recorder import StepReport
from longform.tracking import run as tracking_run
from longform.tracking.tracker import SampleText
from longform.training import run as local

REPORT = StepReport(
    4,
    9,
    {"reward/mean": 0.5},
    [Finding("never-wins", 1, 4, "no win", "Lower it")],
    [SampleText("prompt", "", "response", None, None)],
)


@pytest.fixture
def tracker(monkeypatch):
    made = RememberingTracker()
    monkeypatch.setattr(tracking_run, "build_tracker", lambda name: made)
    monkeypatch.setattr(engines, "check_trackers", lambda names: None)
    return made


def recipe(folder, engine):
    return Recipe.model_validate(
        {
            "engine": engine,
            "policy": "policy",
            "data": {"prompts": "prompts.jsonl"},
            "rewards": [{"kind": "length"}],
            "run": {"name": "run", "folder": str(folder), "steps": 9, "track": ["fake"]},
        }
    )


@pytest.mark.parametrize(
    ("engine", "module", "name"), [("local", local, "train"), ("cluster", launch, "train_on_cluster")]
)
@pytest.mark.parametrize("ends", ["finished", "stopped"])
def test_a_tracker_follows_a_run_of_either_engine(tmp_path, monkeypatch, tracker, engine, module, name, ends):
    seen = []

    def train(recipe, *, on_start, on_step, **_):
        with RunDirectory.open(recipe.run_path) as run:
            run.database.record_step(3, seconds=1.0, metrics={"reward/mean": 0.25})
            on_start(3)
            run.database.record_step(4, seconds=1.0, metrics=REPORT.metrics)
            on_step(REPORT)
        if ends == "stopped":
            raise StoppedError("the budget is spent")
        return "result"

    monkeypatch.setattr(module, name, train)
    try:
        assert engines.train(recipe(tmp_path, engine), on_step=seen.append, on_start=seen.append) == "result"
    except StoppedError:
        assert ends == "stopped"
    assert seen == [3, REPORT]
    assert (tracker.run.name, tracker.run.step, tracker.run.folder) == ("run", 3, tmp_path / "run")
    assert tracker.run.config["run.steps"] == 9
    assert tracker.logged == [(3, {"reward/mean": 0.25}), (4, {"reward/mean": 0.5})]
    assert tracker.texts_seen == [(4, list(REPORT.samples))]
    assert tracker.findings == [(4, REPORT.warnings[0])]
    assert tracker.state == ends
    with RunDirectory.read(tmp_path / "run") as run:
        assert json.loads(run.database.fact("tracker/fake") or "") == {"id": "new", "step": 4}


@pytest.mark.parametrize("call", [engines.train, engines.plan_training])
def test_an_unknown_tracker_is_refused_before_anything_else(tmp_path, call):
    with pytest.raises(BadInputError, match=r"run\.track: unknown tracker 'fake'"):
        call(recipe(tmp_path, "local"))
    assert not (tmp_path / "run").exists()


def test_a_run_on_a_cluster_continues_from_the_newest_checkpoint_of_verl(tmp_path):
    its = recipe(tmp_path, "cluster")
    assert launch.checkpoint_step(its) is None
    folder = launch.checkpoint_folder(its)
    folder.mkdir(parents=True)
    (folder / "latest_checkpointed_iteration.txt").write_text("40")
    assert launch.checkpoint_step(its) == 40


def test_a_tracker_named_twice_is_refused(tmp_path):
    with pytest.raises(ValueError, match="named twice"):
        recipe(tmp_path, "local").changed("run.track", ["wandb", "wandb"])
