"""`longform pretrain RECIPE`."""

from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from longform.cli.flags import Flag, SetValues
from longform.cli.output import IS_MAIN, command_line, print_result, print_table, printable, progress
from longform.cli.sft import describe_stage, print_memory

if TYPE_CHECKING:
    from longform.training.supervised.pretrain_recipe import PretrainRecipe
    from longform.training.supervised.pretrain_run import PretrainResult


def pretrain(
    recipe: Path,
    *,
    set_: SetValues = (),
    resume: Flag = False,
    dry_run: Flag = False,
    skip_self_check: Flag = False,
    json: Flag = False,
) -> None:
    """Continue pretraining a base model on a mixture of raw text.

    Args:
        recipe: Path to the recipe (YAML).
        set_: Override a recipe value: KEY=VALUE, such as --set tokens=1000000. May be repeated.
        resume: Continue from the latest checkpoint.
        dry_run: Check the recipe, its files and its memory, print the resolved recipe and the plan, and exit.
        skip_self_check: Skip the checks that an update fits into memory and that the model can be saved.
        json: Print the result as JSON.
    """
    from longform.recipe.loading import check_working_directory, load_recipe
    from longform.training.supervised.pretrain_recipe import PretrainRecipe
    from longform.training.supervised.pretrain_run import run_pretraining

    resolved = load_recipe(recipe, PretrainRecipe, set_)
    check_working_directory(recipe, set_)
    if dry_run:
        _print_plan(resolved, resume=resume, self_check=not skip_self_check)
        return
    with ExitStack() as shown:
        # Opened at the first progress report, after all checks have passed.
        advance = cache(lambda: shown.enter_context(progress(f"pretraining {resolved.policy}")))
        result = run_pretraining(
            resolved,
            resume=resume,
            self_check=not skip_self_check,
            on_packing=lambda done, windows: advance()(done, windows, "windows packed"),
            on_training=lambda update, updates, loss: advance()(update, updates, f"loss {loss:.3f}"),
        )
    if not json:
        _print_mixture(result)
    print_result(
        {
            "model": str(result.path),
            "updates": result.report.steps,
            "tokens": resolved.used_tokens,
            "first loss": round(result.report.first_loss, 4),
            "loss": round(result.report.final_loss, 4),
            **describe_stage(result.report),
            **({"exports": [str(path) for path in result.exports]} if len(result.exports) > 1 else {}),
        }
        | ({"mixture": [row._asdict() for row in result.mixture]} if json else {}),
        as_json=json,
        next_command=command_line("train", "RECIPE", "--set", f"policy={result.path}"),
    )


def _print_plan(recipe: "PretrainRecipe", *, resume: bool, self_check: bool) -> None:
    from longform.recipe.loading import dump_recipe
    from longform.training.supervised.pretrain_recipe import plan_pretraining
    from longform.training.supervised.pretrain_run import NAME, input_files
    from longform.training.supervised.resumable import check_planned_start
    from longform.training.supervised.stage_check import check_stage_memory

    plans = plan_pretraining(recipe)
    check_planned_start(recipe, input_files(recipe), name=NAME, resume=resume)
    memory = check_stage_memory(recipe, recipe.policy, recipe.settings) if self_check else None
    if not IS_MAIN:
        return
    print(dump_recipe(recipe), end="")
    for name, plan in plans.items():
        size, epochs = "size unknown", ""
        if plan.counted is not None and plan.epochs is not None:
            about = "" if plan.counted.exact else "about "
            size = f"{plan.counted.documents:,} documents, {about}{plan.counted.tokens:,} tokens"
            epochs = f", {about}{plan.epochs:.2f} epochs"
        left_out = "".join(f", {number} {cause} left out" for cause, number in plan.left_out.items())
        print(f"# {printable(name)}: {size}{epochs}{left_out}")
    print(f"# OK: {recipe.updates:,} updates of {recipe.settings.update_tokens:,} tokens")
    for segment in recipe.branches:
        updates = f"updates {segment.start + 1:,} to {segment.end:,}"
        print(f"# export at {segment.share:.0%}: {updates} again, with a decay of their own")
    print_memory(memory)


def _print_mixture(result: "PretrainResult") -> None:
    rows = [
        [
            row.name,
            f"{row.documents:,}",
            f"{row.tokens:,}",
            f"{row.share:.2%}",
            f"{row.reached:.2%}",
            "unknown" if row.epochs is None else f"{row.epochs:.2f}",
            ", ".join(f"{number} {cause}" for cause, number in row.left_out.items()),
        ]
        for row in result.mixture
    ]
    columns = ["source", "documents", "tokens", "target share", "actual share", "epochs", "left out"]
    print_table("mixture", columns, rows)
