"""`longform reward-model RECIPE`."""

import json as json_
from pathlib import Path
from typing import TYPE_CHECKING

from longform.cli.flags import Flag, SetValues
from longform.cli.output import print_result, print_table, progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from longform.evaluation.reward_model import Examination
    from longform.records.schemas import Preference, PromptRow
    from longform.rewards.writing_model import WritingModel
    from longform.statistics.bootstrap import Interval
    from longform.training.reward_model import RewardModelReport

EXAMINATION = "examination.json"


def reward_model(
    recipe: Path,
    *,
    set_: SetValues = (),
    dry_run: Flag = False,
    examine: Path | None = None,
    json: Flag = False,
) -> None:
    """Train a reward model on preferences (Bradley-Terry) and evaluate it on held-out prompts.

    Args:
        recipe: Path to the recipe (YAML).
        set_: Override a recipe value: KEY=VALUE, such as --set settings.lr=2e-5. May be repeated.
        dry_run: Check the recipe and its files, print the resolved recipe, and exit.
        examine: Skip training: evaluate the reward model at the recipe's `out` on this preferences file.
        json: Print the result as JSON.
    """
    from longform.evaluation.tables import plain
    from longform.recipe.loading import dump_recipe, load_recipe
    from longform.records.errors import BadInputError
    from longform.records.files import write_text
    from longform.rewards.writing_model import WritingModel
    from longform.training.reward_model import HELD_OUT
    from longform.training.reward_model_recipe import RewardModelRecipe, read_preferences, read_split, run_reward_model
    from longform.writers.paths import is_model_folder

    resolved = load_recipe(recipe, RewardModelRecipe, set_)
    split = read_split(resolved) if examine is None else None
    if dry_run and split:
        print(dump_recipe(resolved), end="")
        print(f"# OK: {len(split.training)} training pairs, {len(split.held_out)} held out")
        return
    report = None
    if split:
        with progress(f"training a reward model on {resolved.base}") as advance:
            report = run_reward_model(
                resolved, split, on_progress=lambda step, steps, loss: advance(step, steps, f"loss {loss:.3f}")
            ).report
    elif not is_model_folder(str(resolved.out)):
        raise BadInputError(f"out: no reward model at {resolved.out}; run without --examine to train one")
    pairs = read_preferences(examine or resolved.out / HELD_OUT)
    examination = _examine(WritingModel(str(resolved.out), field="out"), pairs, batch=resolved.settings.batch_size)
    figures = plain(examination) | {"curve": plain(report.curve if report else [])}
    if examine is None:
        write_text(resolved.out / EXAMINATION, json_.dumps(figures, indent=1) + "\n")
    result = {
        "reward model": str(resolved.out),
        **({} if report is None else {"training pairs": report.pairs, "truncated texts": report.cut}),
        "evaluation pairs": examination.pairs,
        "accuracy": round(examination.accuracy.estimate, 4),
    }
    if json:
        print(json_.dumps(result | {"examination": figures}, ensure_ascii=False))
        return
    _print_examination(examination, report)
    print_result(result, as_json=False, next_command=f"rewards: [{{kind: writing, model: {resolved.out}}}] in a recipe")


def _examine(model: "WritingModel", pairs: "list[Preference]", *, batch: int) -> "Examination":
    from longform.evaluation.reward_model import examine

    with progress("evaluating the reward model") as advance:
        done = 0

        def score(texts: "Sequence[tuple[PromptRow, str]]") -> list[float]:
            nonlocal done
            found = model.scores(texts, batch=batch)
            done += len(texts)
            advance(done, done)
            return found

        return examine(score, pairs, spread=model.scale.spread)


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
    return f"{it.estimate:.3f}", f"{it.low:.3f} to {it.high:.3f}"
