"""A run belongs to its recipe and to the files that it was begun with: whoever goes on with it has to bring the same."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from longform.recipe.loading import dump_recipe, load_recipe
from longform.recipe.recipe import Recipe
from longform.records.errors import BadInputError
from longform.records.files import write_text
from longform.records.run_directory import RunDirectory

CHANGEABLE = (
    "run.budget",
    "run.keep_checkpoints",
    "rewards.max_no_verdict",
    "memory.limit_gb",
    "memory.micro_tokens",
    "memory.gradient_checkpointing",
    "cluster.patience_hours",
)
"""What may differ when a run is resumed: nothing that decides a weight, but for the order in which numbers are added."""


def claim(run: RunDirectory, recipe: Recipe, *, resume: bool) -> None:
    """Write the resolved recipe into a new run; hold recipe and files against those of a run to be resumed.

    A run that ended before its first step holds nothing to be kept, and is begun again.

    Raises:
        BadInputError: the run exists and `resume` is False, or recipe or files are not those that it was begun with.
    """
    hashes = {name: _digest(path) for name, path in _files(recipe).items()}
    if run.recipe_path.exists() and run.database.last_step() > 0:
        if not resume:
            raise BadInputError(f"{run.path}: this run exists; go on with --resume, or choose another run.name")
        _check_unchanged(run.recipe_path, recipe)
        for name, path in _files(recipe).items():
            if run.database.fact(name) != hashes[name]:
                raise BadInputError(f"{path}: has changed since the run began; its records belong to the old file")
    for name, digest in hashes.items():
        run.database.set_fact(name, digest)
    write_text(run.recipe_path, dump_recipe(recipe))


def _files(recipe: Recipe) -> dict[str, Path]:
    """The files whose content decides what is written and asked."""
    files = {"prompts": recipe.data.path}
    if recipe.validation is not None:
        files["validation"] = recipe.validation.prompts
    if recipe.generation.think_prompt is not None:
        files["think_prompt"] = recipe.generation.think_prompt
    return files


def _check_unchanged(path: Path, recipe: Recipe) -> None:
    known, given = _flat(load_recipe(path, Recipe)), _flat(recipe)
    changed = [key for key in sorted(known.keys() | given.keys()) if known.get(key) != given.get(key)]
    changed = [key for key in changed if re.sub(r"\.\d+", "", key) not in CHANGEABLE]
    if changed:
        before, now = known.get(changed[0]), given.get(changed[0])
        raise BadInputError(
            f"{path}: the run was started with {changed[0]} {before}, not {now}; it can only be resumed as it was. "
            "To go on otherwise, start a new run whose `policy` is the newest checkpoint's"
        )


def _flat(recipe: Recipe) -> dict[str, Any]:
    """Settings by their dotted names."""

    def walk(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
        if isinstance(value, Mapping):
            for name, inner in value.items():
                yield from walk(f"{prefix}.{name}" if prefix else str(name), inner)
        elif isinstance(value, list):
            for place, inner in enumerate(value):
                yield from walk(f"{prefix}.{place}", inner)
        else:
            yield prefix, value

    return dict(walk("", recipe.model_dump(mode="json")))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
