"""`longform export trl|verifiers RECIPE`."""

import sys
from pathlib import Path
from typing import Literal

from longform.cli.output import print_result


def export(trainer: Literal["trl", "verifiers"], recipe: Path, *, out: Path) -> None:
    """Write a folder with which another trainer trains on the rewards and the ladder of a recipe.

    The script in it calls the recipe's rewards as one function. Prompts move up their ladders as in `train`; their state and
    the judge calls are kept in the folder, so a restart goes on.

    Args:
        trainer: trl: a script for GRPOTrainer; verifiers: an environment.
        recipe: Recipe file.
        out: New folder.
    """
    from longform.export.folder import export_recipe

    script = export_recipe(recipe, out, trainer)
    print_result({"script": str(script)}, as_json=False, next_command=f"{Path(sys.executable).name} {script}")
