"""Generates docs/recipe.md: every key of a recipe with its default and meaning, from the settings classes."""

import ast
import inspect
import textwrap
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from longform.recipe.loading import models_in
from longform.recipe.recipe import Recipe


def describe_recipe() -> str:
    """A Markdown page: a table for each section of a recipe."""
    parts = [
        "# The recipe, key by key",
        "Keys of the file that `longform train RECIPE` reads. Missing keys have their defaults; `--set KEY=VALUE` "
        "overrides. Paths are relative to the working directory. `python -m longform.recipe.reference` prints this page.",
        "`longform recipe list` shows recipes to start from; `longform recipe copy NAME` writes one. `longform init` writes "
        "a recipe with everything that it refers to. Both write a JSON Schema beside it and name it in the first line, "
        "`# yaml-language-server: $schema=./recipe.schema.json`: an editor with the YAML language server "
        "completes and checks keys, and shows their meaning. `longform schema` prints the schema anew, also of models.yaml "
        "(`longform schema models`) and of the recipes of `sft`, `pretrain`, `reward-model` and `judge-model`.",
    ]
    for name, model in _sections(Recipe, ""):
        parts += [f"## {name or 'Top level'}", first_paragraph(model), _table(model)]
    return "\n\n".join(parts) + "\n"


def _sections(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, type[BaseModel]]]:
    """The recipe and its sections, each with its name."""
    yield prefix, model
    for name, field in model.model_fields.items():
        for inner in models_in(field.annotation):
            kind, method = inner.model_fields.get("kind"), getattr(inner, "method", None)
            suffix = f" with kind: {(*get_args(kind.annotation), 'module.path:Name')[0]}" if kind else ""
            suffix += f" with method: {method}" if method else ""
            yield from _sections(inner, f"{prefix}.{name}{suffix}".removeprefix("."))


def _table(model: type[BaseModel]) -> str:
    meanings = describe_fields(model)
    rows = ["| key | default | meaning |", "|---|---|---|"]
    for name, field in model.model_fields.items():
        if not models_in(field.annotation):
            choices = _choices(field.annotation)
            meaning = " ".join(part for part in (choices, meanings.get(name, "")) if part)
            rows.append(f"| `{name}` | {_default(field)} | {meaning.replace('|', chr(92) + '|')} |")
    return "\n".join(rows)


def describe_fields(model: type[BaseModel]) -> dict[str, str]:
    """The docstring of each field, inherited ones included."""
    found: dict[str, str] = {}
    for cls in reversed(model.__mro__):
        if issubclass(cls, BaseModel) and cls is not BaseModel:
            (definition,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
            body = definition.body if isinstance(definition, ast.ClassDef) else []
            for field, text in pairwise(body):
                if (
                    isinstance(field, ast.AnnAssign)
                    and isinstance(field.target, ast.Name)
                    and isinstance(text, ast.Expr)
                ):
                    found[field.target.id] = inspect.cleandoc(ast.literal_eval(text.value)).replace("\n", " ")
    return found


def _choices(annotation: Any) -> str:
    values = [value for literal in _literals(annotation) for value in get_args(literal)]
    return f"{', '.join(f'`{value}`' for value in values)}." if values else ""


def _literals(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) is Literal:
        yield annotation
    else:
        for part in get_args(annotation):
            yield from _literals(part)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    return "none" if value is None else f"`{str(value).lower() if isinstance(value, bool) else value}`"


def first_paragraph(model: type[BaseModel]) -> str:
    """The first paragraph of a class's docstring, in one line."""
    return " ".join(inspect.cleandoc(model.__doc__ or "").split("\n\n")[0].split())


if __name__ == "__main__":
    print(describe_recipe(), end="")
