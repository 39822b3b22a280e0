"""Where prompts come from: a file of rows, a folder of such files, or a dataset on the Hugging Face hub.

What is on the disk is read as files, whatever its name looks like; anything else of the form `owner/name` is the id of a
dataset and read as a stream, without storing it.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from longform.records.errors import BadInputError, LongformError
from longform.records.files import PARQUET_BATCH, describe_first_error, read_rows
from longform.records.optional import require
from longform.records.schemas import Row
from longform.selection.formats import RawPrompt, SourceFormat, recognise

SUFFIXES = (".parquet", ".jsonl")
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+")
_NEEDED = "conversation_hash or conversation_id with conversation, messages, domain1 with query, or prompt"


class Placed(NamedTuple):
    """A raw prompt, and its row: FILE:LINE, or ID:ROW."""

    place: str
    offer: RawPrompt


def read_source(source: str) -> Iterator[Placed]:
    """What a source offers, row by row.

    Raises:
        BadInputError: there is no such source, it cannot be read, its fields fit no layout, or a row breaks it.
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
    """The files that a source is read from; its own path where it may be a dataset's id.

    Raises:
        BadInputError: a folder that holds none.
    """
    path = Path(source)
    return _files(path) if path.is_dir() else [path]


def source_name(source: str) -> str:
    """A source's name in `meta`: without the folders that lead to it, which differ from machine to machine."""
    path = Path(source)
    return path.resolve().name if path.exists() else source


def read_dataset(name: str) -> Iterator[Placed]:
    """What the rows of a dataset offer: of its split `train`, or of the only one.

    Args:
        name: An id of the hub, or anything else that `datasets.load_dataset` takes.

    Raises:
        BadInputError: `datasets` is not installed, the hub or the dataset cannot be reached, a licence or a login is
            missing, its splits are several and none is `train`, or its rows break their layout.
    """
    here = "" if Path(name).exists() else "; there is no such file or folder here"
    require("datasets", name, otherwise=here)
    import datasets
    import huggingface_hub

    # Both repeat on stderr what becomes our one line.
    datasets.logging.set_verbosity_error()
    datasets.disable_progress_bars()
    huggingface_hub.logging.set_verbosity_error()
    try:
        splits = datasets.load_dataset(name, streaming=True)
        chosen = "train" if "train" in splits or len(splits) != 1 else next(iter(splits))
        if chosen not in splits:
            raise BadInputError(f"{name}: has no split train, but {', '.join(map(str, splits))}")
        rows = splits[chosen]
        layout = _recognise(rows.column_names or next(iter(rows)), name)
        if layout.columns and rows.column_names:
            rows = rows.select_columns([column for column in rows.column_names if column in layout.columns])
        for number, row in enumerate(rows, 1):
            yield _check(row, layout, f"{name}:{number}")
    except LongformError:
        raise
    except Exception as error:  # whatever the hub, the line to it or a file on it brings forth
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BadInputError(f"{name}: cannot be read as a dataset: {reason}{here and f'{here} either'}") from error


def _files(folder: Path) -> list[Path]:
    """The files of a folder and of those in it: those that are Parquet, or else those that are JSON Lines."""
    for suffix in SUFFIXES:
        if found := sorted(folder.rglob(f"*{suffix}")):
            return found
    raise BadInputError(f"{folder}: holds no {' or '.join(SUFFIXES)} file")


def _read_file(path: Path) -> Iterator[Placed]:
    fields = _fields(path)
    layout = _recognise(fields, str(path))
    if path.suffix == ".parquet" and layout.columns:
        yield from _read_columns(path, layout)
    else:
        for number, row in enumerate(read_rows(path, layout), 1):
            yield Placed(f"{path}:{number}", row.offer())


def _fields(path: Path) -> list[str]:
    """The columns of a Parquet file, or the fields of the first row of another."""
    if path.suffix == ".parquet":
        require("pyarrow", path)
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            return pq.read_schema(path).names
        except (OSError, pa.ArrowException) as error:
            raise BadInputError(f"{path}: cannot be read as Parquet: {str(error).splitlines()[0]}") from error
    return list(next(read_rows(path, Row)).model_extra or ())


def _read_columns(path: Path, layout: type[SourceFormat]) -> Iterator[Placed]:
    """Rows of a Parquet file, of which only what the layout knows is read: the rest is most of a chat log."""
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
    """The last name on the way to a Parquet column that is a field's, not one that Parquet gives a list's items."""
    return [name for name in leaf.split(".") if name not in ("list", "element", "item", "array")][-1]


def _recognise(fields: Any, source: str) -> type[SourceFormat]:
    layout = recognise(list(fields))
    if layout is None:
        found = json.dumps(sorted(fields), ensure_ascii=False)
        raise BadInputError(f"{source}: no layout that is known: needs {_NEEDED}; its fields are {found}")
    return layout


def _check(row: Any, layout: type[SourceFormat], place: str) -> Placed:
    try:
        return Placed(place, layout.model_validate(row).offer())
    except ValidationError as error:
        raise BadInputError(f"{place}: {describe_first_error(error)}") from None
