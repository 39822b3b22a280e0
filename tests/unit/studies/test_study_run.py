"""Running a study: order, resuming, several processes, and what is recorded. The tasks are small files."""

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from study_files import changed, planned, validated

from longform.endpoints.limits import Budget
from longform.endpoints.recorded import calls_path
from longform.recipe.loading import dump_recipe
from longform.records.calls import SqliteCallLog
from longform.records.errors import BadInputError, StoppedError
from longform.records.files import take_lock
from longform.studies.check import check_study
from longform.studies.examine import VALUES
from longform.studies.history import count_changes, read_history, record_path, record_study
from longform.studies.money import budget_beside, total_calls
from longform.studies.results import read_results
from longform.studies.run import missing_tasks, run_study
from longform.studies.status import KINDS, study_status
from longform.studies.tasks import Measurement, StudyPlan, StudyTask
from longform.studies.work import SftWork, TrainWork
from viewed_runs import judge_call


@dataclass(frozen=True)
class Writes:
    """A task that appends its name to a log; it fails, or kills its process, while the file `failure` exists."""

    name: str
    reads: tuple[Path, ...] = ()
    failure: str = ""

    def do(self, folder, context):
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
    plan = StudyPlan(validated(), folder / "out", folder / "study.yaml")
    needs = {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")}
    for name, keys in needs.items():
        reads = tuple(folder / "out" / key / "made" for key in keys)
        work = Writes(name, reads, failure if name == "c" else "")
        plan.tasks[name] = StudyTask(name, f"task {name}", folder / "out" / name, work, keys)
    return plan


def done(folder):
    path = folder / "log"
    return path.read_text().split() if path.exists() else []


def test_every_task_is_done_once_after_those_that_it_needs(tmp_path):
    plan, reports = chain(tmp_path), []
    run_study(plan, on_task=lambda task, done, total: reports.append((task.key, done, total)))
    assert sorted(done(tmp_path)) == ["a", "b", "c", "d"]
    assert done(tmp_path)[0] == "a"
    assert done(tmp_path)[-1] == "d"
    assert reports[-1] == ("d", 4, 4)
    run_study(plan)
    assert len(done(tmp_path)) == 4
    assert missing_tasks(plan) == []


def test_a_task_that_stops_is_named_and_the_next_call_goes_on_with_it(tmp_path):
    (tmp_path / "failure").touch()
    plan = chain(tmp_path, failure=str(tmp_path / "failure"))
    with pytest.raises(StoppedError, match="task c: no more money"):
        run_study(plan)
    assert "d" not in done(tmp_path)
    (tmp_path / "failure").unlink()
    run_study(plan)
    assert sorted(done(tmp_path)) == ["a", "b", "c", "d"]


def test_two_processes_keep_the_order_stop_with_a_task_and_go_on_with_it(tmp_path):
    (tmp_path / "failure").touch()
    plan, reports = chain(tmp_path, failure=str(tmp_path / "failure")), []
    with pytest.raises(StoppedError, match="task c: no more money"):
        run_study(plan, jobs=2)
    assert done(tmp_path)[0] == "a"
    assert "d" not in done(tmp_path)
    (tmp_path / "failure").unlink()
    run_study(plan, jobs=2, on_task=lambda task, done, total: reports.append((task.key, done, total)))
    assert sorted(done(tmp_path)) == ["a", "b", "c", "d"]
    assert reports[-1] == ("d", 4, 4)
    assert missing_tasks(plan) == []


def test_a_mark_that_was_deleted_is_a_task_that_is_done_again(tmp_path):
    plan = chain(tmp_path)
    run_study(plan)
    (tmp_path / "out" / "done" / "d.json").unlink()
    assert [it.key for it in missing_tasks(plan)] == ["d"]
    run_study(plan)
    assert done(tmp_path) == ["a", "b", "c", "d", "d"]


def test_what_was_deleted_is_made_again_only_where_something_needs_it(tmp_path, monkeypatch):
    monkeypatch.setitem(KINDS, Writes, "training")
    plan = chain(tmp_path)
    run_study(plan)
    shutil.rmtree(tmp_path / "out" / "a")
    assert missing_tasks(plan) == []
    (tmp_path / "out" / "done" / "b.json").unlink()
    assert [it.key for it in missing_tasks(plan)] == ["a", "b"]
    status = study_status(plan)
    assert (status.done, status.next_task) == (2, plan.tasks["a"])
    run_study(plan)
    assert missing_tasks(plan) == []
    plan.measurements.append(Measurement("grade", "dynamic", 1, 6, is_last=True, task="d"))
    assert [it.key for it in missing_tasks(plan)] == ["d"], "its values are gone"
    (tmp_path / "out" / "d" / VALUES).write_text("{")
    with pytest.raises(BadInputError, match=r"values\.jsonl:1: .*; delete this file and run the study again"):
        read_results(plan)


def test_a_second_process_in_the_same_folder_is_refused(tmp_path):
    plan = chain(tmp_path)
    plan.folder.mkdir()
    with take_lock(plan.folder / "lock", doing="."):
        with pytest.raises(BadInputError, match=r"out: another process \(pid \d+\) is running a study in this folder"):
            run_study(plan)
        assert done(tmp_path) == []
    run_study(plan)


def test_a_run_with_other_defaults_than_todays_is_refused_and_one_with_the_same_is_not(tmp_path):
    plan = planned(tmp_path)
    task: Any = next(it for it in plan.tasks.values() if isinstance(it.work, TrainWork))
    stored = task.work.recipe.resolved
    task.folder.mkdir(parents=True)
    (task.folder / "recipe.yaml").write_text(dump_recipe(stored))
    check_study(plan)
    (task.folder / "recipe.yaml").write_text(dump_recipe(stored.changed("run.checkpoint_every", 77)))
    check_study(plan)
    (task.folder / "recipe.yaml").write_text(dump_recipe(stored.changed("optim.kl_coef", 0.5)))
    with pytest.raises(BadInputError, match=r"optim.kl_coef 0.5, whose default is now 0\..*under `train`"):
        check_study(plan)


def test_a_fine_tuned_model_with_other_defaults_than_todays_is_refused(tmp_path):
    plan = planned(tmp_path)
    task: Any = next(it for it in plan.tasks.values() if isinstance(it.work, SftWork))
    recipe = task.work.recipe
    recipe.out.mkdir(parents=True)
    stored = recipe.model_dump(mode="json")
    for key, value in (("checkpoint_every", 7), ("keep_checkpoints", 5)):
        (recipe.out / "sft.yaml").write_text(yaml.safe_dump(stored | {key: value}))
        check_study(plan)
    settings = stored["settings"] | {"weight_decay": 0.5}
    (recipe.out / "sft.yaml").write_text(yaml.safe_dump(stored | {"settings": settings}))
    with pytest.raises(
        BadInputError, match=r"settings.weight_decay 0.5, whose default is now 0\.0; .*`set` of the fine-tuning"
    ):
        check_study(plan)


@dataclass(frozen=True)
class Spends:
    """A task whose calls cost 1 each, recorded beside a file; it goes on after those that are on record."""

    name: str
    calls: int

    def do(self, folder, context):
        folder.mkdir(parents=True, exist_ok=True)
        out = folder / "made"
        with SqliteCallLog(calls_path(out)) as log:
            budget = Budget(budget_beside(out, context.share), spent=log.totals().cost)
            for number in range(log.totals().calls, self.calls):
                budget.check()
                log.record(replace(judge_call(f"{self.name}-{number}", "[[A]]"), cost=1.0))
                budget.add(1.0)


def spending(folder: Path, budget: float | None) -> StudyPlan:
    """Three tasks of four calls each."""
    plan = StudyPlan(validated(budget=budget), folder / "out", folder / "study.yaml")
    for name in "abc":
        plan.tasks[name] = StudyTask(name, f"task {name}", folder / "out" / name, Spends(name, 4), ())
    return plan


@pytest.mark.parametrize("jobs", [1, pytest.param(3, marks=pytest.mark.full)])
def test_a_study_stops_when_its_budget_is_spent_and_goes_on_with_a_larger_one(tmp_path, jobs):
    with pytest.raises(StoppedError, match=r"budget of 6 spent: .*raise `budget` in the study file"):
        run_study(spending(tmp_path, 6), jobs=jobs)
    spent = total_calls(tmp_path / "out")
    assert spent is not None
    assert spent.cost == 6 if jobs == 1 else 6 <= spent.cost < 6 + jobs
    run_study(spending(tmp_path, 12.5), jobs=jobs)
    assert missing_tasks(spending(tmp_path, None)) == []
    total = total_calls(tmp_path / "out")
    assert total is not None
    assert total.calls == 12


def test_a_budget_needs_prices_and_is_no_change_of_the_study(tmp_path):
    plan = planned(tmp_path, changed(budget=5))
    with pytest.raises(BadInputError, match=r"budget: models.yaml has no `prices` for 'big'"):
        check_study(plan)
    plan.folder.mkdir()
    record_study(plan)
    record_study(planned(tmp_path))
    assert len(read_history(plan)) == 1


def test_the_record_names_every_version_of_the_study(tmp_path):
    plan = planned(tmp_path)
    plan.folder.mkdir()
    record_study(plan)
    record_study(planned(tmp_path, changed(seeds=[1, 2, 3])))
    history = read_history(plan)
    assert len({it["sha256"] for it in history}) == 2
    assert json.loads(record_path(plan).read_text())["study"]["seeds"] == [1, 2, 3]
    assert count_changes(planned(tmp_path, changed(seeds=[1, 2, 3]))) == 1
    assert count_changes(planned(tmp_path, changed(seeds=[1]))) == 2, "a change that was not run counts too"


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
