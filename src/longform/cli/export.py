"""`longform export trl|verifiers RECIPE`."""

import sys
from pathlib import Path
from typing import Literal

from longform.cli.output import print_result


def export(trainer: Literal["trl", "verifiers"], recipe: Path, *, out: Path) -> None:
    """Write a folder with a script that trains with another trainer on the rewards and ladders of a recipe.

    The recipe's rewards become one reward function. Prompts move up their ladders as in `train`; their state and the judge
    calls are stored in the folder, so running the script again resumes.

    Args:
        trainer: trl: a script for GRPOTrainer; verifiers: an environment.
        recipe: Recipe file.
        out: New folder.
    """
    from longform.export.folder import export_recipe

    script = export_recipe(recipe, out, trainer)
    print_result({"script": str(script)}, as_json=False, next_command=f"{Path(sys.executable).name} {script}")
