"""Running a study: order, resuming, several processes, and what is recorded. The tasks are small files."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from study_files import changed, planned, validated

from longform.recipe.loading import dump_recipe
from longform.records.errors import BadInputError, StoppedError
from longform.studies.check import check_study
from longform.studies.history import read_history, record_path, record_study
from longform.studies.run import missing_tasks, run_study
from longform.studies.status import KINDS, study_status
from longform.studies.tasks import StudyPlan, StudyTask
from longform.studies.work import TrainWork


@dataclass(frozen=True)
class Writes:
    """A task that appends its name to a log; it fails, or kills its process, while the file `failure` exists."""

    name: str
    reads: tuple[Path, ...] = ()
    failure: str = ""

    def do(self, folder, around):
        for path in self.reads:
            assert path.exists(), "a task began before one that it needs was done"
        if self.failure and Path(self.failure).exists():
            raise StoppedError("no more money")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "made").write_text(self.name)
        with Path("log").open("a") as log:
            log.write(f"{self.name}\n")


def chain(folder: Path, *, failure: str = "") -> StudyPlan:
    """Four tasks: b and c need a; d needs both."""
    plan = StudyPlan(validated(), folder / "out")
    needs = {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")}
    for name, keys in needs.items():
        reads = tuple(folder / "out" / key / "made" for key in keys)
        work = Writes(name, reads, failure if name == "c" else "")
        plan.tasks[name] = StudyTask(name, f"task {name}", folder / "out" / name, work, keys)
    return plan


def done(folder):
    path = folder / "log"
    return path.read_text().split() if path.exists() else []


@pytest.mark.parametrize("jobs", [1, 2])
def test_every_task_is_done_once_after_those_that_it_needs(tmp_path, jobs):
    plan, reports = chain(tmp_path), []
    run_study(plan, jobs=jobs, on_task=lambda task, done, total: reports.append((task.key, done, total)))
    assert sorted(done(tmp_path)) == ["a", "b", "c", "d"]
    assert done(tmp_path)[0] == "a"
    assert done(tmp_path)[-1] == "d"
    assert reports[-1] == ("d", 4, 4)
    run_study(plan, jobs=jobs)
    assert len(done(tmp_path)) == 4
    assert missing_tasks(plan) == []


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_task_that_stops_is_named_and_the_next_call_goes_on_with_it(tmp_path, jobs):
    (tmp_path / "failure").touch()
    plan = chain(tmp_path, failure=str(tmp_path / "failure"))
    with pytest.raises(StoppedError, match="task c: no more money"):
        run_study(plan, jobs=jobs)
    assert "d" not in done(tmp_path)
    (tmp_path / "failure").unlink()
    run_study(plan, jobs=jobs)
    assert sorted(done(tmp_path)) == ["a", "b", "c", "d"]


def test_a_mark_that_was_deleted_is_a_task_that_is_done_again(tmp_path):
    plan = chain(tmp_path)
    run_study(plan)
    (tmp_path / "out" / "done" / "d.json").unlink()
    assert [it.key for it in missing_tasks(plan)] == ["d"]
    run_study(plan)
    assert done(tmp_path) == ["a", "b", "c", "d", "d"]


def test_a_run_with_other_defaults_than_todays_is_refused_and_one_with_the_same_is_not(tmp_path):
    plan = planned(tmp_path)
    (task, *_) = [it for it in plan.tasks.values() if isinstance(it.work, TrainWork)]
    stored = task.work.recipe.resolved
    task.folder.mkdir(parents=True)
    (task.folder / "recipe.yaml").write_text(dump_recipe(stored))
    check_study(plan)
    (task.folder / "recipe.yaml").write_text(dump_recipe(stored.changed("run.checkpoint_every", 77)))
    check_study(plan)
    (task.folder / "recipe.yaml").write_text(dump_recipe(stored.changed("optim.kl_coef", 0.5)))
    with pytest.raises(BadInputError, match=r"optim.kl_coef 0.5, whose default is now 0\..*under `train`"):
        check_study(plan)


def test_the_record_names_every_version_of_the_study(tmp_path):
    plan = planned(tmp_path)
    plan.folder.mkdir()
    record_study(plan)
    record_study(planned(tmp_path, changed(seeds=[1, 2, 3])))
    history = read_history(plan)
    assert len({it["sha256"] for it in history}) == 2
    assert json.loads(record_path(plan).read_text())["study"]["seeds"] == [1, 2, 3]


def test_a_damaged_record_is_one_line(tmp_path):
    plan = planned(tmp_path)
    plan.folder.mkdir()
    record_path(plan).write_text("{")
    with pytest.raises(BadInputError, match="not the record of a study"):
        read_history(plan)


def test_the_status_counts_tasks_and_names_the_next(tmp_path, monkeypatch):
    monkeypatch.setitem(KINDS, Writes, "training")
    plan = chain(tmp_path)
    before: Any = study_status(plan)
    assert (before.done, before.tasks, before.next_task.key, before.calls) == (0, 4, "a", None)
    assert before.kinds[0].remaining is None
    run_study(plan)
    after = study_status(plan)
    assert (after.done, after.next_task, after.kinds[0].remaining) == (4, None, 0.0)
