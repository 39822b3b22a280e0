"""What the four libraries are given, in the calls that each of them has (with the libraries: `make test-trackers`)."""

import sys
from typing import Any

import pytest
from remembering import MemoryStore
from stored_libraries import install

from longform.monitors.series import Finding
from longform.records.errors import StoppedError
from longform.tracking.available import LIBRARIES
from longform.tracking.background import TrackedStep
from longform.tracking.run import TrackerWarning, Tracking
from longform.tracking.tracker import SampleText, TrackedRun

TEXT = SampleText("request", "reference", "# Title\nresponse", "win", 1.0)
TABLE = {
    "columns": ["prompt", "reference", "response", "outcome", "reward"],
    "data": [["request", "reference", "# Title\nresponse", "win", 1.0]],
}
SHOWN = (
    "outcome win, reward 1.0\n\n**prompt**\n\n    request\n\n**reference**\n\n    reference\n\n"
    "**response**\n\n    # Title\n    response"
)
FINDING = Finding("never-wins", 1, 3, "no win in 3 steps", "Lower the rung")
SAID = "no win in 3 steps. Lower the rung"
CONFIG = {"optim.lr": 1e-6, **{f"rewards.{number}.kind": "pairwise" for number in range(120)}}
EXPECTED: dict[str, dict[str, Any]] = {
    "trackio": {
        "id": "a-run", "config": CONFIG, "table": TABLE, "alert": SAID, "ends": ["finished"] * 2,
        "place": "trackio show --project longform", "key": "reward:a",
    },
    "wandb": {
        "id": None, "config": CONFIG, "table": TABLE, "alert": f"WARN step 2: {SAID}", "ends": [1, 0],
        "place": "wandb sync wandb/offline-run-{id}", "key": "reward:a",
    },
    "tensorboard": {
        "id": "tensorboard", "config": None, "table": SHOWN, "alert": f"    {SAID}", "ends": ["closed"] * 2,
        "place": "tensorboard --logdir {folder}/tensorboard", "key": "reward:a",
    },
    "mlflow": {
        "id": "run-0", "config": {name: str(value) for name, value in CONFIG.items()}, "table": TABLE,
        "alert": f"step 2: {SAID}", "ends": ["KILLED", "FINISHED"], "place": "file:mlruns run run-0", "key": "reward_a",
    },
}  # fmt: skip


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch):
    for name in ("TRACKIO_PROJECT", "WANDB_PROJECT", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)


def follow(name, folder, store, steps, *, begin=0, error=None):
    """A run of these steps that a library follows; where it says to look."""
    places: list[str] = []
    run = TrackedRun("a-run", folder, CONFIG, step=0)
    with Tracking([name], run, store, on_place=places.append) as tracking:
        tracking.start(begin)
        for step in steps:
            told: Any = ([TEXT], [FINDING]) if step == 2 else ((), ())
            tracking.log(TrackedStep(step, {"reward:a": step / 10}, *told))
        if error is not None:
            raise error
    return places


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_library_gets_recipe_metrics_texts_findings_and_the_end_and_a_resume_continues_its_run(
    name, tmp_path, monkeypatch, capsys
):
    library, store, expected = install(monkeypatch, name), MemoryStore(), EXPECTED[name]
    with pytest.raises(StoppedError):
        follow(name, tmp_path, store, [1, 2, 3, 4], error=StoppedError("budget"))
    places = follow(name, tmp_path, store, [3, 4, 5], begin=2)
    ((run_id, run),) = library.runs.items()
    assert run_id == (expected["id"] or run_id)
    steps = [step for step, _ in run.metrics]
    # Offline, each process of wandb writes a folder of its own, which gets all steps that are on record.
    assert steps == ([1, 2, 3, 4, 3, 4, 5] if name == "wandb" else [1, 2, 3, 4, 5])
    assert all(values == {expected["key"]: step / 10} for step, values in run.metrics)
    if name == "tensorboard":
        assert run.config["recipe"].startswith('    {\n     "optim.lr": 1e-06,\n')
        # What was logged after the checkpoint is hidden, and logged anew.
        assert run.options == [{"purge_step": None}, {"purge_step": 3}]
    else:
        assert run.config == expected["config"]
        assert (run.name, run.project) == ("a-run", "longform")
    assert run.tables == [(2, expected["table"])]
    assert run.alerts == [("never-wins", expected["alert"])]
    assert run.ends == expected["ends"]
    assert places == [f"{name}: {expected['place'].format(id=run_id, folder=tmp_path)}"]
    assert capsys.readouterr().out == "", "stdout belongs to the command"


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_library_that_cannot_store_anything_is_switched_off_with_one_line(name, tmp_path, monkeypatch):
    library = install(monkeypatch, name, is_down=True)
    with pytest.warns(TrackerWarning) as said:
        follow(name, tmp_path, MemoryStore(), [1, 2, 3])
    assert [str(it.message).partition(" (")[0] for it in said] == [
        f"tracker {name} is switched off: ConnectionError: no answer"
    ]
    assert not library.runs


def test_wandb_without_a_key_says_what_to_do_and_online_it_knows_what_it_holds(tmp_path, monkeypatch):
    library, store = install(monkeypatch, "wandb", mode="online", login=False), MemoryStore()
    with pytest.warns(TrackerWarning, match="there is no API key: run `wandb login`, or set WANDB_MODE=offline"):
        follow("wandb", tmp_path, store, [1])
    library.login = True
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    follow("wandb", tmp_path, store, [1, 2, 3, 4])
    places = follow("wandb", tmp_path, store, [3, 4, 5], begin=2)
    ((run_id, run),) = library.runs.items()
    assert [step for step, _ in run.metrics] == [1, 2, 3, 4, 5]
    assert (run.project, places) == ("mine", [f"wandb: https://tracker.example/{run_id}"])


def test_a_second_run_of_the_same_name_is_another_run(tmp_path, monkeypatch):
    trackio, tensorboard = install(monkeypatch, "trackio"), install(monkeypatch, "tensorboard")
    for name in ("trackio", "tensorboard"):
        for _ in range(3):
            follow(name, tmp_path, MemoryStore(), [1])
    assert list(trackio.runs) == ["a-run", "a-run-2", "a-run-3"]
    assert list(tensorboard.runs) == ["tensorboard", "tensorboard-2", "tensorboard-3"]


def test_a_run_of_mlflow_whose_last_step_was_lost_goes_on_after_the_one_on_record(tmp_path, monkeypatch):
    library, store = install(monkeypatch, "mlflow"), MemoryStore()
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    follow("mlflow", tmp_path, store, [1, 2])
    client = sys.modules["mlflow"].MlflowClient()
    client.set_tag("run-0", "longform.step", "")
    follow("mlflow", tmp_path, store, [2, 3], begin=1)
    assert [step for step, _ in library.runs["run-0"].metrics] == [1, 2, 3]
    assert library.runs["run-0"].project == "mine"
    assert library.runs["run-0"].options == [{"status": "RUNNING"}]
