"""Trackers get each step once and in order, also over a resume; what happens to them never happens to the run."""

import threading
import time
import warnings
from pathlib import Path

import pytest
from remembering import MemoryStore, RememberingTracker

from longform.monitors.series import Finding
from longform.records.database import RunDatabase
from longform.records.errors import BadInputError, StoppedError
from longform.tracking import available, background, run
from longform.tracking.background import TrackedStep
from longform.tracking.run import RunStore, TrackerWarning, Tracking, tracked_config
from longform.tracking.tracker import SampleText, TrackedRun, texts_table

RUN = TrackedRun("a-run", Path("runs/a-run"), {"optim.lr": 1e-6}, step=0)
TEXT = SampleText("request", "reference", "response", "win", 1.0)
FINDING = Finding("never-wins", 1, 3, "no win in 3 steps", "Lower the rung")


@pytest.fixture
def follow(monkeypatch):
    """follow(tracker or trackers by name, steps, ...) passes steps to trackers, and finishes them."""

    def follow_(trackers, steps=(), *, begin=0, store=None, error=None, places=None):
        named = trackers if isinstance(trackers, dict) else {"fake": trackers}
        monkeypatch.setattr(run, "build_tracker", named.__getitem__)
        tracking = Tracking(
            list(named), RUN, store or MemoryStore(), on_place=(places if places is not None else []).append
        )
        with tracking:
            tracking.start(begin)
            for step in steps:
                tracking.log(step if isinstance(step, TrackedStep) else TrackedStep(step, metrics(step)))
            if error is not None:
                raise error

    return follow_


def metrics(step):
    return {"reward/mean": step / 10}


def test_a_tracker_gets_every_step_its_texts_its_findings_and_the_end(follow):
    tracker, store, places = RememberingTracker(), MemoryStore(), []
    follow(tracker, [1, TrackedStep(2, metrics(2), [TEXT], [FINDING]), 3], store=store, places=places)
    assert tracker.logged == [(step, metrics(step)) for step in (1, 2, 3)]
    assert tracker.texts_seen == [(2, [TEXT])]
    assert tracker.findings == [(2, FINDING)]
    assert tracker.state == "finished"
    assert tracker.run == RUN
    assert places == ["fake: a place"]
    assert store.facts == {"fake": '{"id": "new", "step": 3}'}


@pytest.mark.parametrize(
    ("error", "state"),
    [(StoppedError("budget"), "stopped"), (KeyboardInterrupt(), "stopped"), (ZeroDivisionError(), "failed")],
)
def test_the_end_of_a_run_that_did_not_finish_is_told(follow, error, state):
    tracker = RememberingTracker()
    with pytest.raises(type(error)):
        follow(tracker, [1], error=error)
    assert tracker.state == state


def test_a_resumed_run_continues_the_same_run_without_double_steps(follow):
    store = MemoryStore()
    with pytest.raises(StoppedError):
        follow(RememberingTracker(), [1, 2, 3, 4], store=store, error=StoppedError("killed"))
    resumed = RememberingTracker()
    follow(resumed, [3, 4, 5], begin=2, store=store)  # rolled back to the checkpoint of step 2
    assert (resumed.run.id, resumed.run.step, resumed.run.sent) == ("new", 2, 4)
    assert resumed.steps == [5]


def test_a_tracker_that_can_take_back_steps_gets_them_anew(follow):
    store = MemoryStore()
    follow(RememberingTracker(), [1, 2, 3, 4], store=store)
    resumed = RememberingTracker(holds=2)
    follow(resumed, [3, 4, 5], begin=2, store=store)
    assert resumed.steps == [3, 4, 5]


def test_steps_that_a_tracker_lacks_come_from_the_records(follow):
    store = MemoryStore({step: metrics(step) for step in range(6)})
    late = RememberingTracker()  # named by the recipe from step 4 on
    follow(late, [5], begin=4, store=store)
    assert late.logged == [(step, metrics(step)) for step in range(6)]
    killed = RememberingTracker(holds=1)  # lost what it had not written
    follow(killed, [5], begin=3, store=store)
    assert killed.steps == [2, 3, 4, 5]


def test_the_validation_before_the_first_step_is_logged(follow):
    store = MemoryStore({0: {"validation/grade": 4.0}})
    tracker = RememberingTracker()
    follow(tracker, [1], store=store)
    assert tracker.logged[0] == (0, {"validation/grade": 4.0})


def test_metrics_without_a_value_are_left_out_as_in_the_records(follow):
    tracker = RememberingTracker()
    follow(tracker, [TrackedStep(1, {"reward/mean": float("nan"), "kl": 0.5})])
    assert tracker.logged == [(1, {"kl": 0.5})]


@pytest.mark.parametrize("place", ["start", "log", 2, "texts", "finding", "finish"])
def test_a_tracker_that_raises_is_switched_off_with_one_line_and_the_others_go_on(follow, place):
    broken, whole = RememberingTracker(raises_at=place), RememberingTracker()
    steps = [1, TrackedStep(2, metrics(2), [TEXT], [FINDING]), 3]
    with pytest.warns(TrackerWarning) as said:
        follow({"broken": broken, "whole": whole}, steps)
    assert len(said) == 1
    message = str(said[0].message)
    assert message.startswith(f"tracker broken is switched off: ConnectionError: no answer to {place} (")
    assert "\n" not in message
    assert whole.steps == [1, 2, 3]
    assert whole.state == "finished"
    assert broken.steps == ([] if place in ("start", "log") else [1] if place == 2 else broken.steps)


def test_a_tracker_that_exits_does_not_end_the_process(follow, monkeypatch):
    tracker = RememberingTracker()
    monkeypatch.setattr(tracker, "log", lambda step, metrics: exit(1))
    with pytest.warns(TrackerWarning, match="switched off: SystemExit"):
        follow(tracker, [1, 2])


def test_a_tracker_that_hangs_neither_slows_nor_keeps_the_run_and_says_so_once(follow, monkeypatch):
    monkeypatch.setattr(run, "FINISH_SECONDS", 0.2)
    monkeypatch.setattr(background, "QUEUED_STEPS", 3)
    waits = threading.Event()
    began = time.monotonic()
    with pytest.warns(TrackerWarning) as said:
        follow(RememberingTracker(waits=waits), range(1, 200))
    assert time.monotonic() - began < 10
    waits.set()
    assert [str(it.message) for it in said] == [
        "tracker fake is 3 steps behind; until it answers, it gets no texts and no warnings",
        "tracker fake does not answer and was not finished",
    ]


def test_a_slow_tracker_gets_the_steps_that_were_left_out_from_the_records(follow, monkeypatch):
    monkeypatch.setattr(background, "QUEUED_STEPS", 2)
    waits, tracker = threading.Event(), RememberingTracker()
    tracker.waits = waits
    store = MemoryStore({step: metrics(step) for step in range(1, 31)})

    class Steps:
        def __iter__(self):
            yield from range(1, 30)
            waits.set()
            deadline = time.monotonic() + 5
            while len(tracker.logged) < 2 and time.monotonic() < deadline:
                time.sleep(0.01)
            yield 30

    with pytest.warns(TrackerWarning, match="2 steps behind"):
        follow(tracker, Steps(), store=store)
    assert tracker.steps == list(range(1, 31))


def test_a_store_that_cannot_be_written_switches_a_tracker_off(follow, monkeypatch):
    store = MemoryStore()

    def full(name, value):
        raise StoppedError("run.sqlite: the disk is full")

    monkeypatch.setattr(store, "write", full)
    with pytest.warns(TrackerWarning, match="switched off: StoppedError: run.sqlite: the disk is full"):
        follow(RememberingTracker(), [1], store=store)


def test_no_trackers_no_threads(follow):
    before = threading.active_count()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        follow({}, [1, 2])
    assert threading.active_count() == before


def test_the_records_of_a_run_keep_what_a_resume_needs(tmp_path):
    path = tmp_path / "run.sqlite"
    database = RunDatabase(path)
    database.record_step(0, seconds=0.0, metrics={"validation/grade": 4.0})
    database.record_step(1, seconds=1.0, metrics={"a": 1.0, "b": 2.0, "c": float("nan")})
    database.record_step(2, seconds=1.0, metrics={"a": 3.0})
    store = RunStore(path)
    assert store.read("wandb") is None
    store.write("wandb", "an id")
    assert store.read("wandb") == "an id"
    assert database.fact("tracker/wandb") == "an id"
    assert list(store.metrics(0, 1)) == [(0, {"validation/grade": 4.0}), (1, {"a": 1.0, "b": 2.0})]
    assert list(store.metrics(2, 9)) == [(2, {"a": 3.0})]
    database.close()


def test_settings_that_look_like_secrets_are_left_out_of_the_configuration():
    settings = {
        "rewards": [{"kind": "own:Reward", "settings": {"api_key": "s3cret", "token": "s3cret", "max_tokens": 5}}],
        "optim": {"lr": 1e-6},
        "run": {"track": ["wandb"]},
    }
    assert tracked_config(settings) == {
        "rewards.0.kind": "own:Reward",
        "rewards.0.settings.max_tokens": 5,
        "optim.lr": 1e-6,
        "run.track.0": "wandb",
    }


def test_a_table_of_texts_has_references_where_there_are_any():
    assert texts_table([TEXT]) == (
        ["prompt", "reference", "response", "outcome", "reward"],
        [["request", "reference", "response", "win", 1.0]],
    )
    assert texts_table([TEXT._replace(reference="")])[0] == ["prompt", "response", "outcome", "reward"]


@pytest.mark.parametrize("name", list(available.LIBRARIES))
def test_a_library_that_is_not_installed_is_refused_with_the_command_that_installs_it(monkeypatch, name):
    monkeypatch.setattr(available, "find_spec", lambda module: None)
    with pytest.raises(BadInputError, match=rf"^run\.track: {name} is not installed: pip install {name}$"):
        available.check_trackers([name])


def test_a_library_that_is_installed_is_not_imported_by_the_check(monkeypatch):
    monkeypatch.setattr(available, "find_spec", lambda module: object())
    monkeypatch.setattr(available.importlib, "import_module", None)
    available.check_trackers(list(available.LIBRARIES))


def test_an_unknown_tracker_is_refused_with_the_nearest_name():
    with pytest.raises(BadInputError, match=r"track: unknown tracker 'wandbb'; .*did you mean 'wandb'\?"):
        available.check_trackers(["wandbb"], key="track")


def test_a_plugin_that_lacks_a_method_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "half_a_tracker.py").write_text("class Half:\n    def start(self, run): ...\n")
    with pytest.raises(BadInputError, match=r"run\.track: half_a_tracker:Half has no method 'log'"):
        available.check_trackers(["half_a_tracker:Half"])
    (tmp_path / "no_tracker.py").write_text("class Broken:\n    def __init__(self): raise ValueError('no address')\n")
    with pytest.raises(
        BadInputError, match=r"run\.track: no_tracker:Broken: ValueError: no address \(no_tracker.py:2\)"
    ):
        available.check_trackers(["no_tracker:Broken"])
