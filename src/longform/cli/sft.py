"""`longform sft RECIPE`."""

from pathlib import Path

from longform.cli.flags import Flag, SetValues
from longform.cli.output import command_line, print_result, progress


def sft(
    recipe: Path,
    *,
    set_: SetValues = (),
    dry_run: Flag = False,
    json: Flag = False,
) -> None:
    """Fine-tune a writer on prompt-response pairs (supervised fine-tuning).

    Args:
        recipe: Path to the recipe (YAML).
        set_: Override a recipe value: KEY=VALUE, such as --set settings.lr=2e-5. May be repeated.
        dry_run: Check the recipe and its files, print the resolved recipe, and exit.
        json: Print the result as JSON.
    """
    from longform.recipe.loading import dump_recipe, load_recipe
    from longform.training.sft_recipe import SftRecipe, read_lessons, run_sft

    resolved = load_recipe(recipe, SftRecipe, set_)
    if dry_run:
        lessons = read_lessons(resolved)
        print(dump_recipe(resolved), end="")
        print(f"# OK: {len(lessons)} training texts")
        return
    with progress(f"fine-tuning {resolved.policy}") as advance:
        result = run_sft(resolved, on_progress=lambda step, steps, loss: advance(step, steps, f"loss {loss:.3f}"))
    print_result(
        {
            "writer": str(result.path),
            "texts": result.rows,
            "steps": result.report.steps,
            "loss": round(result.report.final_loss, 4),
        },
        as_json=json,
        next_command=command_line("generate", "PROMPTS", "--writer", result.path, "--out", "RESPONSES"),
    )
