"""The recipes that come with the package, to be listed and copied."""

from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path
from shlex import quote
from typing import Any, Literal, NamedTuple

import yaml

from longform.project.json_schemas import FileKind, dump_schema, is_generated, schema_line, schema_name
from longform.records.errors import BadInputError
from longform.records.files import write_text
from longform.records.optional import EXTRAS

_GPUS = "{nodes} x {gpus_per_node} x {gpu_memory_gb} GB"


@dataclass(frozen=True, slots=True)
class ShippedRecipe:
    """A recipe of this package."""

    name: str
    """Its path without the suffix, such as `arms/panel`."""
    purpose: str
    """Its first comment line."""
    method: str
    """ppo or grpo, or the command that reads it; accelerate for a configuration of `accelerate launch`."""
    engine: Literal["local", "cluster"]
    gpu: str
    """What it was planned for; `any` if it states no limit."""
    kind: FileKind | None
    """What the file is to the JSON Schemas; None for a configuration of `accelerate launch`."""
    text: str
    """The file."""

    @property
    def command(self) -> str:
        """The command that reads it."""
        return "accelerate launch" if self.kind is None else command_of(self.kind)


class CopiedRecipe(NamedTuple):
    """The files that `copy_recipe` wrote."""

    path: Path
    schema: Path | None
    """Its JSON Schema; None without the packages that the schema is generated with."""
    next_command: str
    """Checks the copy."""


def command_of(kind: FileKind) -> str:
    """The subcommand of longform that reads a kind of recipe."""
    return {"recipe": "train", "study": "study run", "models": "probe"}.get(kind, kind)


@cache
def list_recipes() -> tuple[ShippedRecipe, ...]:
    """All recipes of the package, those of the top folder first, then by name."""
    with as_file(files("longform") / "recipes") as folder:
        paths = sorted(folder.rglob("*.yaml"), key=lambda path: (path.parent != folder, path))
        named = {path.relative_to(folder).with_suffix("").as_posix(): path.read_text("utf-8") for path in paths}
        return tuple(_read(name, text) for name, text in named.items())


def find_recipe(name: str) -> ShippedRecipe:
    """The recipe of a name, with or without `.yaml`.

    Raises:
        BadInputError: there is none; suggests the nearest name.
    """
    known = {it.name: it for it in list_recipes()}
    wanted = name.removesuffix(".yaml")
    if wanted in known:
        return known[wanted]
    by_stem = {it.rpartition("/")[2]: it for it in known}
    near = get_close_matches(wanted, [*known, *by_stem], n=1)
    hint = f"did you mean {by_stem.get(near[0], near[0])!r}?" if near else "`longform recipe list` shows all"
    raise BadInputError(f"unknown recipe {name!r}; {hint}")


def copy_recipe(name: str, *, out: Path | None = None, force: bool = False) -> CopiedRecipe:
    """Write a recipe and, beside it, its JSON Schema, which the copy's first line names.

    Args:
        name: of `list_recipes`.
        out: file or existing folder; by default the recipe's own file name in the current folder.
        force: replace existing files. A schema that longform generated is replaced in any case.

    Raises:
        BadInputError: unknown name, a file exists and `force` is False, or it cannot be written.
    """
    recipe = find_recipe(name)
    file_name = f"{recipe.name.rpartition('/')[2]}.yaml"
    path = Path(file_name) if out is None else out / file_name if out.is_dir() else out
    if path.exists() and not force:
        raise BadInputError(f"{path}: exists; choose another file with --out, or replace it with --force")
    schema = None if recipe.kind is None else _try_schema(recipe.kind)
    if schema is None or recipe.kind is None:
        write_text(path, recipe.text)
        return CopiedRecipe(path, None, _check_command(recipe, path))
    schema_path = path.with_name(schema_name(recipe.kind))
    if schema_path.exists() and not (force or is_generated(schema_path, recipe.kind)):
        raise BadInputError(
            f"{schema_path}: exists and is not a schema of longform; move it, or replace it with --force"
        )
    write_text(schema_path, schema)
    write_text(path, schema_line(recipe.kind) + recipe.text)
    return CopiedRecipe(path, schema_path, _check_command(recipe, path))


def _check_command(recipe: ShippedRecipe, path: Path) -> str:
    if recipe.kind is None:
        return f"accelerate launch --config_file {quote(str(path))} -m longform COMMAND RECIPE"
    if recipe.kind == "models":
        return f"longform probe {next(iter(yaml.safe_load(recipe.text)))} --models {quote(str(path))}"
    return f"longform {recipe.command} {quote(str(path))} --dry-run"


def _try_schema(kind: FileKind) -> str | None:
    """The schema, or None if it needs an extra that is not installed."""
    try:
        return dump_schema(kind)
    except ModuleNotFoundError as error:
        if error.name in EXTRAS:
            return None
        raise


def _read(name: str, text: str) -> ShippedRecipe:
    content = yaml.safe_load(text)
    kind = _kind(content)
    return ShippedRecipe(
        name=name,
        purpose=text.partition("\n")[0].removeprefix("#").strip(),
        method=content.get("method", "ppo") if kind == "recipe" else kind or "accelerate",
        engine=content.get("engine", "local"),
        gpu="any" if kind == "models" else _gpu(content),
        kind=kind,
        text=text,
    )


def _kind(content: dict[str, Any]) -> FileKind | None:
    if "distributed_type" in content:
        return None
    if "study" in content:
        return "study"
    if all(isinstance(it, dict) and "base_url" in it for it in content.values()):
        return "models"
    if "run" in content:
        return "recipe"
    named: tuple[tuple[str, FileKind], ...] = (
        ("sources", "pretrain"),
        ("preferences", "reward-model"),
        ("pairs", "judge-model"),
    )
    for key, kind in named:
        if key in content:
            return kind
    return "sft"


def _gpu(content: dict[str, Any]) -> str:
    if (cluster := content.get("cluster")) is not None:
        return _GPUS.format(**cluster)
    limit = content.get("memory", {}).get("limit_gb")
    number = content.get("devices", {}).get("count") or content.get("num_processes")
    return " x ".join([*([str(number)] if number else []), f"{limit} GB" if limit else "any"])
