"""`longform train RECIPE`."""

from pathlib import Path
from typing import TYPE_CHECKING

from longform.cli.flags import Flag, SetValues
from longform.cli.output import console, print_result, printable, progress
from longform.monitors.series import Finding

if TYPE_CHECKING:
    from longform.recipe.recipe import Recipe
    from longform.steps.recorder import StepReport


def train(
    recipe: Path,
    *,
    set_: SetValues = (),
    resume: Flag = False,
    dry_run: Flag = False,
    json: Flag = False,
) -> None:
    """Train a writer against ladders of references, as the recipe says.

    Args:
        recipe: A YAML file.
        set_: KEY=VALUE in place of what the recipe says, such as --set optim.lr=2e-6. May be repeated.
        resume: Continue from the newest checkpoint of a run that was stopped or killed.
        dry_run: Check the recipe and everything it names, its judges among it, plan its memory, print it resolved, and stop.
        json: Print the result as JSON.
    """
    from longform.recipe.loading import load_recipe
    from longform.recipe.recipe import Recipe

    resolved = load_recipe(recipe, Recipe, set_)
    if dry_run:
        _print_plan(resolved)
        return
    if resolved.engine == "cluster":
        from longform.cluster.launch import train_on_cluster as train_run
    else:
        from longform.training.run import train as train_run

    with progress(f"training {resolved.run.name}") as advance:

        def on_step(report: "StepReport") -> None:
            advance(report.step, report.steps, report.note)
            for finding in report.warnings:
                _warn(finding)

        result = train_run(resolved, resume=resume, on_step=on_step)
    print_result(
        {
            "policy": str(result.policy_path),
            "steps": result.steps,
            "seconds": round(result.seconds, 1),
            "judge calls": result.calls.calls,
            "cost": result.calls.shown_cost,
        },
        as_json=json,
        next_command=f"longform report {result.path}",
    )


def _print_plan(recipe: "Recipe") -> None:
    """Check everything, start nothing: the recipe as it is resolved, and what it will need."""
    import asyncio

    from longform.curriculum.rules import own_rung
    from longform.endpoints.probe import probe
    from longform.recipe.inputs import check_inputs
    from longform.recipe.loading import dump_recipe

    inputs = check_inputs(recipe)
    if recipe.engine == "cluster":
        from longform.cluster.launch import plan_run

        lines = plan_run(recipe, inputs)
    else:
        from longform.training.run import check_start

        lines = [f"memory in GiB, {line}" for line in check_start(recipe, inputs).lines()]
    for name, spec in inputs.judges.items():
        lines.append(f"judge {name} {asyncio.run(probe(name, spec))}")
    ladders = [it for it in inputs.prompts if it.rungs]
    if ladders:
        own = sum(own_rung(ladder.rungs, recipe.policy_name) is not None for ladder in ladders)
        lines.append(f"{own} of {len(ladders)} ladders hold a response of {printable(recipe.policy_name)!r}")
    print(dump_recipe(recipe), end="")
    for line in lines:
        print(f"# {line}")
    print(f"# OK: {len(inputs.prompts)} prompts, judges {', '.join(inputs.judges) or 'none'}")


def _warn(finding: Finding) -> None:
    """A line above the progress bar, or among the lines of progress."""
    said = f"warning: {finding.name}, since step {finding.first}: {finding.evidence}. {finding.advice}"
    console.print(said, markup=False, soft_wrap=True)
