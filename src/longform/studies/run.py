"""Runs the missing tasks of a study, each after the tasks that it needs; resumable at any moment."""

import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from longform.records.errors import BadInputError, BudgetSpentError, LongformError, StoppedError
from longform.records.files import take_lock
from longform.records.progress import ProgressDisplay, no_progress
from longform.studies.examine import VALUES
from longform.studies.history import record_study
from longform.studies.money import share_of_budget
from longform.studies.page import findings_of
from longform.studies.results import read_results
from longform.studies.tasks import FinishedTask, StudyPlan, StudyTask
from longform.studies.work import CriteriaWork, GradeWork, MakeWorld, SelectWork, SftWork, TaskContext, WriteWork

OnTask = Callable[[StudyTask, int, int], None]
"""Called with (finished task, number of finished tasks, number of all tasks)."""


def missing_tasks(plan: StudyPlan) -> list[StudyTask]:
    """The tasks to do, each after those that it needs.

    These are the tasks that are not done, the examinations whose values were deleted, and what was deleted of the tasks that
    one of them needs. So what is no longer needed may be deleted, and is not made again.
    """
    measuring = {it.task for it in plan.measurements if it.metric is None}
    missing, needed = set[str](), set[str]()
    for key, task in reversed(plan.tasks.items()):
        is_lost = (key in measuring and not (task.folder / VALUES).exists()) or (
            key in needed and not _made(task).exists()
        )
        if is_lost or FinishedTask.read(plan.folder, key) is None:
            missing.add(key)
            needed |= set(task.needs)
    return [task for key, task in plan.tasks.items() if key in missing]


def _made(task: StudyTask) -> Path:
    """The file or folder that other tasks read."""
    if isinstance(task.work, WriteWork | CriteriaWork | GradeWork | SelectWork):
        return task.work.out
    return task.work.recipe.out if isinstance(task.work, SftWork) else task.folder


def run_study(
    plan: StudyPlan,
    *,
    jobs: int = 1,
    make_world: MakeWorld | None = None,
    progress: ProgressDisplay = no_progress,
    on_task: OnTask = lambda task, done, total: None,
) -> None:
    """Run the missing tasks of a study.

    Args:
        plan: The study's plan.
        jobs: Tasks that run at once, each in a process of its own if there are several.
        make_world: Writes the miniature world, for studies that have one; importable by name.
        progress: Display of a task's progress, with a single job.
        on_task: Called after each task.

    Raises:
        BadInputError: something that the study names cannot be used.
        StoppedError: a task stopped, or the budget is spent; the next call continues.
    """
    try:
        plan.folder.mkdir(parents=True, exist_ok=True)
        lock = take_lock(
            plan.folder / "lock", doing="is running a study in this folder; wait for it, or name another --out"
        )
    except OSError as error:
        raise BadInputError(f"{plan.folder}: cannot be written: {error.strerror}") from error
    with lock:
        _run_missing(plan, jobs, make_world, progress, on_task)


def _run_missing(
    plan: StudyPlan, jobs: int, make_world: MakeWorld | None, progress: ProgressDisplay, on_task: OnTask
) -> None:
    record_study(plan)
    missing = missing_tasks(plan)
    done = len(plan.tasks) - len(missing)
    measuring = {it.task for it in plan.measurements}

    def finished(task: StudyTask) -> None:
        nonlocal done
        done += 1
        if task.key in measuring:
            findings_of(read_results(plan)).write(plan.folder)
        on_task(task, done, len(plan.tasks))

    runner = _TaskRunner(plan.folder, plan.study.budget, jobs, make_world)
    if jobs == 1:
        for task in missing:
            runner.run(task, progress)
            finished(task)
        return
    context = multiprocessing.get_context("spawn")  # a process that forks after torch has started threads may hang
    with ProcessPoolExecutor(jobs, context, _begin_process, (os.getpid(),)) as pool:
        _run_in_pool(pool, missing, runner, finished)


@dataclass(frozen=True, slots=True)
class _TaskRunner:
    """Runs tasks of a study, in this process or, sent there, in another."""

    folder: Path
    budget: float | None
    jobs: int
    """Tasks that run at once, among which the remaining budget is divided."""
    make_world: MakeWorld | None

    def run(self, task: StudyTask, progress: ProgressDisplay = no_progress) -> None:
        """Do a task and mark it as done; one that has spent its share of the budget gets a share of what is left."""
        began = time.perf_counter()
        while True:
            share = None if self.budget is None else share_of_budget(self.budget, self.folder, jobs=self.jobs)
            try:
                task.work.do(task.folder, TaskContext(self.make_world, progress, share))
                break
            except BudgetSpentError:
                continue
            except LongformError as error:
                raise type(error)(f"{task.title}: {error}") from error
        seconds = round(time.perf_counter() - began, 1)
        FinishedTask(task.title, task.folder.relative_to(self.folder).as_posix(), seconds).write(self.folder, task.key)


def _run_in_pool(
    pool: ProcessPoolExecutor, missing: list[StudyTask], runner: _TaskRunner, finished: Callable[[StudyTask], None]
) -> None:
    """Start each task as soon as those that it needs are done; after a failure no further one is started."""
    waiting = {task.key: task for task in missing}
    running: dict[Future[None], StudyTask] = {}
    failure: LongformError | None = None
    while running or (waiting and failure is None):
        if failure is None:
            unfinished = {*waiting, *(task.key for task in running.values())}
            ready = [task for task in waiting.values() if unfinished.isdisjoint(task.needs)]
            for task in ready[: runner.jobs - len(running)]:
                running[pool.submit(runner.run, waiting.pop(task.key))] = task
        completed, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in completed:
            task = running.pop(future)
            try:
                future.result()
            except BrokenProcessPool as error:
                raise StoppedError(f"{task.title}: its process ended; run the same command again") from error
            except LongformError as error:
                failure = failure or error
            else:
                finished(task)
    if failure is not None:
        raise failure


def _begin_process(parent: int) -> None:
    """Prepare a worker process: torch gets one thread, and the process ends when the study's own process does."""
    os.environ["OMP_NUM_THREADS"] = "1"
    if (torch := sys.modules.get("torch")) is not None:  # it read the variable when it was imported
        torch.set_num_threads(1)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
