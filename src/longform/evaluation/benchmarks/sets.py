"""Reading the sets of benchmarks in the layouts in which they are published, and telling one version from another.

A version is identified by the SHA-256 of the files, as `sha256sum` gives it for a single file.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from longform.evaluation.benchmarks.card import BenchmarkCard
from longform.records.errors import BadInputError
from longform.records.files import describe_first_error, read_rows
from longform.records.schemas import PromptRow, Row

ItemT = TypeVar("ItemT", bound=PromptRow)
RawRow = tuple[str, dict[str, Any]]
"""FILE:ROW, and the row's fields."""


class ForeignRowError(BadInputError):
    """A row lacks fields that every row of a benchmark's set has."""

    def __init__(self, message: str, *, fields: frozenset[str]) -> None:
        super().__init__(message)
        self.fields = fields
        """The fields it does have, by which another benchmark may be recognised."""


def find_files(path: Path, card: BenchmarkCard) -> dict[str, Path]:
    """The files of a set, by their names in `card.files`: `path` itself, or those anywhere in the folder.

    Raises:
        BadInputError: there is nothing, or a folder without the first file.
    """
    first = next(iter(card.files))
    if not path.is_dir():
        return {first: path}
    found = {name: min(path.rglob(name)) for name in card.files if any(path.rglob(name))}
    if first not in found:
        raise BadInputError(f"{path}: holds no {first}, which is the set of {card.name}")
    return found


def hash_set(path: Path, card: BenchmarkCard) -> str:
    """SHA-256 of a set in hex: of the one file, or of the hashes of all of them in the order of `card.files`."""
    digests = []
    for file in find_files(path, card).values():
        with file.open("rb") as opened:
            digests.append(hashlib.file_digest(opened, "sha256").hexdigest())
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def read_items(
    path: Path, card: BenchmarkCard, schema: type[ItemT], layout: Callable[[dict[str, Any], int], dict[str, Any]]
) -> list[ItemT]:
    """The items of a set, in its order.

    Args:
        path: a file (.jsonl, .parquet, or .json with one array), or a folder that holds it.
        card: whose set it is.
        schema: of an item.
        layout: the fields of `schema` from a row as published and its number, from 0.

    Raises:
        BadInputError: the set is missing, empty or another benchmark's, a row breaks its layout, or two have one id.
    """
    file = next(iter(find_files(path, card).values()))
    items: dict[str, ItemT] = {}
    for number, (place, row) in enumerate(read_raw(file)):
        check_fields(place, row, card)
        try:
            item = schema.model_validate(layout(row, number))
        except (KeyError, TypeError, ValueError) as error:
            raise BadInputError(f"{place}: {describe_layout_error(error)}") from None
        if items.setdefault(item.id, item) is not item:
            raise BadInputError(f"{place}: id {item.id!r}: occurs in an earlier row too")
    return list(items.values())


def describe_layout_error(error: Exception) -> str:
    """What is wrong with a row, in one line, from what laying it out or checking it has raised."""
    if isinstance(error, ValidationError):
        return describe_first_error(error).replace("Value error, ", "", 1)
    return f"has no {error.args[0]}" if isinstance(error, KeyError) else " ".join(str(error).split())


def read_raw(file: Path) -> Iterator[RawRow]:
    """The rows of a file as they are.

    Raises:
        BadInputError: it cannot be read, or holds no rows.
    """
    if file.suffix == ".json":
        yield from _array(file)
    else:
        for number, row in enumerate(read_rows(file, Row), 1):
            yield f"{file}:{number}", dict(row.model_extra or {})


def check_fields(place: str, row: dict[str, Any], card: BenchmarkCard) -> None:
    """Refuse a row of another benchmark's set.

    Raises:
        ForeignRowError: names the missing fields.
    """
    missing = sorted(card.fields - row.keys())
    if missing:
        raise ForeignRowError(f"{place}: not a row of {card.name}: no {', '.join(missing)}", fields=frozenset(row))


def _array(file: Path) -> Iterator[RawRow]:
    try:
        rows = json.loads(file.read_bytes())
    except OSError as error:
        raise BadInputError(f"{file}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise BadInputError(f"{file}: is no JSON: {error}") from error
    if not isinstance(rows, list):
        raise BadInputError(f"{file}: is no array of rows")
    if not rows:
        raise BadInputError(f"{file}: holds no rows")
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise BadInputError(f"{file}:{number}: is no object")
        yield f"{file}:{number}", row
