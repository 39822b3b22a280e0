"""`longform recipe list | copy`."""

from pathlib import Path
from shutil import get_terminal_size

from cyclopts import App

from longform.cli.flags import Flag
from longform.cli.output import print_result

MIN_WIDTH = 120
"""Of the list, so that no name is broken."""

recipe = App(name="recipe", help="List the recipes that come with longform, and copy one to start from.")


@recipe.command(name="list")
def list_recipes(*, json: Flag = False) -> None:
    """List the recipes that come with longform.

    Args:
        json: Print as JSON.
    """
    from longform.evaluation.tables import Column, Table, render
    from longform.project.shipped_recipes import list_recipes as all_recipes

    recipes = all_recipes()
    if json:
        facts = ("purpose", "method", "engine", "gpu", "command")
        print_result({it.name: {name: getattr(it, name) for name in facts} for it in recipes}, as_json=True)
        return
    columns = [Column(it, is_text=True) for it in ("name", "method", "engine", "GPU", "purpose")]
    rows = [[it.name, it.method, it.engine, it.gpu, it.purpose] for it in recipes]
    print(render(Table("Recipes", columns, rows), width=max(MIN_WIDTH, get_terminal_size().columns)))
    print("\nnext  longform recipe copy NAME")


@recipe.command
def copy(name: str, *, out: Path | None = None, force: Flag = False, json: Flag = False) -> None:
    """Copy a recipe, and write its JSON Schema beside it for your editor.

    Args:
        name: Name of the recipe (see `longform recipe list`).
        out: File to write, or the folder for it (default: the recipe's file name in the current folder).
        force: Replace an existing file.
        json: Print the result as JSON.
    """
    from longform.project.shipped_recipes import copy_recipe

    copied = copy_recipe(name, out=out, force=force)
    result = {"path": str(copied.path)} | ({"schema": str(copied.schema)} if copied.schema else {})
    print_result(result, as_json=json, next_command=copied.next_command)
