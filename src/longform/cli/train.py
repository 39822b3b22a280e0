"""`longform train RECIPE`."""

from pathlib import Path
from typing import TYPE_CHECKING

from longform.cli.flags import Flag, SetValues
from longform.cli.output import command_line, console, print_result, printable, progress
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
    skip_self_check: Flag = False,
    json: Flag = False,
) -> None:
    """Train a policy with PPO or GRPO from a recipe.

    Args:
        recipe: Path to the recipe (YAML).
        set_: Override a recipe value: KEY=VALUE, such as --set optim.lr=2e-6. May be repeated.
        resume: Continue from the latest checkpoint.
        dry_run: Check the recipe, its files and its judges, plan memory, print the resolved recipe, and exit.
        skip_self_check: Skip the checks that log-probabilities at generation and in training agree, and that the
            policy can be saved.
        json: Print the result as JSON.
    """
    from longform import engines
    from longform.recipe.loading import check_working_directory, load_recipe

    resolved = load_recipe(recipe, overrides=set_)
    check_working_directory(recipe, set_)
    if dry_run:
        _print_plan(resolved, resume=resume, self_check=not skip_self_check)
        return
    with progress(f"training {resolved.run.name}", total=resolved.run.steps) as advance:

        def on_step(report: "StepReport") -> None:
            report.show(advance)
            for finding in report.warnings:
                _warn(finding)

        result = engines.train(
            resolved,
            resume=resume,
            self_check=not skip_self_check,
            on_step=on_step,
            on_start=advance.begin,
            on_phase=advance.phase,
            on_place=lambda line: console.print(printable(line), markup=False, soft_wrap=True),
        )
    print_result(
        {
            "policy": str(result.policy_path),
            "steps": result.steps,
            "seconds": round(result.seconds, 1),
            "judge calls": result.calls.calls,
            "cost": result.calls.shown_cost,
        },
        as_json=json,
        next_command=command_line("report", result.path),
    )


def _print_plan(recipe: "Recipe", *, resume: bool, self_check: bool) -> None:
    """Check everything without starting the run; print the resolved recipe and its resource plan."""
    from longform.engines import plan_training
    from longform.recipe.loading import dump_recipe

    inputs, lines = plan_training(recipe, resume=resume, self_check=self_check)
    print(dump_recipe(recipe), end="")
    for line in lines:
        print(f"# {printable(line)}")
    print(f"# OK: {len(inputs.prompts)} prompts, judges {', '.join(inputs.judges) or 'none'}")


def _warn(finding: Finding) -> None:
    """Print a warning above the progress bar, or between log lines."""
    message = f"warning: {finding.name}, since step {finding.first}: {finding.evidence}. {finding.advice}"
    console.print(message, markup=False, soft_wrap=True)
