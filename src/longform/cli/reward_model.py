"""`longform reward-model RECIPE`."""

import json as json_
import math
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from longform.cli.flags import Flag, SetValues
from longform.cli.output import IS_MAIN, command_line, print_result, print_table, progress
from longform.cli.sft import describe_stage, print_memory
from longform.records.errors import BadInputError

if TYPE_CHECKING:
    from longform.evaluation.reward_model import Examination
    from longform.statistics.bootstrap import Interval
    from longform.training.supervised.reward_model import RewardModelReport
    from longform.training.supervised.reward_model_recipe import RewardModelRecipe


def reward_model(
    recipe: Path,
    *,
    set_: SetValues = (),
    resume: Flag = False,
    dry_run: Flag = False,
    skip_self_check: Flag = False,
    examine: Path | None = None,
    json: Flag = False,
) -> None:
    """Train a reward model on preferences (Bradley-Terry) and evaluate it on held-out prompts.

    Args:
        recipe: Path to the recipe (YAML).
        set_: Override a recipe value: KEY=VALUE, such as --set settings.lr=2e-5. May be repeated.
        resume: Continue the training from the latest checkpoint.
        dry_run: Check the recipe, its files and its memory, print the resolved recipe and the plan, and exit.
        skip_self_check: Skip the checks that texts fit into the model's context, that an update fits into memory, and that
            the model can be saved.
        examine: Skip training: evaluate the reward model at the recipe's `out` on this preferences file.
        json: Print the result as JSON.
    """
    from longform.evaluation.reward_model import examine_folder
    from longform.evaluation.tables import plain
    from longform.recipe.loading import check_working_directory, load_recipe
    from longform.training.supervised.preferences import HELD_OUT
    from longform.training.supervised.reward_model_recipe import RewardModelRecipe, run_reward_model

    resolved = load_recipe(recipe, RewardModelRecipe, set_)
    check_working_directory(recipe, set_)
    if dry_run and examine is not None:
        raise BadInputError("--dry-run: checks a training, and --examine skips it; leave one of them out")
    if dry_run:
        _print_plan(resolved, resume=resume, self_check=not skip_self_check)
        return
    report = None
    if examine is None:
        with ExitStack() as shown:
            # Opened at the first progress report, after all checks have passed.
            advance = cache(lambda: shown.enter_context(progress(f"training a reward model on {resolved.base}")))
            report = run_reward_model(
                resolved,
                resume=resume,
                self_check=not skip_self_check,
                on_progress=lambda step, steps, loss: advance()(step, steps, f"loss {loss:.3f}"),
            ).report
    if not IS_MAIN:
        return
    with ExitStack() as shown:
        advance = cache(lambda: shown.enter_context(progress("evaluating the reward model")))
        examination = examine_folder(
            resolved.out,
            examine or resolved.out / HELD_OUT,
            settings=resolved.examination,
            batch=resolved.texts_at_once,
            curve=report.curve if report else [],
            trust_remote_code=resolved.trust_remote_code,
            on_progress=lambda done, texts: advance()(done, texts, "texts scored"),
        )
    result = {
        "reward model": str(resolved.out),
        **({} if report is None else {"training pairs": report.pairs, "truncated texts": report.cut}),
        **({} if report is None else describe_stage(report.stage)),
        "evaluation pairs": examination.pairs,
        "accuracy": round(examination.accuracy.estimate, 4),
    }
    if json:
        figures = plain(examination) | {"curve": plain(report.curve if report else [])}
        print(json_.dumps(result | {"examination": figures}, ensure_ascii=False))
        return
    _print_examination(examination, report)
    rewards = f"rewards=[{{kind: writing, model: {resolved.out}}}]"
    print_result(result, as_json=False, next_command=command_line("train", "RECIPE", "--set", rewards))


def _print_plan(recipe: "RewardModelRecipe", *, resume: bool, self_check: bool) -> None:
    from longform.recipe.loading import dump_recipe
    from longform.training.supervised.resumable import check_planned_start
    from longform.training.supervised.reward_model_recipe import NAME, check_reward_model, input_files, read_split

    split = read_split(recipe)
    check_planned_start(recipe, input_files(recipe), name=NAME, resume=resume)
    plan = check_reward_model(recipe, split) if self_check else None
    if not IS_MAIN:
        return
    print(dump_recipe(recipe), end="")
    validation = f", {len(split.validation)} for validation" if split.validation else ""
    print(f"# OK: {len(split.training)} training pairs, {len(split.held_out)} held out{validation}")
    print(f"# {recipe.settings.updates(len(split.training)):,} updates")
    print_memory(plan)


def _print_examination(it: "Examination", report: "RewardModelReport | None") -> None:
    equal = it.equal_length_accuracy
    print_table(
        f"Evaluation on {it.pairs} pairs of {it.prompts} prompts (95% intervals over prompts)",
        ["", "share", "interval"],
        [
            ["right", *_interval(it.accuracy)],
            ["accuracy on equal lengths", *(_interval(equal) if equal else ("no such pairs", ""))],
            ["accuracy of choosing the longer", *_interval(it.longer_wins)],
            ["correlation of score and length", *_interval(it.length_correlation)],
            ["calibration error", f"{it.calibration_error:.3f}", ""],
        ],
    )
    print_table(
        "Calibration",
        ["probability from", "pairs", "predicted", "observed"],
        [
            [f"{bin_.low:.1f}", str(bin_.pairs), f"{bin_.expected:.2f}", f"{bin_.observed:.2f}"]
            for bin_ in it.calibration
        ],
    )
    print_table(
        f"Words that raise the score when added alone, of {it.probed} tested",
        ["word", "standard deviations", "interval"],
        [[effect.word, *_interval(effect.shift)] for effect in it.keywords[:10]] or [["none", "", ""]],
    )
    if report is not None:
        print_table(
            "Learning curve on the held-out pairs",
            ["step", "loss", "right"],
            [[str(point.step), f"{point.loss:.3f}", f"{point.accuracy:.3f}"] for point in report.curve],
        )


def _interval(it: "Interval") -> tuple[str, str]:
    return f"{it.estimate:.3f}", "too few prompts" if math.isnan(it.low) else f"{it.low:.3f} to {it.high:.3f}"
