"""Preferences from the verdicts of a stored run."""

from pathlib import Path

from longform.recipe.inputs import read_recorded_prompts
from longform.recipe.loading import load_stored_recipe
from longform.recipe.recipe import Recipe
from longform.records.errors import BadInputError
from longform.records.paths import check_out
from longform.records.run_directory import RunDirectory
from longform.selection.preferences import Preferences, prefer_by_verdict


def preferences_from_verdicts(run: Path, *, out: Path) -> Preferences:
    """Pair what a run's policy wrote with the references that it was judged against, and write the pairs to `out`.

    Raises:
        BadInputError: not a run, none of its rewards compares with a reference, `out` is one of its files or cannot be
            written, or there is no pair.
    """
    with RunDirectory.read(run) as stored:
        check_out(out, stored.recipe_path, stored.database_path)
        recipe = load_stored_recipe(stored.recipe_path, Recipe)
        check_out(out, *(it.path for it in recipe.data.parts))
        if not recipe.compares:
            raise BadInputError(f"{run}: none of the run's rewards compares with a reference, so it holds no verdicts")
        made = prefer_by_verdict(
            stored.database.rollouts(),
            read_recorded_prompts(stored, recipe.data),
            thinking=recipe.generation.think,
            policy=recipe.policy_name,
        )
    made.write(out, source=str(run))
    return made
