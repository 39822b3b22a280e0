"""Where prompts come from: a file of rows, a folder of such files, or a dataset on the Hugging Face hub.

What is on the disk is read as files, whatever its name looks like; anything else of the form `owner/name` is the id of a
dataset and read as a stream, without storing it.
"""

import json
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from longform.records.adapting import AS_IS, Reading
from longform.records.errors import BadInputError
from longform.records.files import check_rows
from longform.records.parquet import field_names
from longform.records.tables import RawRow, dataset_rows, files_of, is_dataset_id, raw_rows, read_fields
from longform.selection.formats import PromptsFile, RawPrompt, SourceFormat, recognise

_NEEDED = "conversation_hash or conversation_id with conversation, messages, domain1 with query, or prompt"


class Placed(NamedTuple):
    """A raw prompt, and its row: FILE:LINE, or ID:ROW."""

    place: str
    offer: RawPrompt


def read_source(source: str, reading: Reading = AS_IS) -> Iterator[Placed]:
    """What a source offers, row by row.

    Args:
        source: A file, a folder of files or a dataset (see `records.tables`).
        reading: Renamed columns, and how many bad rows of a file to skip.

    Raises:
        BadInputError: there is no such source, it cannot be read, its fields fit no layout, or a row breaks it.
    """
    path = Path(source)
    if is_dataset_id(path):
        yield from read_dataset(source, reading)
        return
    files = files_of(path)
    if files[0].suffix.lower() == ".txt" and path.is_dir():
        files = [path]  # each file is a prompt, and its name within the folder is the id
    for file in files:
        if file.suffix.lower() == ".parquet":
            layout = _recognise(field_names(file), str(file), reading)
            rows = raw_rows(file, columns=_columns(layout, reading))
        else:
            rows = raw_rows(file, text_field="prompt")
            first = next(rows, None)
            layout = _recognise(_fields(first), str(file), reading)
            rows = chain([] if first is None else [first], rows)
        yield from _offers(rows, str(file), layout, reading)


def source_files(source: str) -> list[Path]:
    """The files that a source is read from; its own path where it may be a dataset's id.

    Raises:
        BadInputError: a folder that holds none.
    """
    return files_of(Path(source))


def source_name(source: str) -> str:
    """A source's name in `meta`: without the folders that lead to it, which differ from machine to machine."""
    path = Path(source)
    return path.resolve().name if path.exists() else source


def read_dataset(name: str, reading: Reading = AS_IS) -> Iterator[Placed]:
    """What the rows of a dataset offer: of its split `train`, or of the only one.

    Args:
        name: An id of the hub, or anything else that `datasets.load_dataset` takes.
        reading: Renamed columns, and how many bad rows to skip.

    Raises:
        BadInputError: as `records.tables.dataset_rows`, or the rows break their layout.
    """
    layout = _recognise(_fields(next(dataset_rows(name), None)), name, reading)
    yield from _offers(dataset_rows(name, _columns(layout, reading)), name, layout, reading)


def _offers(rows: Iterator[RawRow], source: str, layout: type[SourceFormat], reading: Reading) -> Iterator[Placed]:
    for place, row in check_rows(rows, source, layout, reading):
        yield Placed(place, row.offer())


def _columns(layout: type[SourceFormat], reading: Reading) -> frozenset[str]:
    return layout.columns and layout.columns | set(reading.columns.values())


def _fields(first: RawRow | None) -> list[str]:
    """The fields of the first row; none if it cannot be read, which the check of the rows reports."""
    return list(read_fields(first) or ()) if first else []


def _recognise(fields: list[str], source: str, reading: Reading) -> type[SourceFormat]:
    if not fields:
        return PromptsFile
    named = [*fields, *(ours for ours, theirs in reading.columns.items() if theirs in fields)]
    layout = recognise(named)
    if layout is None:
        found = json.dumps(sorted(map(str, fields)), ensure_ascii=False)
        hint = reading.hint.format("prompt")
        raise BadInputError(f"{source}: no layout that is known: needs {_NEEDED}; its fields are {found}{hint}")
    return layout
