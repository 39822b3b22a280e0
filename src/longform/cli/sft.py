"""`longform sft RECIPE`."""

from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longform.cli.flags import Flag, SetValues
from longform.cli.output import IS_MAIN, command_line, print_result, progress

if TYPE_CHECKING:
    from longform.planning.supervised import SupervisedPlan
    from longform.training.supervised.sft_recipe import SftRecipe
    from longform.training.supervised.sft_run import SftRows


def sft(
    recipe: Path,
    *,
    set_: SetValues = (),
    resume: Flag = False,
    dry_run: Flag = False,
    skip_self_check: Flag = False,
    json: Flag = False,
) -> None:
    """Fine-tune a writer on texts (supervised fine-tuning).

    Args:
        recipe: Path to the recipe (YAML).
        set_: Override a recipe value: KEY=VALUE, such as --set settings.lr=2e-5. May be repeated.
        resume: Continue from the latest checkpoint.
        dry_run: Check the recipe, its files and its memory, print the resolved recipe and the plan, and exit.
        skip_self_check: Skip the checks that rows fit into the model's context, that an update fits into memory, and that
            the model can be saved.
        json: Print the result as JSON.
    """
    from longform.recipe.loading import check_working_directory, load_recipe
    from longform.training.supervised.resumable import finished_updates
    from longform.training.supervised.sft import count_updates
    from longform.training.supervised.sft_recipe import SftRecipe
    from longform.training.supervised.sft_run import run_sft

    resolved = load_recipe(recipe, SftRecipe, set_)
    check_working_directory(recipe, set_)
    if dry_run:
        _print_plan(resolved, resume=resume, self_check=not skip_self_check)
        return
    began = finished_updates(resolved.checkpoints)
    with ExitStack() as shown:
        # Opened when all checks have passed.
        advance = cache(lambda: shown.enter_context(progress(f"fine-tuning {resolved.policy}")))
        result = run_sft(
            resolved,
            resume=resume,
            self_check=not skip_self_check,
            on_ready=lambda rows: advance()(began, count_updates(rows.training, resolved.settings)),
            on_progress=lambda step, steps, loss: advance()(step, steps, f"loss {loss:.3f}"),
        )
    report = result.report
    print_result(
        {
            "writer": str(result.path),
            "texts": result.rows.texts,
            **describe_rows(result.rows),
            "steps": report.steps,
            "loss": round(report.final_loss, 4),
            **describe_stage(report),
        },
        as_json=json,
        next_command=command_line("generate", "PROMPTS", "--writer", result.path, "--out", "RESPONSES"),
    )


def describe_rows(rows: "SftRows") -> dict[str, Any]:
    """Figures about rows that were cut or left out, if there are any."""
    cut = {"cut at max_tokens": rows.training.cut} if rows.training.cut else {}
    return cut | ({"left out": dict(rows.left_out)} if rows.left_out else {})


def describe_stage(report: Any) -> dict[str, Any]:
    """The number of skipped updates if there are any, and the validation loss of the weights that were kept."""
    skipped = {"updates skipped": report.skipped} if report.skipped else {}
    if report.best_step is None:
        return skipped
    return skipped | {
        "validation loss": round(min(it.loss for it in report.validations), 4),
        "weights of step": report.best_step,
    }


def _print_plan(recipe: "SftRecipe", *, resume: bool, self_check: bool) -> None:
    from longform.recipe.loading import dump_recipe
    from longform.training.supervised.resumable import check_planned_start
    from longform.training.supervised.sft import count_updates
    from longform.training.supervised.sft_run import NAME, check_sft, input_files, prepare_rows

    rows = prepare_rows(recipe)
    check_planned_start(recipe, input_files(recipe), name=NAME, resume=resume)
    plan = check_sft(recipe, rows) if self_check else None
    if not IS_MAIN:
        return
    print(dump_recipe(recipe), end="")
    figures = describe_rows(rows)
    more = "".join(f", {value} {name}" for name, value in figures.items() if name != "left out")
    more += "".join(f", {number} left out: {cause}" for cause, number in figures.get("left out", {}).items())
    print(f"# OK: {rows.texts} training texts{more}")
    print(f"# {count_updates(rows.training, recipe.settings):,} updates; longest row {rows.training.longest:,} tokens")
    print_memory(plan)


def print_memory(plan: "SupervisedPlan | None") -> None:
    """Print a memory plan as comments, if there is one."""
    for line in plan.lines() if plan else []:
        print(f"# memory of each device in GiB, {line}")
