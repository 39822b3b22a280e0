"""`longform export trl|verifiers RECIPE`."""

import shlex
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
    run = [Path(sys.executable).name, str(script)]
    if trainer == "verifiers":  # the module is an environment for their own command
        run = ["env", f"PYTHONPATH={script.parent}", "vf-eval", script.stem, "-m", "MODEL", "--client.base-url", "URL"]
    print_result({"script": str(script)}, as_json=False, next_command=shlex.join(run))
