"""`longform judge-model RECIPE`."""

import json as json_
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from longform.cli.flags import Flag, SetValues
from longform.cli.output import IS_MAIN, print_result, print_tables, progress
from longform.cli.sft import print_memory
from longform.records.errors import BadInputError

if TYPE_CHECKING:
    from longform.training.judge_model.recipe import JudgeModelRecipe


def judge_model(
    recipe: Path,
    *,
    set_: SetValues = (),
    resume: Flag = False,
    dry_run: Flag = False,
    skip_self_check: Flag = False,
    examine: Path | None = None,
    json: Flag = False,
) -> None:
    """Train a small model as a pairwise judge (fine-tuning on reasons, GRPO on labels) and evaluate it on held-out prompts.

    Args:
        recipe: Path to the recipe (YAML).
        set_: Override a recipe value: KEY=VALUE, such as --set rl.steps=100. May be repeated.
        resume: Continue the training from the latest checkpoint.
        dry_run: Check the recipe, its files and its memory, print the resolved recipe and the plan, and exit.
        skip_self_check: Skip the checks that questions fit into the model's context, that an update fits into memory, and
            that the model can generate and be saved.
        examine: Skip training: evaluate the judge model at the recipe's `out` on this file of labelled pairs.
        json: Print the result as JSON.
    """
    from longform.evaluation.judge_model import examine_judge_folder
    from longform.evaluation.tables import plain
    from longform.recipe.loading import check_working_directory, load_recipe
    from longform.training.judge_model.recipe import JudgeModelRecipe
    from longform.training.judge_model.run import ENTRY, run_judge_model

    resolved = load_recipe(recipe, JudgeModelRecipe, set_)
    check_working_directory(recipe, set_)
    if dry_run and examine is not None:
        raise BadInputError("--dry-run: checks a training, and --examine skips it; leave one of them out")
    if dry_run:
        _print_plan(resolved, resume=resume, self_check=not skip_self_check)
        return
    trained = None
    with _Stages() as stages:
        if examine is None:
            trained = run_judge_model(
                resolved, resume=resume, self_check=not skip_self_check, on_progress=stages.advance
            )
        examination = examine_judge_folder(
            resolved,
            examine,
            curve=trained.curve if trained else [],
            on_progress=lambda done, total: stages.advance("examining", done, total, "questions answered"),
        )
    accuracy = examination.figures.accuracy
    result = {
        "judge model": str(resolved.out),
        **(
            {} if trained is None else {"training pairs": trained.split.pairs, "training rows": len(trained.split.rows)}
        ),
        "evaluation pairs": examination.pairs,
        "accuracy": None if accuracy is None else round(accuracy.value.estimate, 4),
        "models.yaml": str(resolved.out / ENTRY),
    }
    if json:
        print(json_.dumps(result | {"examination": plain(examination)}, ensure_ascii=False))
        return
    print_tables(examination.tables)
    print()
    next_command = f"vllm serve {resolved.out} --served-model-name {resolved.out.name}"
    print_result(result, as_json=False, next_command=next_command)


class _Stages:
    """Shows a progress bar for the current stage."""

    def __init__(self) -> None:
        self._shown = ExitStack()
        self._name = ""

    def __enter__(self) -> "_Stages":
        return self

    def __exit__(self, *_: object) -> None:
        self._shown.close()

    def advance(self, stage: str, done: int, total: int, note: str) -> None:
        """Show the progress of a stage; a new stage replaces the bar."""
        if stage != self._name:
            self._shown.close()
            self._show = self._shown.enter_context(progress(stage))
            self._name = stage
        self._show(done, total, note)


def _print_plan(recipe: "JudgeModelRecipe", *, resume: bool, self_check: bool) -> None:
    from longform.recipe.loading import dump_recipe
    from longform.training.judge_model.recipe import read_split
    from longform.training.judge_model.run import NAME, check_chat_template, check_judge_model
    from longform.training.supervised.resumable import check_planned_start, model_files

    split = read_split(recipe)
    check_planned_start(recipe, [*recipe.pairs, *model_files(recipe.base)], name=NAME, resume=resume)
    check_chat_template(recipe)
    plan = check_judge_model(recipe, split) if self_check else None
    if not IS_MAIN:
        return
    print(dump_recipe(recipe), end="")
    left_out = "".join(f", {number} left out: {cause}" for cause, number in split.left_out.items())
    print(f"# OK: {split.pairs} training pairs, {len(split.held_out)} held out{left_out}")
    print(f"# {len(split.rows)} verdicts with reasons, {len(split.questions)} questions with labels")
    if plan is not None:
        print_memory(plan.sft)
        for line in plan.rl.lines() if plan.rl else []:
            print(f"# memory of the reinforcement learning in GiB, {line}")
