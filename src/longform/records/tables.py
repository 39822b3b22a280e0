"""The rows of files as people have them, before they are checked: JSON Lines, JSON, CSV, TSV, text, Parquet, and datasets.

The suffix decides the format; a file of any other suffix is read as JSON Lines. Lines end at "\\n" only, because model texts
contain other line separators. The encoding is UTF-8, with or without a byte order mark, or UTF-16. Bytes that are invalid in
it become lone surrogates here, which `records.adapting` replaces and counts.

- `.json`: an array of rows or texts, an object of id -> row, an object of one array, one row, or JSON Lines.
- `.csv`, `.tsv`: a header, then one row a record; an empty cell is a missing value.
- `.txt`: a text a line; blank lines are skipped. In a folder of `.txt` files, each file is one text, its name is the id.
- A folder: a dataset of `save_to_disk`, or the files of the first suffix of `SUFFIXES` at any depth, by name, but for hidden
  ones.
- `owner/name`, where no such file exists: a dataset of the Hugging Face hub, as a stream.
"""

import codecs
import csv
import json
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from longform.records.encoding import decode_line, find_encoding, open_text
from longform.records.errors import BadInputError, LongformError, in_one_line
from longform.records.foreign import check_kind
from longform.records.optional import require
from longform.records.parquet import parquet_rows, without_gaps

SUFFIXES = (".parquet", ".jsonl", ".json", ".csv", ".tsv", ".txt")
MAX_CELL = 1 << 24
"""Longest cell of a CSV file in characters; an unclosed quote would otherwise take in the rest of the file."""
_CHUNK = 1 << 20
_LONGEST_LITERAL = 16
"""Characters of JSON that may be cut at the end of a chunk without being an error: a literal or an escape."""
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+")
_STATED_SEPARATOR = re.compile(r"\ufeff?sep=(.)\s*", re.I)
"""The first line of a CSV file that a spreadsheet wrote for another one."""
_BLANKS = re.compile(r"[ \t\r\n]*")


class RawRow(NamedTuple):
    """A row before it is checked."""

    location: str
    """FILE:LINE; the number of the row in Parquet files, JSON arrays and datasets."""
    content: Any
    """A line of JSON (bytes or text), or fields by name."""
    is_text: bool = False
    """Whether all values are text, as in CSV."""
    problem: str = ""
    """Why the row cannot be read."""


def read_fields(row: RawRow) -> dict[str, Any] | None:
    """The fields of a row by name; None if it cannot be read as an object."""
    content = row.content
    if isinstance(content, bytes | str):
        try:
            content = json.loads(decode_line(content))
        except (ValueError, RecursionError):
            return None
    return content if isinstance(content, dict) else None


def raw_rows(path: Path, *, text_field: str = "", columns: Collection[str] = ()) -> Iterator[RawRow]:
    """Read the rows of a file, a folder or a dataset, one after the other.

    Args:
        path: File or folder, or the id of a dataset.
        text_field: Field that a bare text becomes (`.txt` files, strings in JSON arrays); "" if a row needs more than one.
        columns: Names of the fields that are read from Parquet files and datasets, including nested ones; empty: all.

    Raises:
        BadInputError: nothing exists there, or it cannot be read in its format.
    """
    if is_dataset_id(path):
        yield from dataset_rows(str(path), columns)
    elif path.is_dir() and _is_saved_dataset(path):
        yield from _saved_rows(path, columns)
    elif path.is_dir():
        files = files_of(path)
        for file in files:
            if file.suffix.lower() == ".txt":
                _check_text_field(file, text_field)
                id_ = file.relative_to(path).with_suffix("").as_posix()
                yield RawRow(f"{file}:1", {"id": id_, text_field: read_text_file(file)}, is_text=True)
            else:
                yield from raw_rows(file, text_field=text_field, columns=columns)
    else:
        yield from _file_rows(path, text_field, columns)


def files_of(source: Path) -> list[Path]:
    """The files that are read for a path: itself, or those of a folder; a dataset's id stands for itself.

    Raises:
        BadInputError: a folder that has none.
    """
    if not source.is_dir() or _is_saved_dataset(source):
        return [source]
    files = row_files(source, SUFFIXES)
    for suffix in SUFFIXES:
        if found := [file for file in files if file.suffix.lower() == suffix]:
            return found
    known = f"{', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}"
    raise BadInputError(f"{source}: cannot be read: Is a directory, and holds no {known} file")


def row_files(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """The files of a folder with one of `suffixes`, at any depth, by name.

    Hidden ones are left out, and those in hidden folders: .git, .cache and .ipynb_checkpoints hold older copies.
    """
    found = (it for it in sorted(folder.rglob("*")) if it.suffix.lower() in suffixes)
    return [it for it in found if it.is_file() and not any(part[0] == "." for part in it.relative_to(folder).parts)]


def is_dataset_id(path: Path) -> bool:
    """Whether a path is read as the id of a dataset: of the form `owner/name`, and nothing of that name exists here."""
    return path.suffix.lower() not in SUFFIXES and bool(_HUB_ID.fullmatch(str(path))) and not path.exists()


def read_text_file(path: Path) -> str:
    """A whole text file, in UTF-8 or UTF-16; invalid bytes become lone surrogates.

    Raises:
        BadInputError: it cannot be read.
    """
    try:
        check_kind(path)
        with open_text(path) as file:
            return file.read()
    except OSError as error:
        raise BadInputError(f"{path}: cannot be read: {error.strerror}") from error


def dataset_rows(name: str, columns: Collection[str] = ()) -> Iterator[RawRow]:
    """Rows of a dataset as a stream: of its split `train`, or of the only one.

    Args:
        name: An id of the hub, or anything else that `datasets.load_dataset` takes.
        columns: Names of the fields to read; empty: all.

    Raises:
        BadInputError: `datasets` is not installed, the hub or the dataset cannot be reached, a licence or a login is
            missing, or its splits are several and none is `train`.
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
        rows = _split(datasets.load_dataset(name, streaming=True), name)
        if columns and rows.column_names:
            rows = rows.select_columns([column for column in rows.column_names if column in columns])
        yield from _numbered(name, rows, columns)
    except LongformError:
        raise
    except Exception as error:  # whatever the hub, the line to it or a file on it brings forth
        raise BadInputError(
            f"{name}: cannot be read as a dataset: {in_one_line(error)}{here and f'{here} either'}"
        ) from error


def _saved_rows(folder: Path, columns: Collection[str]) -> Iterator[RawRow]:
    require("datasets", folder)
    import datasets

    datasets.logging.set_verbosity_error()
    try:
        saved = datasets.load_from_disk(str(folder))
        rows = _split(saved, str(folder)) if isinstance(saved, dict) else saved
        if columns:
            rows = rows.select_columns([column for column in rows.column_names if column in columns])
        yield from _numbered(str(folder), rows.with_format(None), columns)
    except LongformError:
        raise
    except Exception as error:  # a damaged folder raises exceptions of any type
        raise BadInputError(f"{folder}: cannot be read as a dataset of save_to_disk: {in_one_line(error)}") from error


def _is_saved_dataset(folder: Path) -> bool:
    return (folder / "state.json").is_file() or (folder / "dataset_dict.json").is_file()


def _split(splits: Any, name: str) -> Any:
    chosen = "train" if "train" in splits or len(splits) != 1 else next(iter(splits))
    if chosen not in splits:
        raise BadInputError(f"{name}: has no split train, but {', '.join(map(str, splits))}")
    return splits[chosen]


def _numbered(name: str, rows: Any, columns: Collection[str]) -> Iterator[RawRow]:
    for number, row in enumerate(rows, 1):
        yield RawRow(f"{name}:{number}", row if columns else without_gaps(row))


def _file_rows(path: Path, text_field: str, columns: Collection[str]) -> Iterator[RawRow]:
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        for number, row in enumerate(parquet_rows(path, columns), 1):
            yield RawRow(f"{path}:{number}", row)
        return
    try:
        check_kind(path)
        match suffix:
            case ".csv" | ".tsv":
                yield from _csv_rows(path)
            case ".txt":
                _check_text_field(path, text_field)
                with open_text(path) as file:
                    for number, line in enumerate(file, 1):
                        if line.strip():
                            yield RawRow(f"{path}:{number}", {text_field: line.rstrip("\r\n")}, is_text=True)
            case ".json":
                yield from _json_rows(path, text_field)
            case _ if _begins_with_bracket(path):  # an array, whatever the suffix
                yield from _json_rows(path, text_field)
            case _:
                yield from _lines(path)
    except OSError as error:
        raise BadInputError(f"{path}: cannot be read: {error.strerror}") from error


def _begins_with_bracket(path: Path) -> bool:
    with open_text(path) as file:
        return next((line for line in file if line.strip()), "").lstrip().startswith("[")


def _check_text_field(path: Path, text_field: str) -> None:
    if not text_field:
        raise BadInputError(f"{path}: a text file has one value a row, and more are needed here; use .jsonl or .csv")


def _lines(path: Path) -> Iterator[RawRow]:
    """Non-empty lines; a binary file iterates on b"\\n" alone."""
    encoding = find_encoding(path)
    with path.open("rb") if encoding in ("utf-8", "utf-8-sig") else open_text(path) as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                has_mark = number == 1 and encoding == "utf-8-sig"
                yield RawRow(f"{path}:{number}", line[len(codecs.BOM_UTF8) :] if has_mark else line)


def _csv_rows(path: Path) -> Iterator[RawRow]:
    csv.field_size_limit(MAX_CELL)
    with open_text(path) as file:
        header = next((line for line in file if line.strip()), "")
        stated = _STATED_SEPARATOR.fullmatch(header)
        if not stated:
            file.seek(0)
        if header.lstrip().startswith("{"):
            raise BadInputError(f"{path}:1: is JSON and not a header; give the file the suffix .jsonl")
        delimiter = "\t" if path.suffix.lower() == ".tsv" else stated[1] if stated else _delimiter(header)
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        before = 1 if stated else 0
        names: list[str] | None = None
        while True:
            location = f"{path}:{before + reader.line_num + 1}"
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield RawRow(location, {}, problem=f"not CSV: {_describe_csv(error)}")
                continue
            if not any(cell.strip() for cell in cells):
                continue
            if names is None:
                names = _check_header([name.strip() for name in cells], path)
            elif len(cells) > len(names):
                yield RawRow(
                    location,
                    {},
                    problem=f"has {len(cells)} fields, the header {len(names)}; quote a field with a separator in it",
                )
            else:
                yield RawRow(location, {n: cell for n, cell in zip(names, cells, strict=False) if n}, is_text=True)


def _describe_csv(error: csv.Error) -> str:
    problem = str(error)
    if "unexpected end" in problem:
        return "a quote that opens in this row is not closed"
    if "new-line character" in problem:
        return "a carriage return ends no line; save the file with line feeds, or quote the field"
    if "expected after" in problem:
        return f"{problem}: a quote within a quoted field is written twice"
    return problem


def _check_header(names: Sequence[str], path: Path) -> list[str]:
    for i, name in enumerate(names):
        if name and name in names[:i]:
            raise BadInputError(f"{path}:1: {name}: two columns have this name")
    return list(names)


def _delimiter(header: str) -> str:
    """The separator that is most frequent outside quotes in the header; a comma if there is none."""
    plain = re.sub(r'"[^"]*"', "", header)
    return max(",;\t|", key=plain.count)


def _json_rows(path: Path, text_field: str) -> Iterator[RawRow]:
    with open_text(path) as file:
        first = next((line for line in file if line.strip()), "")
        if not first:
            return
        file.seek(0)
        if first.lstrip().startswith("["):
            yield from _array_rows(path, file, text_field)
            return
        if _is_whole_row(first) and any(line.strip() for line in file if line != first):
            yield from _lines(path)
            return
        file.seek(0)
        try:
            whole = _load_object(file)
        except (ValueError, RecursionError) as error:
            raise BadInputError(f"{path}: Invalid JSON: {in_one_line(error)}") from None
    yield from _object_rows(path, whole, text_field)


def _load_object(file: IO[str]) -> Any:
    """The content of a JSON file; keys of its object, which may be ids of rows, must differ."""
    outermost: list[tuple[str, Any]] = []

    def keep(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        outermost[:] = pairs  # called for the outermost object last
        return dict(pairs)

    whole = json.load(file, object_pairs_hook=keep)
    if isinstance(whole, dict) and len(whole) < len(outermost):
        names = [name for name, _ in outermost]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} occurs twice")
    return whole


def _is_whole_row(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _object_rows(path: Path, whole: Any, text_field: str) -> Iterator[RawRow]:
    """Rows of an object: id -> row, one key with an array of rows, or a single row; none if it is empty."""
    if whole == {}:
        return
    if isinstance(whole, dict) and whole and all(isinstance(value, dict) for value in whole.values()):
        for number, (id_, row) in enumerate(whole.items(), 1):
            yield RawRow(f"{path}:{number}", {"id": id_} | row)
    elif isinstance(whole, dict) and len(whole) == 1 and isinstance(rows := next(iter(whole.values())), list):
        for number, row in enumerate(rows, 1):
            yield RawRow(f"{path}:{number}", {text_field: row} if isinstance(row, str) and text_field else row)
    else:
        yield RawRow(f"{path}:1", whole)


def _array_rows(path: Path, file: IO[str], text_field: str) -> Iterator[RawRow]:
    """Items of an array, decoded one by one; the text that is held is that of one item, or a chunk."""
    decoder, buffer, number, separated = json.JSONDecoder(), file.read(_CHUNK), 0, True
    at = buffer.index("[") + 1
    while True:
        at = _skip_blanks(buffer, at)
        if not separated and buffer.startswith(",", at):
            at, separated = _skip_blanks(buffer, at + 1), True
        if buffer.startswith("]", at) and not (separated and number):
            if buffer[at + 1 :].strip() or any(rest.strip() for rest in file):
                raise BadInputError(f"{path}: Invalid JSON: more follows the array")
            return
        problem = "the array is not closed"
        try:
            if at < len(buffer) and not separated:
                raise BadInputError(f"{path}:{number}: Invalid JSON: expected ',' or ']' after this row")
            item, end = decoder.raw_decode(buffer, at)
            if end < len(buffer):  # at the end of a chunk, a number may go on in the next one
                number, separated, at = number + 1, False, end
                yield RawRow(f"{path}:{number}", {text_field: item} if isinstance(item, str) and text_field else item)
                continue
        except json.JSONDecodeError as error:
            problem = error.msg
            if not problem.startswith("Unterminated") and error.pos < len(buffer) - _LONGEST_LITERAL:
                raise BadInputError(f"{path}:{number + 1}: Invalid JSON: {problem}") from None
        except (ValueError, RecursionError) as error:
            raise BadInputError(f"{path}:{number + 1}: Invalid JSON: {in_one_line(error)}") from None
        rest = buffer[at:]
        if not (more := file.read(max(_CHUNK, len(rest)))):
            raise BadInputError(f"{path}:{number + 1}: Invalid JSON: {problem}")
        buffer, at = rest + more, 0


def _skip_blanks(text: str, start: int) -> int:
    match = _BLANKS.match(text, start)
    return match.end() if match else start
