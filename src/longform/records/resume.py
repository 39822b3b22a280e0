"""Refuses to resume work with other settings than it was begun with."""

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from longform.records.errors import BadInputError
from longform.records.tables import is_dataset_id

_MODEL_FILES = {".safetensors", ".bin", ".json", ".jinja", ".model", ".txt"}
"""Suffixes of the files of a model folder that decide what the model writes."""


def check_resume(
    where: str,
    stored: Mapping[str, Any],
    present: Mapping[str, Any],
    *,
    remedy: str,
    changeable: Collection[str] = (),
    unchanged: Collection[str] = (),
) -> None:
    """Compare the settings that work was begun with and those that it is to be resumed with.

    Args:
        where: flag, folder or file that the message begins with.
        stored: settings by name, as they were recorded; a missing name counts as None.
        present: settings by name, as they are now.
        remedy: what to do instead, at the end of the message.
        changeable: names that may differ; positions in a list are left out, so `rewards.weight` is that of any reward.
        unchanged: paths whose content is the recorded one: files and folders that may have been moved.

    Raises:
        BadInputError: names every setting that differs, with both values.
    """
    differing = [
        f"{name} {stored.get(name)}, not {present.get(name)}"
        for name in sorted(stored.keys() | present.keys())
        if stored.get(name) != present.get(name)
        and _without_positions(name) not in changeable
        and not (isinstance(stored.get(name), str) and present.get(name) in unchanged)
    ]
    if differing:
        raise BadInputError(f"{where}: was begun with {'; with '.join(differing)}; {remedy}")


def check_files(where: str, stored: Mapping[str, str], present: Mapping[str, str], *, remedy: str) -> None:
    """The same for files, by path and hash.

    Raises:
        BadInputError: names every file that has changed.
    """
    changed = [path for path in sorted(stored.keys() | present.keys()) if stored.get(path) != present.get(path)]
    if changed:
        has = "has" if len(changed) == 1 else "have"
        raise BadInputError(f"{', '.join(changed)}: {has} changed since {where} began; {remedy}")


def flatten(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Nested settings by dotted name, such as `optim.lr` and `rewards.0.weight`."""

    def walk(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
        if isinstance(value, Mapping | list):
            for name, inner in value.items() if isinstance(value, Mapping) else enumerate(value):
                yield from walk(f"{prefix}.{name}" if prefix else str(name), inner)
        else:
            yield prefix, value

    return dict(walk("", settings))


def hash_file(path: Path) -> str:
    """SHA-256 of a file's content, in hex; of a folder, of its files' names and hashes; of a dataset's id, of the id."""
    if path.is_dir():
        files = sorted(it for it in path.rglob("*") if it.is_file())
        names = [f"{it.relative_to(path).as_posix()} {hash_file(it)}\n" for it in files]
        return hashlib.sha256("".join(names).encode()).hexdigest()
    if is_dataset_id(path):
        return hashlib.sha256(str(path).encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_json(value: Any) -> str:
    """The first 16 hex digits of the SHA-256 of a value's canonical JSON."""
    canonical = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
    return hashlib.sha256(canonical.encode("utf-8", "replace")).hexdigest()[:16]


def hash_model_folder(path: Path) -> str:
    """SHA-256 of the files of a model folder, in hex: weights, configuration and tokenizer, in the order of their names.

    Raises:
        BadInputError: a file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        for file in sorted(it for it in path.iterdir() if it.is_file() and it.suffix in _MODEL_FILES):
            digest.update(f"{file.name}\0{hash_file(file)}\n".encode())
    except OSError as error:
        raise BadInputError(f"{error.filename}: cannot be read: {error.strerror}") from error
    return digest.hexdigest()


def _without_positions(name: str) -> str:
    return ".".join(part for part in name.split(".") if not part.isdecimal())
