"""Packages that only an extra installs: where one is missing, a single line names the extra."""

from importlib.util import find_spec
from pathlib import Path

from longform.records.errors import BadInputError

EXTRAS = {
    "datasets": "data",
    "pyarrow": "data",
    "safetensors": "train",
    "tokenizers": "train",
    "torch": "train",
    "transformers": "train",
    "peft": "train",
    "trl": "train",
    "sentence_transformers": "semantic",
    "ray": "cluster",
    "omegaconf": "cluster",
    "verl": "cluster",
}
"""Module -> the extra that brings it."""


def require(module: str, wanted_by: str | Path, *, otherwise: str = "") -> None:
    """Check that a module of an extra is installed, without loading it; an ordinary import follows.

    Args:
        module: top-level name, one of `EXTRAS`.
        wanted_by: the file, field or flag that needs it.
        otherwise: how to do without it, as in ", or write a .jsonl file".

    Raises:
        BadInputError: it is not installed.
    """
    if find_spec(module) is None:
        raise BadInputError(f"{wanted_by}: {describe_missing(module)}{otherwise}")


def describe_missing(module: str, *, extra: str | None = None) -> str:
    """What is missing, and the command that installs it.

    Args:
        module: top-level name, one of `EXTRAS`.
        extra: to be installed; by default the smallest that has the module.
    """
    package = module.replace("_", "-")
    return f"needs {package}, which is not installed: pip install 'longform[{extra or EXTRAS[module]}]'"
