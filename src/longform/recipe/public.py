"""A recipe as it may be passed on: without models.yaml, addresses, secrets, and folders of this machine."""

import re
from collections.abc import Mapping
from pathlib import Path, PureWindowsPath
from typing import Any

import yaml

from longform.records.yaml_files import read_yaml

FILES = {"data": ("ladders", "prompts"), "validation": ("prompts",), "generation": ("think_prompt",)}
"""Keys of sections that hold a file."""
SOURCE_FILES = ("ladders", "prompts")
"""Keys of one of `data.sources` that hold a file."""
REWARD_FILES = ("model", "template", "slop_list")
"""Keys of a reward that hold a file or folder, or a list of them."""
_SECRET_NAME = re.compile(
    r"(api|access|private|secret|auth)[_-]?key|(^|[_-])(token|secret|password|authorization|credentials?|headers?|cookies?)$",
    re.IGNORECASE,
)
"""Names of settings, and of arguments of a command, whose value is a secret."""
_SECRET = re.compile(r"(?:\b(?:sk-|hf_|gh[pousr]_|xai-|AIza)|\bBearer\s+)[\w.~+/=-]{8,}")
_ADDRESS = re.compile(r"[A-Za-z][\w+.-]*://[^\s\"'<>()\[\]{},]+")
_HOST = re.compile(r"(?:\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?|(?:localhost|[\w-]+(?:\.[\w-]+)+):\d{2,5})(?:/\S*)?")
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")


def public_recipe(path: Path) -> str:
    """A run's stored recipe without what belongs to this machine, as YAML. Other values stay as they are.

    Raises:
        BadInputError: it cannot be read.
    """
    content = dict(read_yaml(path))
    content.pop("models", None)
    content["policy"] = _name(content.get("policy"))
    content |= {section: _named(content[section], keys) for section, keys in FILES.items() if section in content}
    if isinstance(data := content.get("data"), Mapping) and isinstance(data.get("sources"), list):
        content["data"] = {**data, "sources": [_named(it, SOURCE_FILES) for it in data["sources"]]}
    if isinstance(content.get("rewards"), list):
        content["rewards"] = [_named(it, REWARD_FILES) for it in content["rewards"]]
    if isinstance(content.get("run"), Mapping):
        content["run"] = {key: it for key, it in content["run"].items() if key != "folder"}
    return yaml.safe_dump(_without_private(content), sort_keys=False, allow_unicode=True)


def _named(value: Any, keys: tuple[str, ...]) -> Any:
    """A mapping with the names of the files that these keys hold."""
    return {key: _name(it) if key in keys else it for key, it in value.items()} if isinstance(value, Mapping) else value


def _name(value: Any) -> Any:
    """The name of a file or folder, or of each of a list; the id of a hub stays."""
    if isinstance(value, list):
        return [_name(it) for it in value]
    if isinstance(value, str) and (_is_of_a_folder(value) or value.count("/") != 1 or Path(value).exists()):
        return _last_part(value)
    return value


def _without_private(value: Any) -> Any:
    """Secrets, addresses and paths anywhere, such as in the settings of a plugin, are replaced."""
    if isinstance(value, Mapping):
        return {
            key: "(a secret)"
            if it and _SECRET_NAME.search(str(key)) and not isinstance(it, int | float)
            else _without_private(it)
            for key, it in value.items()
        }
    if isinstance(value, list):  # of which one may be the name of an argument, and the next its value
        names = ["", *value[:-1]]
        return [
            "(a secret)" if _is_secret_flag(before) and "=" not in before else _without_private(it)
            for before, it in zip(names, value, strict=False)
        ]
    return public_text(value) if isinstance(value, str) else value


def _is_secret_flag(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("--") and bool(_SECRET_NAME.search(value.split("=")[0]))


def public_text(text: str) -> str:
    """A text without addresses and secrets; of a path only the name."""
    if text.startswith("--") and "=" in text:
        flag, value = text.split("=", 1)
        return f"{flag}={'(a secret)' if _is_secret_flag(flag) else public_text(value)}"
    if _HOST.fullmatch(text.strip()):
        return "(an address)"
    if "\n" not in text and _is_of_a_folder(text):
        return _last_part(text)
    return _SECRET.sub("(a secret)", _ADDRESS.sub("(an address)", text))


def _is_of_a_folder(text: str) -> bool:
    """Whether a text is a path that names folders of this machine; `/think` is none."""
    path = Path(text)
    is_absolute = path.is_absolute() and path.parent != Path("/")
    return is_absolute or text.startswith(("~", "./", "../", "file:/")) or bool(_DRIVE.match(text))


def _last_part(path: str) -> str:
    return PureWindowsPath(path).name if _DRIVE.match(path) else Path(path).name
