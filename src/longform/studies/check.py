"""Checks of a study before it starts: models, benchmarks, files, and every recipe."""

from pathlib import Path

from longform.endpoints.models import find_model, read_models
from longform.engines import plan_training
from longform.evaluation.benchmarks.catalogue import find_benchmark, read_set
from longform.recipe.loading import load_stored_recipe
from longform.recipe.recipe import Recipe
from longform.records.errors import BadInputError
from longform.records.resume import flatten
from longform.studies.examine import BenchExam, CompareExam, EloExam, GradeExam
from longform.studies.plan import OPERATION
from longform.studies.tasks import StudyPlan, StudyTask
from longform.studies.work import CriteriaWork, GradeWork, TrainWork, WriteWork


def check_study(plan: StudyPlan) -> None:
    """Check every name and file that exists already; what a task makes is checked by the task that reads it.

    Raises:
        BadInputError: something cannot be used.
    """
    data = {(it.bench, it.data) for it in plan.study.examine if it.bench is not None and it.data is not None}
    for name, path in data:
        read_set(find_benchmark(name), path)
    for task in plan.tasks.values():
        _check_models(task, needs_prices=plan.study.budget is not None)
        if isinstance(task.work, TrainWork):
            _check_defaults(task.folder / "recipe.yaml", task.work.recipe)
        if isinstance(task.work, TrainWork) and not any(it in plan.tasks for it in task.needs):
            plan_training(task.work.recipe)


def _check_defaults(stored: Path, recipe: Recipe) -> None:
    """Check that a stored run has the same defaults as its recipe today, because task keys leave defaults out.

    Raises:
        BadInputError: a default has changed since, in another version of longform.
    """
    if not stored.exists():
        return
    before = flatten(load_stored_recipe(stored, Recipe).resolved.model_dump(mode="json"))
    stated = flatten(recipe.model_dump(mode="json", exclude_defaults=True))
    for name, value in flatten(recipe.resolved.model_dump(mode="json")).items():
        is_operation = name.startswith("run.") and name.split(".")[1] in OPERATION
        if name not in stated and name in before and before[name] != value and not is_operation:
            raise BadInputError(
                f"{stored}: was trained with {name} {before[name]}, whose default is now {value}; state it under `train` "
                "of the study, or name another folder with --out"
            )


def _check_models(task: StudyTask, *, needs_prices: bool) -> None:
    """Check that models.yaml has the models that a task asks, unless the study makes that file.

    Raises:
        BadInputError: one is missing, or has no prices although the study has a budget.
    """
    work = task.work
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
    models = work.recipe.models if isinstance(work, TrainWork) else work.models
    if names and models.exists():
        specs = read_models(models)
        for name in names:
            if find_model(specs, name, path=models).prices is None and needs_prices:
                raise BadInputError(
                    f"budget: {models} has no `prices` for {name!r}, so its cost cannot be counted; add them"
                )
