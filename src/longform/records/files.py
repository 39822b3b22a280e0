"""Reading files of rows in any format of `records.tables`, and writing JSON Lines or Parquet, by suffix.

A file is written under a temporary name and renamed when it is complete, so a reader never sees a partial one.
"""

import fcntl
import json
import os
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from glob import escape
from operator import attrgetter
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from pydantic import ValidationError

from longform.records.adapting import AS_IS, Reading, adapt
from longform.records.encoding import decode_line
from longform.records.errors import BadInputError, RowsWarning, StoppedError
from longform.records.optional import require
from longform.records.parquet import without_gaps
from longform.records.paths import READ_ONLY
from longform.records.schemas import Pair, Response, Row
from longform.records.tables import RawRow, raw_rows
from longform.text.thoughts import may_hold_thoughts

if TYPE_CHECKING:
    from io import BufferedWriter

RowT = TypeVar("RowT", bound=Row)


_LONGEST_FRAGMENT = 3
"""Characters of the first line of an object that is spread over several."""
_EMPTY = "Value should have at least 1 item after validation, not 0"
"""What pydantic says of an empty text that could have been a list."""


class SeenKeys:
    """Keys of the rows so far, with the locations of their rows."""

    def __init__(self) -> None:
        self._locations: dict[Any, tuple[int, int]] = {}
        self._files: list[str] = [""]
        self._copies: Counter[str] = Counter()

    def free_id(self, base: str) -> str:
        """An id that is not taken, for content that comes again: `base` and a number."""
        while (id_ := f"{base}-{self._copies[base] + 2}") in self:
            self._copies[base] += 1
        return id_

    def __contains__(self, key: Any) -> bool:
        return key in self._locations

    def add(self, key: Any, location: str) -> None:
        """Remember a key; `location` is FILE:ROW."""
        file, _, number = location.rpartition(":")
        if file != self._files[-1]:
            self._files.append(file)
        self._locations[key] = len(self._files) - 1, int(number)

    def location(self, key: Any) -> tuple[str, int]:
        """File and row of a key."""
        index, number = self._locations[key]
        return self._files[index], number


class _Checked(NamedTuple):
    row: Any
    is_repaired: bool = False
    made_id: bool = False


def read_rows(path: str | Path, schema: type[RowT], reading: Reading = AS_IS) -> Iterator[RowT]:
    """Rows of `path`, checked one by one as they are read.

    Integer ids become text; a prompt without an id gets one from its content, numbered if the content comes again; a prompt
    is taken from `messages`; bytes that are not UTF-8, and lone surrogates, are replaced with a warning. What a model of
    another tool thought before its response is kept apart from the text, in `meta`, with a warning.

    Args:
        path: A file, a folder of files, or a dataset (see `records.tables`).
        schema: Type of the rows.
        reading: Renamed columns, and how many bad rows to skip.

    Raises:
        BadInputError: `FILE:LINE: field: what is wrong` for a missing or empty file, a row that cannot be read or violates
            the schema, or a duplicate key. LINE counts from 1 (rows, in Parquet, JSON arrays and datasets).
    """
    return read_all([path], schema, reading)


def read_all(paths: Sequence[str | Path], schema: type[RowT], reading: Reading = AS_IS) -> Iterator[RowT]:
    """Rows of several files, one file after the other; keys are unique over all of them.

    Raises:
        BadInputError: as `read_rows` does.
    """
    return (row for _, row in read_located_rows(paths, schema, reading))


def read_located_rows(
    paths: Sequence[str | Path], schema: type[RowT], reading: Reading = AS_IS
) -> Iterator[tuple[str, RowT]]:
    """Rows of several files, as `read_all`, each with its location: FILE:LINE.

    Raises:
        BadInputError: as `read_rows` does.
    """
    seen = SeenKeys()
    for path in map(Path, paths):
        columns = schema.columns and schema.columns | set(reading.columns.values())
        raw = raw_rows(path, text_field=schema.text_field, columns=columns)
        yield from check_rows(raw, str(path), schema, reading, seen)


def check_rows(
    raw: Iterable[RawRow], source: str, schema: type[RowT], reading: Reading, seen: SeenKeys | None = None
) -> Iterator[tuple[str, RowT]]:
    """Check the rows of one source as they are read.

    Args:
        raw: The rows.
        source: Name of the source, for errors and warnings.
        schema: Type of the rows.
        reading: Renamed columns, and how many bad rows to skip.
        seen: Keys of the rows of other sources, to which this adds; keys are unique over all of them.

    Raises:
        BadInputError: as `read_rows` does.
    """
    identify = attrgetter(*schema.key_fields) if schema.key_fields else None
    seen = seen or SeenKeys()
    count, repaired, parted, skipped, first = 0, 0, 0, 0, ""
    for item in raw:
        count += 1
        try:
            row, is_repaired, made_id = _check_row(item, schema, reading)
            if identify is not None:
                if made_id and identify(row) in seen:
                    row = row.model_copy(update={"id": seen.free_id(row.key[0])})
                key = identify(row)
                if key in seen:
                    raise BadInputError(_same_key(row, item.location, *seen.location(key)))
                seen.add(key, item.location)
        except BadInputError as error:
            skipped, first = skipped + 1, first or str(error)
            if skipped <= reading.skip_bad_rows:
                continue
            if skipped == 1:
                raise
            raise BadInputError(
                f"{error} (more than --skip-bad-rows {reading.skip_bad_rows}; the first: {first})"
            ) from None
        repaired += is_repaired
        separated = _separated(row)
        parted += separated is not row
        yield item.location, separated
    if count == skipped:
        raise BadInputError(
            f"{source}: contains no rows" + (f" but {skipped} bad ones; the first: {first}" if first else "")
        )
    if skipped:
        _warn(f"{source}: skipped {skipped} bad {_rows(skipped)}; the first: {first}")
    if parted:
        _warn(f"{source}: {parted} {_rows(parted)} with thoughts before the text: they are no part of it")
    if repaired:
        _warn(
            f"{source}: {repaired} {_rows(repaired)} with bytes that are not UTF-8, or lone surrogates: replaced by U+FFFD"
        )


def write_rows(path: str | Path, rows: Iterable[Row]) -> int:
    """Write rows atomically, in a folder that is created if it is missing; returns their number.

    Raises:
        BadInputError: the folder cannot be created or written, the disk is full, or Parquet cannot hold the rows.
    """
    path = Path(path)
    if path.suffix.lower() in READ_ONLY:
        raise BadInputError(f"{path}: rows are written as JSON Lines or Parquet; name a .jsonl or .parquet file")
    _make_folder(path)
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
    """A file that grows row by row and survives a kill: its rows are read back when it is opened. Its folder is created.

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
                _make_folder(self.path)
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

    def sync(self) -> None:
        """Wait until all rows are on the disk.

        Raises:
            StoppedError: the disk is full or broken.
        """
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise StoppedError(f"{self.path}: cannot be written: {error.strerror}") from error

    def close(self) -> None:
        """Close the file; its rows stay in `rows`."""
        self._file.close()


def describe_first_error(error: ValidationError) -> str:
    """`field: problem` for the first error of pydantic."""
    errors = error.errors(include_url=False, include_input=False)
    first = errors[0]
    if first["loc"][1:] == ("str",) and len(errors) > 1 and errors[1]["loc"][0] == first["loc"][0]:
        # A text or a list: what is wrong inside the list says more than that it is no text.
        name, _, *inside = errors[1]["loc"]
        place, said = [name, *inside], errors[1]["msg"] if inside else first["msg"]
    else:
        place, said = list(first["loc"]), first["msg"]
    field = ".".join(map(str, place))
    problem = "is empty" if said == _EMPTY else said.removeprefix("Value error, ")
    return f"{field}: {problem}" if field else problem


def _check_row(item: RawRow, schema: type[Row], reading: Reading) -> _Checked:
    if item.problem:
        raise BadInputError(f"{item.location}: {item.problem}")
    content, problem = item.content, None
    if isinstance(content, bytes | str) and not reading.columns:
        try:
            return _Checked(schema.model_validate_json(content))
        except ValidationError as error:
            problem = error
    if isinstance(content, bytes | str):
        try:
            content = json.loads(decode_line(content))
        except (ValueError, RecursionError) as error:
            says_where = problem is not None and problem.errors()[0]["type"] == "json_invalid"
            described = describe_first_error(problem) if problem and says_where else f"Invalid JSON: {error}"
            raise BadInputError(f"{item.location}: {described}{_hint(content)}") from None
    if not isinstance(content, dict):
        raise BadInputError(f"{item.location}: Input should be an object{_example(schema)}")
    try:
        fields, is_repaired, made_id = adapt(content, schema, reading, is_text=item.is_text)
        return _Checked(schema.model_validate(fields), is_repaired, made_id)
    except ValidationError as error:
        described = describe_first_error(error)
        missing = error.errors(include_url=False, include_input=False)[0]
        if missing["type"] == "missing" and len(missing["loc"]) == 1:
            names = ", ".join(map(repr, list(content)[:12]))
            described += f"; its fields are {names}" + reading.hint.format(missing["loc"][0])
        raise BadInputError(f"{item.location}: {described}") from None
    except (ValueError, RecursionError, OverflowError) as error:
        raise BadInputError(f"{item.location}: cannot be read: {error}") from None


def _separated(row: Any) -> Any:
    """A row of another tool with the thoughts of its models apart from their texts; any other row as it is."""
    texts: tuple[str, ...] = ()
    if isinstance(row, Response) and row.made_from is None and "thoughts" not in row.meta:
        texts = (row.text,)
    elif isinstance(row, Pair) and row.verdicts is None:
        texts = (row.response_a, row.response_b)
    return row.without_thoughts() if any(map(may_hold_thoughts, texts)) else row


def _hint(line: bytes | str) -> str:
    """What a line that is not JSON may be instead."""
    text = decode_line(line[:200]).strip()
    if text.startswith("{"):
        return "; in JSON Lines, a row is one line" if len(text) < _LONGEST_FRAGMENT else ""
    return "; rows that are not JSON Lines need their suffix: .json, .csv, .tsv, .txt or .parquet"


def _example(schema: type[Row]) -> str:
    fields = ", ".join(f'"{name}": ...' for name, info in schema.model_fields.items() if info.is_required())
    return f", such as {{{fields}}}" if fields else ""


def _same_key(row: Row, location: str, file: str, number: int) -> str:
    named = ", ".join(f"{field}={value!r}" for field, value in zip(row.key_fields, row.key, strict=True))
    of = "" if location.rpartition(":")[0] == file else f" of {file}"
    return f"{location}: {named}: duplicate key, first in row {number}{of}"


def _rows(count: int) -> str:
    return "row" if count == 1 else "rows"


def _warn(message: str) -> None:
    warnings.warn(message, RowsWarning, stacklevel=2)


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
    contents = [without_gaps(json.loads(_line(row))) for row in rows]
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


def _make_folder(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInputError(f"{path}: cannot be written: {error.strerror}") from error


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


def take_lock(path: Path, *, doing: str) -> IO[str]:
    """Lock a file for this process, whose pid it then has; the lock ends when the file is closed, or with the process.

    Args:
        path: The file, which is made if it is missing.
        doing: What the other process does, in the error.

    Raises:
        BadInputError: another process holds the lock.
        OSError: the file cannot be made or locked.
    """
    with ExitStack() as opened:
        file = opened.enter_context(path.open("a+"))
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            owner = file.read().strip() or "unknown"
            raise BadInputError(f"{path.parent}: another process (pid {owner}) {doing}") from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        opened.pop_all()
    return file


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
