"""Checks of a study before it starts: models, benchmarks, files, and every recipe."""

from pathlib import Path

from longform.endpoints.models import find_model, read_models
from longform.engines import plan_training
from longform.evaluation.benchmarks.catalogue import find_benchmark, read_set
from longform.recipe.loading import load_stored_recipe
from longform.recipe.recipe import Recipe
from longform.records.errors import BadInputError
from longform.records.files import read_rows
from longform.records.resume import flatten
from longform.records.schemas import Prompt
from longform.studies.examine import BenchExam, CompareExam, EloExam, GradeExam
from longform.studies.plan import OPERATION
from longform.studies.results import prompts_of_part
from longform.studies.tasks import StudyPlan, StudyTask
from longform.studies.work import CriteriaWork, GradeWork, SftWork, TrainWork, WriteWork
from longform.training.supervised.sft_recipe import SFT_RECIPE, SftRecipe
from longform.writers.paths import check_model_path

SFT_OPERATION = {"out", "checkpoint_every", "keep_checkpoints"}
"""Keys of a fine-tuning that do not change its result, as `OPERATION` for a run."""


def check_study(plan: StudyPlan) -> None:
    """Check every name and file that exists already; what a task makes is checked by the task that reads it.

    Raises:
        BadInputError: something cannot be used.
    """
    _check_benchmarks(plan)
    _check_prompts(plan)
    _check_arms(plan)
    _check_measurements(plan)
    for task in plan.tasks.values():
        _check_models(plan, task)
        _check_defaults(task)
        if isinstance(task.work, TrainWork) and not any(it in plan.tasks for it in task.needs):
            plan_training(task.work.recipe)


def _check_benchmarks(plan: StudyPlan) -> None:
    """Check the data of benchmarks, and that those with a judge have one.

    Raises:
        BadInputError: the data is invalid, or a judge is missing or not needed.
    """
    for examination in plan.study.examine:
        if examination.bench is None or examination.data is None:
            continue
        benchmark = find_benchmark(examination.bench)
        if (benchmark.card.judging is None) == bool(examination.judge):
            what = "leave out `judge`: its answers are verified" if examination.judge else "needs `judge`"
            raise BadInputError(f"{plan.source}: examine: {examination.bench}: {what}")
        read_set(benchmark, examination.data)


def _check_prompts(plan: StudyPlan) -> None:
    """Check the prompts that the study does not make, before anything is trained or paid.

    Raises:
        BadInputError: `FILE:LINE: field: what is wrong`, or a file has no prompts.
    """
    paths: dict[Path, None] = {}
    for task in plan.tasks.values():
        if isinstance(task.work, WriteWork | CriteriaWork):
            paths[task.work.prompts] = None
        elif isinstance(task.work, TrainWork):
            data, validation = task.work.recipe.data, task.work.recipe.validation
            given = [data.prompts, None if validation is None else validation.prompts]
            paths |= dict.fromkeys(Path(it) for it in given if it is not None)
    for path in paths:
        if not _is_made(str(path), plan):
            for _ in read_rows(path, Prompt):
                pass


def _check_arms(plan: StudyPlan) -> None:
    """Check that arms differ: two with one policy share its run, and would be equal whatever they claim to test.

    Raises:
        BadInputError: two do not.
    """
    arms: dict[str, str] = {}
    for run in plan.runs:
        same = arms.setdefault(run.policies[run.last].key, run.arm)
        if same != run.arm:
            raise BadInputError(
                f"{plan.source}: arms.{run.arm}: is the same as arms.{same}, in every setting that changes its policy; "
                "leave one of them out"
            )


def _check_measurements(plan: StudyPlan) -> None:
    """Check that every column is measured: at steps that runs reach, and on prompts that exist.

    Raises:
        BadInputError: one is not.
    """
    last = max(run.last for run in plan.runs)
    measured = {it.column for it in plan.measurements}
    for column, (examination, _) in plan.study.columns.items():
        beyond = next((it for it in examination.at if isinstance(it, int) and it > last), None)
        if beyond is not None:
            raise BadInputError(
                f"{plan.source}: examine: {column}: at: step {beyond} is after the last step of every arm, {last}; "
                "name an earlier one, or `last`"
            )
        if column not in measured:
            raise BadInputError(
                f"{plan.source}: examine: {column}: no arm has a policy to measure at these steps; see `at`"
            )
    parts = {(it.column, it.prompts): it.where for it in plan.measurements}
    for (column, prompts), where in parts.items():
        if prompts is not None and prompts.exists():
            prompts_of_part(prompts, where, column=column)


def _check_defaults(task: StudyTask) -> None:
    """Check that a stored run, or a fine-tuned model, has the defaults of its recipe today: task keys leave defaults out.

    Raises:
        BadInputError: a default has changed since, in another version of longform.
    """
    work = task.work
    if isinstance(work, TrainWork):
        stored, schema, section = task.folder / "recipe.yaml", Recipe, "`train` of the study"
        now, operation = work.recipe.resolved, {f"run.{name}" for name in OPERATION}
    elif isinstance(work, SftWork):
        stored, schema, section = work.recipe.out / SFT_RECIPE, SftRecipe, "`set` of the fine-tuning"
        now, operation = work.recipe, SFT_OPERATION
    else:
        return
    if not stored.exists():
        return
    loaded = load_stored_recipe(stored, schema)
    before = flatten((loaded.resolved if isinstance(loaded, Recipe) else loaded).model_dump(mode="json"))
    stated = flatten(work.recipe.model_dump(mode="json", exclude_defaults=True))
    for name, value in flatten(now.model_dump(mode="json")).items():
        if name not in stated and name in before and before[name] != value and name not in operation:
            raise BadInputError(
                f"{stored}: was trained with {name} {before[name]}, whose default is now {value}; state it under {section}, "
                "or name another folder with --out"
            )


def _check_models(plan: StudyPlan, task: StudyTask) -> None:
    """Check that models.yaml has the models that a task asks, unless the study makes that file, and that a local model that
    it does not make is there.

    Raises:
        BadInputError: one is missing, or has no prices although the study has a budget.
    """
    work, needs_prices = task.work, plan.study.budget is not None
    if isinstance(work, GradeExam):
        work = work.grading
    if isinstance(work, WriteWork):
        names = [] if work.writer.is_local else [work.writer.source]
    elif isinstance(work, GradeWork | CriteriaWork | CompareExam | EloExam):
        names = [work.judge]
    elif isinstance(work, TrainWork):
        names = work.recipe.asked_with_validation
    elif isinstance(work, BenchExam):
        names = [*([] if work.judge is None else [work.judge]), *([] if work.writer.is_local else [work.writer.source])]
    else:
        return
    if isinstance(work, WriteWork | BenchExam) and work.writer.is_local and not _is_made(work.writer.source, plan):
        check_model_path(work.writer.source)
    models = work.recipe.models if isinstance(work, TrainWork) else work.models
    if names and models.exists():
        specs = read_models(models)
        for name in names:
            if find_model(specs, name, path=models).prices is None and needs_prices:
                raise BadInputError(
                    f"{plan.source}: budget: {models} has no `prices` for {name!r}, so its cost cannot be counted; add them"
                )


def _is_made(path: str, plan: StudyPlan) -> bool:
    return Path(path).resolve().is_relative_to(plan.folder.resolve())
