"""Trains a recipe, or plans its training, on the engine that it names: this process, or verl on a cluster."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from longform.curriculum.schedule import own_rung
from longform.endpoints.models import ModelSpec
from longform.endpoints.probe import find_listed
from longform.judging.probe import ProbeKind, probe
from longform.recipe.begin import check_begin
from longform.recipe.inputs import TrainingInputs, check_inputs
from longform.recipe.loading import load_recipe
from longform.recipe.recipe import Recipe
from longform.records.errors import BadInputError
from longform.rewards.plugin import try_rewards
from longform.rewards.settings import GroupSettings, PairwiseSettings
from longform.steps.recorder import RunResult, StepReport
from longform.tracking.available import check_trackers
from longform.tracking.background import TrackedStep
from longform.tracking.run import track_run


def train(
    recipe: Recipe | str | Path,
    *,
    resume: bool = False,
    self_check: bool = True,
    on_step: Callable[[StepReport], None] | None = None,
    on_start: Callable[[int], None] = lambda step: None,
    on_phase: Callable[[str], None] = lambda name: None,
    on_place: Callable[[str], None] = lambda line: None,
) -> RunResult:
    """Train a policy to the end of its recipe; the trackers of `run.track` follow it.

    Args:
        recipe: or the path of its file.
        resume: continue the run from its latest checkpoint.
        self_check: let the policy prove first that its generation and its training agree.
        on_step: called with the report of each finished step.
        on_start: called before the first step with the number of finished steps: 0, unless the run is resumed.
        on_phase: with engine local, called with what a step is at: writing, judging, updating or validating.
        on_place: called with a line for each tracker: where to look.

    Raises:
        BadInputError: something in the recipe cannot be used, or the run exists and `resume` is False.
        StoppedError: the run stopped and can be resumed.
    """
    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    check_trackers(recipe.run.track)
    with track_run(recipe, on_place=on_place) as tracking:

        def started(step: int) -> None:
            tracking.start(step)
            on_start(step)

        def reported(report: StepReport) -> None:
            tracking.log(TrackedStep(report.step, report.metrics, report.samples, report.warnings))
            if on_step is not None:
                on_step(report)

        if recipe.engine == "cluster":
            from longform.cluster.launch import train_on_cluster

            return train_on_cluster(recipe, resume=resume, on_step=reported, on_start=started)
        from longform.training.run import train as train_here

        return train_here(
            recipe, resume=resume, self_check=self_check, on_step=reported, on_start=started, on_phase=on_phase
        )


class TrainingPlan(NamedTuple):
    """What a run would use; nothing was started."""

    inputs: TrainingInputs
    lines: list[str]
    """Memory, judges, rewards of other packages and ladders, in words."""


def plan_training(recipe: Recipe, *, resume: bool | None = None, self_check: bool = True) -> TrainingPlan:
    """Check everything that can be checked without starting a run: files, memory, judges (one question each), rewards of
    other packages (one call each), and with `self_check` the policy's architecture. With `resume` also that the run can
    be begun (False) or continued (True).

    Raises:
        BadInputError: a check failed.
    """
    check_trackers(recipe.run.track)
    if resume is not None:
        check_begin(recipe, resume=resume)
    inputs = check_inputs(recipe)
    lines = try_rewards(recipe.rewards, inputs.prompts[0])
    if recipe.engine == "cluster":
        from longform.cluster.launch import plan_run

        lines += plan_run(recipe, inputs)
    else:
        from longform.training.run import check_policy, check_start

        start = check_start(recipe, inputs)
        lines += [f"memory in GiB, {line}" for line in start.memory.lines()]
        if self_check:
            lines.append(f"policy: {check_policy(recipe, start)}")
    lines += [_try_judge(recipe, name, spec) for name, spec in inputs.judges.items()]
    ladders = [it for it in inputs.prompts if it.rungs]
    if ladders:
        own = sum(own_rung(ladder.rungs, recipe.policy_name) is not None for ladder in ladders)
        lines.append(f"{own} of {len(ladders)} ladders contain a response of {recipe.policy_name!r}")
    return TrainingPlan(inputs, lines)


def _try_judge(recipe: Recipe, name: str, spec: ModelSpec) -> str:
    """Ask a judge one small question of each kind that the recipe needs; the answers are recorded (see `longform probe`).

    Raises:
        BadInputError: the endpoint cannot be reached, or an answer cannot be used.
    """
    kinds = sorted(_questions(recipe, name))
    if not kinds:  # a served reward model
        listed = asyncio.run(find_listed(name, spec))
        if listed.others:
            raise BadInputError(
                f"judge {name}: endpoint at {spec.address} has no model {spec.model!r}; it {listed.text}"
            )
        return f"judge {name} {listed.text}"
    report = probe(name, models=recipe.models, kinds=kinds)
    for it in report.results:
        if not it.is_usable:
            raise BadInputError(f"judge {name}: {it.kind}: {it.text}; try `longform probe {name}`")
    answers = "; ".join(f"{it.kind}: {it.text}" for it in report.results)
    return f"judge {name} {report.facts['models list']}; {answers} (cost {report.cost})"


def _questions(recipe: Recipe, name: str) -> set[ProbeKind]:
    """The kinds of questions that a recipe asks a judge."""
    kinds: set[ProbeKind] = set()
    for it in recipe.judged:
        if name in it.judges:
            compares = isinstance(it, PairwiseSettings | GroupSettings)
            kinds.add("pairwise" if compares else "criterion" if it.per_criterion else "pointwise")
    if recipe.validation is not None and recipe.validation.judge == name:
        kinds.add("criterion" if recipe.validation.per_criterion else "pointwise")
    return kinds
