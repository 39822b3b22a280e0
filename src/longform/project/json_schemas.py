"""JSON Schemas of recipes and models.yaml, generated from the settings classes, for completion and checks in an editor.

A schema refuses unknown keys and wrong types, and describes every key. What depends on several keys, or on files, is checked
when the recipe is loaded.
"""

import json
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from longform.endpoints.models import ModelSpec
from longform.plugins import ATTRIBUTE, plugin_names
from longform.recipe.loading import models_in
from longform.recipe.reference import describe_fields, first_paragraph
from longform.rewards.settings import BUILTIN_REWARDS, PluginRewardSettings
from longform.rl.settings import GrpoSettings, PpoSettings

FileKind = Literal["recipe", "sft", "pretrain", "reward-model", "judge-model", "study", "models"]
"""A recipe of each command that reads one (`recipe`: of `longform train`), a study, and models.yaml."""
FILE_KINDS: tuple[FileKind, ...] = get_args(FileKind)

_CLASSES: dict[FileKind, tuple[str, str]] = {
    "recipe": ("longform.recipe.recipe", "Recipe"),
    "sft": ("longform.training.supervised.sft_recipe", "SftRecipe"),
    "pretrain": ("longform.training.supervised.pretrain_recipe", "PretrainRecipe"),
    "reward-model": ("longform.training.supervised.reward_model_recipe", "RewardModelRecipe"),
    "judge-model": ("longform.training.judge_model.recipe", "JudgeModelRecipe"),
    "study": ("longform.studies.settings", "Study"),
}
"""Imported on use: those of supervised stages need the extra `train`."""
_TITLES: dict[FileKind, str] = {
    "recipe": "Recipe of longform train",
    "sft": "Recipe of longform sft",
    "pretrain": "Recipe of longform pretrain",
    "reward-model": "Recipe of longform reward-model",
    "judge-model": "Recipe of longform judge-model",
    "study": "Study of longform study",
    "models": "models.yaml of longform",
}


def schema_name(kind: FileKind) -> str:
    """Name of the schema's file beside a YAML file."""
    return f"{kind}.schema.json"


def schema_line(kind: FileKind) -> str:
    """The comment by which editors with the YAML language server find the schema beside a file."""
    return f"# yaml-language-server: $schema=./{schema_name(kind)}\n"


def json_schema(kind: FileKind) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a kind of file.

    Rewards of installed packages are listed by name as of now; `module.path:Name` is always accepted.

    Raises:
        ModuleNotFoundError: `sft`, `pretrain`, `reward-model` and `judge-model` need the extra `train`.
    """
    if kind == "models":
        content: Any = TypeAdapter(dict[str, ModelSpec])
    else:
        module, name = _CLASSES[kind]
        content = TypeAdapter(getattr(import_module(module), name))
    schema: dict[str, Any] = content.json_schema(schema_generator=_Generator)
    if kind == "models":
        schema["minProperties"] = 1
    if kind == "recipe":
        schema["allOf"] = [_settings_of_method()]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": _TITLES[kind]}


def dump_schema(kind: FileKind) -> str:
    """The same as the text of a file."""
    return json.dumps(json_schema(kind), indent=2, ensure_ascii=False) + "\n"


def is_generated(path: Path, kind: FileKind) -> bool:
    """Whether a file is a schema that `dump_schema` made, of any version of longform."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get("title") == _TITLES[kind]


class _Generator(GenerateJsonSchema):
    """Takes the descriptions of keys from the docstrings of the settings classes."""

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        result = super().model_schema(schema)
        cls: type[BaseModel] = schema["cls"]
        meanings = describe_fields(cls)
        for name, content in result.get("properties", {}).items():
            inner = models_in(cls.model_fields[name].annotation)
            meaning = meanings.get(name) or (first_paragraph(inner[0]) if inner else "")
            if meaning:
                content.setdefault("description", meaning)
        if cls is PluginRewardSettings:
            result["properties"]["kind"] |= _plugin_kinds()
        return result

    def literal_schema(self, schema: core_schema.LiteralSchema) -> JsonSchemaValue:
        """`on` and `off` are booleans to YAML 1.1, which the recipe's loader reads, and words to most editors."""
        if not {"on", "off"} & set(schema["expected"]):
            return super().literal_schema(schema)
        return {"enum": [*schema["expected"], False, True]}

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002
        """Without a title, an editor shows the key as it is written."""
        return False


def _plugin_kinds() -> dict[str, Any]:
    """`module.path:Name`, or a reward of a package that is installed now."""
    written = {"pattern": f"^{ATTRIBUTE.pattern}$"}
    installed = [name for name in plugin_names("longform.rewards") if name not in BUILTIN_REWARDS]
    return {"anyOf": [written, {"enum": installed}]} if installed else written


def _settings_of_method() -> dict[str, Any]:
    """`optim` has the keys of the recipe's method."""
    chosen = {
        cls: {"properties": {"optim": {"$ref": f"#/$defs/{cls.__name__}"}}} for cls in (GrpoSettings, PpoSettings)
    }
    is_grpo = {"properties": {"method": {"const": "grpo"}}, "required": ["method"]}
    return {"if": is_grpo, "then": chosen[GrpoSettings], "else": chosen[PpoSettings]}
