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
    """Train a policy with PPO or GRPO from a recipe.

    Args:
        recipe: Path to the recipe (YAML).
        set_: Override a recipe value: KEY=VALUE, such as --set optim.lr=2e-6. May be repeated.
        resume: Continue from the latest checkpoint.
        dry_run: Check the recipe, its files and its judges, plan memory, print the resolved recipe, and exit.
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
    """Check everything without starting the run; print the resolved recipe and its resource plan."""
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
        lines.append(f"{own} of {len(ladders)} ladders contain a response of {printable(recipe.policy_name)!r}")
    print(dump_recipe(recipe), end="")
    for line in lines:
        print(f"# {line}")
    print(f"# OK: {len(inputs.prompts)} prompts, judges {', '.join(inputs.judges) or 'none'}")


def _warn(finding: Finding) -> None:
    """Print a warning above the progress bar, or between log lines."""
    message = f"warning: {finding.name}, since step {finding.first}: {finding.evidence}. {finding.advice}"
    console.print(message, markup=False, soft_wrap=True)
