"""Sources of prompts: a file of rows, a folder of such files, or a dataset on the Hugging Face hub.

An existing local path takes precedence; anything else of the form `owner/name` is a dataset id and is streamed without being
stored.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from longform.records.errors import BadInputError, LongformError
from longform.records.files import PARQUET_BATCH, describe_first_error, read_rows
from longform.records.schemas import Row
from longform.selection.formats import RawPrompt, SourceFormat, recognise

SUFFIXES = (".parquet", ".jsonl")
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+")
_NEEDED = "conversation_hash or conversation_id with conversation, messages, domain1 with query, or prompt"


class Placed(NamedTuple):
    """A raw prompt and its location: FILE:LINE or ID:ROW."""

    place: str
    offer: RawPrompt


def read_source(source: str) -> Iterator[Placed]:
    """Read the prompts of a source row by row.

    Raises:
        BadInputError: the source does not exist, cannot be read, has an unknown format, or has an invalid row.
    """
    path = Path(source)
    if path.is_dir():
        for file in _files(path):
            yield from _read_file(file)
    elif path.exists() or not _HUB_ID.fullmatch(source) or path.suffix in SUFFIXES:
        yield from _read_file(path)
    else:
        yield from read_dataset(source)


def source_files(source: str) -> list[Path]:
    """Return the files of a source; for a possible dataset id, the path itself.

    Raises:
        BadInputError: a folder without files of rows.
    """
    path = Path(source)
    return _files(path) if path.is_dir() else [path]


def source_name(source: str) -> str:
    """Return a source's name in `meta`: without its folders, which differ between machines."""
    path = Path(source)
    return path.resolve().name if path.exists() else source


def read_dataset(name: str) -> Iterator[Placed]:
    """Read the prompts of a dataset's split `train`, or of its only split.

    Args:
        name: A hub id, or anything else that `datasets.load_dataset` accepts.

    Raises:
        BadInputError: the hub or the dataset cannot be reached, a licence or login is missing, there are several splits
            without `train`, or a row is invalid.
    """
    import datasets
    import huggingface_hub

    # Both log errors to stderr that are reported in one line below.
    datasets.logging.set_verbosity_error()
    datasets.disable_progress_bars()
    huggingface_hub.logging.set_verbosity_error()
    try:
        splits = datasets.load_dataset(name, streaming=True)
        chosen = "train" if "train" in splits or len(splits) != 1 else next(iter(splits))
        if chosen not in splits:
            raise BadInputError(f"{name}: has no split `train`; available: {', '.join(map(str, splits))}")
        rows = splits[chosen]
        layout = _recognise(rows.column_names or next(iter(rows)), name)
        if layout.columns and rows.column_names:
            rows = rows.select_columns([column for column in rows.column_names if column in layout.columns])
        for number, row in enumerate(rows, 1):
            yield _check(row, layout, f"{name}:{number}")
    except LongformError:
        raise
    except Exception as error:  # the hub, the connection and dataset files raise exceptions of any type
        reason = " ".join(str(error).split()) or type(error).__name__
        here = "" if Path(name).exists() else "; no local file or folder has this name either"
        raise BadInputError(f"{name}: cannot be read as a dataset: {reason}{here}") from error


def _files(folder: Path) -> list[Path]:
    """Return the files in a folder, recursively: Parquet files or, if there are none, JSON Lines files."""
    for suffix in SUFFIXES:
        if files := sorted(folder.rglob(f"*{suffix}")):
            return files
    raise BadInputError(f"{folder}: contains no {' or '.join(SUFFIXES)} file")


def _read_file(path: Path) -> Iterator[Placed]:
    fields = _fields(path)
    layout = _recognise(fields, str(path))
    if path.suffix == ".parquet" and layout.columns:
        yield from _read_columns(path, layout)
    else:
        for number, row in enumerate(read_rows(path, layout), 1):
            yield Placed(f"{path}:{number}", row.offer())


def _fields(path: Path) -> list[str]:
    """Return the columns of a Parquet file, or the fields of the first row of another file."""
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            return pq.read_schema(path).names
        except (OSError, pa.ArrowException) as error:
            raise BadInputError(f"{path}: cannot be read as Parquet: {str(error).splitlines()[0]}") from error
    return list(next(read_rows(path, Row)).model_extra or ())


def _read_columns(path: Path, layout: type[SourceFormat]) -> Iterator[Placed]:
    """Read only the columns of the format from a Parquet file; the others are most of a chat log."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            leaves = [file.schema.column(i).path for i in range(len(file.schema))]
            wanted = [leaf for leaf in leaves if {leaf.split(".")[0], _last_name(leaf)} <= layout.columns]
            number = 0
            for batch in file.iter_batches(PARQUET_BATCH, columns=wanted):
                for row in batch.to_pylist():
                    number += 1
                    yield _check(row, layout, f"{path}:{number}")
    except (OSError, pa.ArrowException) as error:
        raise BadInputError(f"{path}: cannot be read as Parquet: {str(error).splitlines()[0]}") from error


def _last_name(leaf: str) -> str:
    """Return the field name of a Parquet column, skipping the names that Parquet gives to list items."""
    return [name for name in leaf.split(".") if name not in ("list", "element", "item", "array")][-1]


def _recognise(fields: Any, source: str) -> type[SourceFormat]:
    layout = recognise(list(fields))
    if layout is None:
        names = json.dumps(sorted(fields), ensure_ascii=False)
        raise BadInputError(f"{source}: unknown format: expected {_NEEDED}; found the fields {names}")
    return layout


def _check(row: Any, layout: type[SourceFormat], place: str) -> Placed:
    try:
        return Placed(place, layout.model_validate(row).offer())
    except ValidationError as error:
        raise BadInputError(f"{place}: {describe_first_error(error)}") from None
