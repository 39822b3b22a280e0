"""Preferences, and criteria, from the verdicts of a stored run."""

from pathlib import Path
from typing import Any

from longform.recipe.inputs import read_recorded_prompts
from longform.recipe.loading import load_stored_recipe
from longform.recipe.recipe import Recipe
from longform.records.errors import BadInputError
from longform.records.paths import check_out
from longform.records.run_directory import RunDirectory
from longform.selection.criteria import ContrastRow, CriteriaSummary, write_criteria
from longform.selection.preferences import Preferences, prefer_by_verdict


def preferences_from_verdicts(run: Path, *, out: Path) -> Preferences:
    """Pair what a run's policy wrote with the references that it was judged against, and write the pairs to `out`.

    Raises:
        BadInputError: not a run, none of its rewards compares with a reference, `out` is one of its files or cannot be
            written, or there is no pair.
    """
    made = _read_verdicts(run, out=out)
    made.write(out, source=str(run))
    return made


def write_criteria_from_run(run: Path, prompts: Path, *, out: Path, **options: Any) -> CriteriaSummary:
    """Have a judge write criteria from the newest verdict of a run on each prompt; see `selection.criteria.write_criteria`
    for `options`.

    Raises:
        BadInputError: as `preferences_from_verdicts` and `write_criteria` do.
        StoppedError: the budget is spent, or every request failed.
    """
    rows = [ContrastRow.model_validate(it.model_dump()) for it in _read_verdicts(run, out=out).rows]
    if not rows:
        raise BadInputError(f"{run}: no verdict is a win or a loss, so no better text is known; train more steps first")
    return write_criteria(prompts, out=out, contrasts=rows, **options)


def _read_verdicts(run: Path, *, out: Path) -> Preferences:
    with RunDirectory.read(run) as stored:
        check_out(out, stored.recipe_path, stored.database_path)
        recipe = load_stored_recipe(stored.recipe_path, Recipe)
        check_out(out, *(it.path for it in recipe.data.parts))
        if not recipe.compares:
            raise BadInputError(f"{run}: none of the run's rewards compares with a reference, so it holds no verdicts")
        return prefer_by_verdict(
            stored.database.rollouts(),
            read_recorded_prompts(stored, recipe.data),
            thinking=recipe.generation.think,
            policy=recipe.policy_name,
        )
