"""Read the data of benchmarks in their published formats, and identify its version.

A version is identified by the SHA-256 of the files; for a single file, it equals the output of `sha256sum`.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from longform.evaluation.benchmarks.card import BenchmarkCard
from longform.records.adapting import content_id
from longform.records.errors import BadInputError
from longform.records.files import describe_first_error, read_located_rows
from longform.records.schemas import PromptRow, Row

ItemT = TypeVar("ItemT", bound=PromptRow)
OLD_ID = "old_id"
"""Field of an item whose id was made of its content."""


class ForeignRowError(BadInputError):
    """A row lacks required fields of the benchmark."""

    def __init__(self, message: str, *, fields: frozenset[str]) -> None:
        super().__init__(message)
        self.fields = fields
        """The fields of the row, from which another benchmark may be recognized."""


def find_files(path: Path, card: BenchmarkCard) -> dict[str, Path]:
    """Return the files of a data set by their names in `card.files`: `path` itself, or files anywhere in the folder.

    Raises:
        BadInputError: nothing exists there, or a folder lacks the first file.
    """
    first = next(iter(card.files))
    if not path.is_dir():
        return {first: path}
    paths = {name: min(path.rglob(name)) for name in card.files if any(path.rglob(name))}
    if first not in paths:
        raise BadInputError(f"{path}: contains no {first}, the data of {card.name}")
    return paths


def hash_set(path: Path, card: BenchmarkCard) -> str:
    """Return the SHA-256 of the data: of a single file, or of the hashes of all files in the order of `card.files`."""
    digests = []
    for file in find_files(path, card).values():
        with file.open("rb") as opened:
            digests.append(hashlib.file_digest(opened, "sha256").hexdigest())
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def read_items(
    path: Path, card: BenchmarkCard, schema: type[ItemT], layout: Callable[[dict[str, Any], int], dict[str, Any]]
) -> list[ItemT]:
    """Read the items of a data set in order.

    Args:
        path: A file in any format of `records.tables`, or a folder that contains it.
        card: The benchmark's card.
        schema: Type of an item.
        layout: Maps a published row and its number (from 0) to the fields of `schema`.

    Raises:
        BadInputError: the data is missing, empty or another benchmark's, a row is invalid, or two rows share an id.
    """
    file = next(iter(find_files(path, card).values()))
    items: dict[str, ItemT] = {}
    for number, (location, row) in enumerate(read_raw(file)):
        check_fields(location, row, card)
        try:
            item = schema.model_validate(layout(row, number))
        except (KeyError, TypeError, ValueError) as error:
            raise BadInputError(f"{location}: {describe_layout_error(error)}") from None
        if OLD_ID in (item.model_extra or {}) and item.id in items:  # the same content twice
            item = item.model_copy(update={"id": f"{item.id}-{number}"})
        if items.setdefault(item.id, item) is not item:
            raise BadInputError(f"{location}: id {item.id!r}: duplicate of an earlier row")
    return list(items.values())


def made_id(prefix: str, content: list[Any], old_id: str) -> dict[str, str]:
    """The id of a row that has none: a hash of its content, since the same number is another row in another file.

    Args:
        prefix: Of the id.
        content: What the responses are written for.
        old_id: The id that earlier versions made of the row's number, by which its responses may still be called.
    """
    return {"id": prefix + content_id(content), OLD_ID: old_id}


def with_old_ids(items: Sequence[ItemT]) -> list[ItemT]:
    """The items under the ids that earlier versions made of their numbers."""
    return [item.model_copy(update={"id": (item.model_extra or {}).get(OLD_ID, item.id)}) for item in items]


def describe_layout_error(error: Exception) -> str:
    """Describe an error of mapping or validating a row in one line."""
    if isinstance(error, ValidationError):
        return describe_first_error(error)
    return f"missing {error.args[0]}" if isinstance(error, KeyError) else " ".join(str(error).split())


def read_raw(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Read the rows of a file unchanged, each with its location, FILE:ROW.

    Raises:
        BadInputError: the file cannot be read or contains no rows.
    """
    for location, row in read_located_rows([file], Row):
        yield location, dict(row.model_extra or {})


def check_fields(location: str, row: dict[str, Any], card: BenchmarkCard) -> None:
    """Check that a row belongs to the benchmark.

    Raises:
        ForeignRowError: fields are missing; the error names them.
    """
    missing = sorted(card.fields - row.keys())
    if missing:
        raise ForeignRowError(
            f"{location}: not a row of {card.name}: missing {', '.join(missing)}", fields=frozenset(row)
        )
