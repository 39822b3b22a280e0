"""A recipe as it may be passed on: without models.yaml, addresses, and folders of this machine."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from longform.records.yaml_files import read_yaml

FILES = {"data": ("ladders", "prompts"), "validation": ("prompts",), "generation": ("think_prompt",)}
"""Keys of sections that hold a file."""


def public_recipe(path: Path) -> str:
    """A run's stored recipe without what belongs to this machine, as YAML. Other values stay as they are.

    Raises:
        BadInputError: it cannot be read.
    """
    content = dict(read_yaml(path))
    content.pop("models", None)
    content["policy"] = _name(content.get("policy"))
    for section, keys in FILES.items():
        if isinstance(content.get(section), Mapping):
            content[section] = {key: _name(it) if key in keys else it for key, it in content[section].items()}
    if isinstance(content.get("run"), Mapping):
        content["run"] = {key: it for key, it in content["run"].items() if key != "folder"}
    return yaml.safe_dump(_without_addresses(content), sort_keys=False, allow_unicode=True)


def _name(value: Any) -> Any:
    """The name of a file or folder; the id of a hub stays."""
    if isinstance(value, str) and (Path(value).is_absolute() or value.count("/") != 1 or Path(value).exists()):
        return Path(value).name
    return value


def _without_addresses(value: Any) -> Any:
    """Addresses and absolute paths anywhere, such as in the settings of a plugin, are replaced."""
    if isinstance(value, Mapping):
        return {key: _without_addresses(it) for key, it in value.items()}
    if isinstance(value, list):
        return [_without_addresses(it) for it in value]
    if isinstance(value, str) and "://" in value and " " not in value.strip():
        return "(an address)"
    if isinstance(value, str) and "\n" not in value and Path(value).is_absolute() and Path(value).parent != Path("/"):
        return Path(value).name
    return value
