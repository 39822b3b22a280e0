"""Reading and writing files of rows: JSON Lines or Parquet, by suffix.

JSON Lines are split on "\\n" only, because model texts contain other line separators. A file is written under a temporary
name and renamed when it is complete, so a reader never sees a partial one.
"""

import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from glob import escape
from operator import attrgetter
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import ValidationError

from longform.records.errors import BadInputError, StoppedError
from longform.records.optional import require
from longform.records.schemas import Row

if TYPE_CHECKING:
    from io import BufferedWriter

RowT = TypeVar("RowT", bound=Row)
PARQUET_BATCH = 1024


def read_rows(path: str | Path, schema: type[RowT]) -> Iterator[RowT]:
    """Rows of `path`, checked one by one as they are read.

    Raises:
        BadInputError: `FILE:LINE: field: what is wrong` for a missing or empty file, a row that is not JSON or violates
            the schema, or a duplicate key. LINE counts from 1 (rows, in Parquet).
    """
    return read_all([path], schema)


def read_all(paths: Sequence[str | Path], schema: type[RowT]) -> Iterator[RowT]:
    """Rows of several files, one file after the other; keys are unique over all of them.

    Raises:
        BadInputError: as `read_rows` does.
    """
    identify = attrgetter(*schema.key_fields) if schema.key_fields else None
    seen: dict[Path, dict[Any, int]] = {}
    for path in map(Path, paths):
        here = seen.setdefault(path, {})
        number = 0
        for number, row in _numbered_rows(path, schema):
            if identify is not None:
                key = identify(row)
                for other, numbers in seen.items():
                    if key in numbers:
                        raise BadInputError(
                            _same_key(row, f"{path}:{number}", numbers[key], None if other == path else other)
                        )
                here[key] = number
            yield row
        if not number:
            raise BadInputError(f"{path}: contains no rows")


def read_numbered_rows(path: str | Path, schema: type[RowT]) -> Iterator[tuple[int, RowT]]:
    """Rows of `path` with their line numbers.

    Raises:
        BadInputError: the file is missing, or a row is not JSON or violates the schema.
    """
    return _numbered_rows(Path(path), schema)


def write_rows(path: str | Path, rows: Iterable[Row]) -> int:
    """Write rows atomically; returns their number.

    Raises:
        BadInputError: the folder does not exist or cannot be written, the disk is full, or Parquet cannot hold the rows.
    """
    path = Path(path)
    with _written_beside(path) as beside, beside.open("wb") as file:
        count = _write_parquet(file, rows, path) if path.suffix == ".parquet" else _write_lines(file, rows)
        file.flush()
        os.fsync(file.fileno())
    return count


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically.

    Raises:
        BadInputError: the folder cannot be written, or the disk is full.
    """
    with _written_beside(path) as beside:
        beside.write_text(text, encoding="utf-8")


class AppendedRows(Generic[RowT]):
    """A file that grows row by row and survives a kill: its rows are read back when it is opened.

    A last line without "\\n" was being written when the process died; it is removed. One process at a time has the file
    open, by an operating-system lock that ends with the process.

    Raises:
        BadInputError: the file cannot be written, holds a bad row, or another process has it open.
    """

    def __init__(self, path: str | Path, schema: type[RowT]) -> None:
        self.path = Path(path)
        self.rows: list[RowT] = []
        try:
            with ExitStack() as opened:
                self._file = opened.enter_context(self.path.open("ab", buffering=0))
                _lock(self._file, self.path)
                _cut_torn_line(self.path)
                if self.path.stat().st_size:
                    self.rows = list(read_rows(self.path, schema))
                opened.pop_all()
        except OSError as error:
            raise BadInputError(f"{self.path}: cannot be written: {error.strerror}") from error

    def append(self, row: RowT) -> None:
        """Append a row, unbuffered.

        Raises:
            StoppedError: the disk is full; earlier rows are intact.
        """
        end = os.fstat(self._file.fileno()).st_size
        try:
            line = memoryview(_line(row))
            while line:  # an unbuffered write may be partial
                line = line[self._file.write(line) :]
        except OSError as error:
            with suppress(OSError):
                self._file.truncate(end)  # or a later row would follow half of this one
            raise StoppedError(f"{self.path}: cannot be written: {error.strerror}") from error
        self.rows.append(row)

    def close(self) -> None:
        """Close the file; its rows stay in `rows`."""
        self._file.close()


def describe_first_error(error: ValidationError) -> str:
    """`field: problem` for the first error of pydantic."""
    first = error.errors(include_url=False, include_input=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    return f"{field}: {first['msg']}" if field else first["msg"]


def _same_key(row: Row, place: str, first: int, other: Path | None) -> str:
    named = ", ".join(f"{field}={value!r}" for field, value in zip(row.key_fields, row.key, strict=True))
    return f"{place}: {named}: duplicate key, first in row {first}" + (f" of {other}" if other else "")


def _numbered_rows(path: Path, schema: type[RowT]) -> Iterator[tuple[int, RowT]]:
    raw = _parquet_rows(path) if path.suffix == ".parquet" else _lines(path)
    for number, content in raw:
        try:
            if isinstance(content, bytes):
                yield number, schema.model_validate_json(content)
            else:
                yield number, schema.model_validate(content)
        except ValidationError as error:
            raise BadInputError(f"{path}:{number}: {describe_first_error(error)}") from None


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Non-empty lines with their numbers; a binary file iterates on b"\\n" alone."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, line
    except OSError as error:
        raise BadInputError(f"{path}: cannot be read: {error.strerror}") from error


def _parquet_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    require("pyarrow", path)
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches(PARQUET_BATCH):
                for row in batch.to_pylist():
                    number += 1
                    yield number, _without_gaps(row)
    except (OSError, pa.ArrowException) as error:
        raise BadInputError(f"{path}: cannot be read as Parquet: {str(error).splitlines()[0]}") from error


def _line(row: Row) -> bytes:
    return row.model_dump_json(exclude_none=True).encode() + b"\n"


def _write_lines(file: "BufferedWriter", rows: Iterable[Row]) -> int:
    count = 0
    for row in rows:
        file.write(_line(row))
        count += 1
    return count


def _write_parquet(file: "BufferedWriter", rows: Iterable[Row], path: Path) -> int:
    require("pyarrow", path, otherwise=", or write a .jsonl file")
    import pyarrow as pa
    import pyarrow.parquet as pq

    # Through JSON, so that Parquet holds exactly what JSON Lines would.
    contents = [_without_gaps(json.loads(_line(row))) for row in rows]
    columns = {}
    for field in dict.fromkeys(field for content in contents for field in content):
        try:
            columns[field] = pa.array([content.get(field) for content in contents])
        except (pa.ArrowException, OverflowError):
            raise BadInputError(
                f"{path}: {field}: rows have values of several types, which a Parquet column cannot; write a .jsonl file"
            ) from None
    pq.write_table(pa.table(columns), file)
    return len(contents)


def _without_gaps(value: Any) -> Any:
    """`value` without nested nulls and empty objects, since a Parquet column gives all rows the same fields."""
    if isinstance(value, list):
        return [_without_gaps(item) for item in value]
    if isinstance(value, dict):
        cleaned = {name: _without_gaps(item) for name, item in value.items()}
        return {name: item for name, item in cleaned.items() if item is not None and item != {}}
    return value


@contextmanager
def _written_beside(path: Path) -> Iterator[Path]:
    """A temporary path next to `path`, renamed to it on success."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        _clear_leftovers(path)
        yield beside
        beside.replace(path)
    except OSError as error:
        raise BadInputError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def _clear_leftovers(path: Path) -> None:
    """Remove the temporary files of processes that were killed while they wrote `path`."""
    for left in path.parent.glob(f".{escape(path.name)}.*.partial"):
        owner = left.name.split(".")[-2]
        if owner.isdecimal() and not _is_alive(int(owner)):
            left.unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _lock(file: IO[bytes], path: Path) -> None:
    """Lock out other processes, if the file system supports locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise BadInputError(f"{path}: another process is writing this file") from None
    except OSError:
        return


def _cut_torn_line(path: Path) -> None:
    with path.open("rb+") as file:
        end = file.seek(0, os.SEEK_END)
        position = end
        while position > 0:
            start = max(0, position - 65536)
            file.seek(start)
            found = file.read(position - start).rfind(b"\n")
            if found >= 0:
                position = start + found + 1
                break
            position = start
        if position != end:
            file.truncate(position)
