"""Loads a recipe: YAML and `KEY=VALUE` overrides, validated as a whole before a model loads or a call is paid for."""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_args, overload

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from longform.recipe.recipe import Recipe
from longform.recipe.renamed import explain_key, translate_stored
from longform.records.errors import BadInputError
from longform.records.yaml_files import read_yaml

RecipeT = TypeVar("RecipeT", bound=BaseModel)
_NOT_INPUTS = {"models", "name", "policy_name", "judge", "endpoint", "reference", "sources", "out", "folder"}
"""Keys of names and outputs, and `models`, which not every recipe reads. `data.model` is a name, too."""


@overload
def load_recipe(path: str | Path, *, overrides: Sequence[str] = ()) -> Recipe: ...
@overload
def load_recipe(path: str | Path, schema: type[RecipeT], overrides: Sequence[str] = ()) -> RecipeT: ...
def load_recipe(path: str | Path, schema: type[BaseModel] = Recipe, overrides: Sequence[str] = ()) -> BaseModel:
    """The recipe at `path` with overrides such as `optim.lr=1e-5` applied.

    Without `schema` it is the recipe of a reinforcement-learning run.

    Values of overrides are YAML: `curriculum.top=retire`, `run.steps=10`, `optim.dual_clip=null`.

    Raises:
        BadInputError: one line naming file and field; unknown keys with the nearest known one.
    """
    return _check(_read_mapping(path), path, schema, overrides)


def load_stored_recipe(path: str | Path, schema: type[RecipeT], overrides: Sequence[str] = ()) -> RecipeT:
    """The same for a recipe in a run directory: keys that were renamed or removed since it was written are translated.

    Overrides are written by people, and use today's keys.

    Raises:
        BadInputError: as for `load_recipe`.
    """
    content, _ = translate_stored(_read_mapping(path))
    return _check(content, path, schema, overrides, is_stored=True)


def removed_values(path: str | Path) -> dict[str, Any]:
    """Values of a stored recipe whose keys are gone, by dotted name.

    Raises:
        BadInputError: the file is not a recipe.
    """
    return translate_stored(_read_mapping(path))[1]


def dump_recipe(recipe: BaseModel) -> str:
    """The resolved recipe as YAML; loading it gives an equal recipe."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _read_mapping(path: str | Path) -> dict[str, Any]:
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise BadInputError(f"{path}: not a recipe: expected a YAML mapping")
    return content


def _check(
    content: dict[str, Any],
    path: str | Path,
    schema: type[RecipeT],
    overrides: Sequence[str],
    *,
    is_stored: bool = False,
) -> RecipeT:
    for override in overrides:
        _apply(content, override)
    try:
        return schema.model_validate(content, context={"stored": is_stored})
    except ValidationError as error:
        raise BadInputError(f"{_source(path, overrides, error)}: {_describe(error, schema, content)}") from None


def _source(path: str | Path, overrides: Sequence[str], error: ValidationError) -> str:
    """The file, and the override that set the value at fault, if one did."""
    place = _without_numbers(map(str, first_error(error)["loc"]))
    for override in reversed(overrides):
        key = _without_numbers(override.partition("=")[0].split("."))
        if key[-1:] == place[-1:] and key == [it for it in place if it in key]:
            return f"{path} with {override}"
    return str(path)


def _without_numbers(names: Iterable[str]) -> list[str]:
    return [it for it in names if not it.isdecimal()]


def check_working_directory(path: Path, overrides: Sequence[str] = ()) -> None:
    """Check that a recipe with overrides is run where its paths begin.

    Raises:
        BadInputError: a file that it names is not in the working directory, but beside the recipe.
    """
    content = _read_mapping(path)
    for override in overrides:
        _apply(content, override)
    _check_paths(content, path)


def _check_paths(content: Any, path: Path, keys: tuple[str, ...] = ()) -> None:
    if isinstance(content, list):
        for value in content:
            _check_paths(value, path, keys)
    elif isinstance(content, dict):
        for key, value in content.items():
            _check_paths(value, path, (*keys, str(key)))
    elif isinstance(content, str) and keys[-1] not in _NOT_INPUTS and keys[-2:] != ("data", "model"):
        beside = path.parent / content
        if not Path(content).exists() and (beside.is_file() or (beside / "config.json").is_file()):
            raise BadInputError(
                f"{path}: {keys[-1]}: {content} is not here, but beside the recipe; paths begin at the working directory, "
                f"so run the command in {path.parent}"
            )


def _apply(content: dict[str, Any], override: str) -> None:
    key, separator, value = override.partition("=")
    if not separator or not key:
        raise BadInputError(f"--set {override}: needs KEY=VALUE")
    *path, last = key.split(".")
    place: Any = content
    try:
        for name in path:
            place = _entered(place, name)
        place = _sole_entry(place, last)
        place[int(last) if isinstance(place, list) else last] = yaml.safe_load(value)
    except (yaml.YAMLError, ValueError, IndexError, TypeError, AttributeError):
        raise BadInputError(f"--set {override}: no such key in the recipe, or the value is not YAML") from None


def _entered(place: Any, name: str) -> Any:
    """The section `name` inside `place`; created if it is missing or null."""
    place = _sole_entry(place, name)
    if isinstance(place, list):
        return place[int(name)] if name.isdecimal() else _entry_of_kind(place, name)
    if place.get(name) is None:
        place[name] = {}
    return place[name]


def _entry_of_kind(entries: list[Any], kind: str) -> Any:
    """Find an entry by its kind: `rewards.length.weight` is the weight of the length reward."""
    (entry,) = (it for it in entries if it.get("kind") == kind)
    return entry


def _sole_entry(place: Any, name: str) -> Any:
    """The only entry of a list, if `name` is neither a number nor its kind: `rewards.judge` means `rewards.0.judge`."""
    is_sole = isinstance(place, list) and len(place) == 1 and not name.isdecimal()
    return place[0] if is_sole and place[0].get("kind") != name else place


def first_error(error: ValidationError) -> ErrorDetails:
    """The error of pydantic to report: the first one, but an unknown key before a missing one beside it, which it often is
    under another name.
    """
    found = error.errors(include_url=False, include_input=False)
    if found[0]["type"] != "missing":
        return found[0]
    section = found[0]["loc"][:-1]
    return next((it for it in found if it["type"] == "extra_forbidden" and it["loc"][:-1] == section), found[0])


def missing_beside(error: ValidationError, unknown: ErrorDetails) -> list[str]:
    """The keys that are missing in the section of an unknown one."""
    found = error.errors(include_url=False, include_input=False)
    return [str(it["loc"][-1]) for it in found if it["type"] == "missing" and it["loc"][:-1] == unknown["loc"][:-1]]


def _describe(error: ValidationError, schema: type[BaseModel], content: Any) -> str:
    """`field: problem` for the first error of pydantic."""
    first = first_error(error)
    field = ".".join(_written_place(first["loc"], content, missing=first["type"] == "missing"))
    if first["type"] != "extra_forbidden":
        message = first["msg"].removeprefix("Value error, ")
        return f"{field}: {message}" if field else message
    old = explain_key(".".join(part for part in field.split(".") if not part.isdecimal()))
    if old is not None:
        return f"{field} {old}"
    *section, unknown = first["loc"]
    known = known_fields(schema, section, method=content.get("method", "ppo"))
    missing = missing_beside(error, first)
    near = get_close_matches(str(unknown), missing, n=1) or (
        not missing and get_close_matches(str(unknown), known, n=1)
    )
    hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}"
    if missing and not near:
        hint = f"{' and '.join(map(repr, missing))} {'are' if len(missing) > 1 else 'is'} missing; {hint}"
    return f"{field}: unknown key; {hint}"


def _written_place(loc: Sequence[Any], content: Any, *, missing: bool) -> list[str]:
    """The location of an error as written in the file; pydantic also names the kind of a union's member."""
    place: list[str] = []
    for name in loc:
        is_place = isinstance(content, list) and isinstance(name, int) and name < len(content)
        inside = name in content if isinstance(content, Mapping) else is_place
        if inside:
            content = content[name]
        elif not (missing and name == loc[-1]):
            continue
        place.append(str(name))
    return place


def known_fields(schema: type[BaseModel], section: Sequence[int | str], *, method: str = "ppo") -> list[str]:
    """Field names of a nested section of `schema`, for its kind or for the method where it has variants."""
    candidates = [schema]
    for name in section:
        if isinstance(name, int):
            continue
        if len(candidates) > 1:
            named = [it for it in candidates if name in get_args(it.model_fields["kind"].annotation)]
            candidates = named or [it for it in candidates if it.model_fields["kind"].annotation is str]
        elif name in candidates[0].model_fields:
            inner = models_in(candidates[0].model_fields[name].annotation)
            candidates = [it for it in inner if getattr(it, "method", method) == method] or candidates
    return list(candidates[0].model_fields)


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """The pydantic models in an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in models_in(part)]
