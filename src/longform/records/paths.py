"""Checks of output paths: a command writes to a file, and never to one that it reads."""

from os.path import realpath
from pathlib import Path

from longform.records.errors import BadInputError
from longform.records.optional import require

READ_ONLY = (".csv", ".tsv", ".txt")
"""Formats that rows are read in and never written, by suffix."""


def check_out(out: Path, *inputs: Path, flag: str = "--out") -> None:
    """Refuse an output path that cannot or must not be written; call it before anything is read or paid for.

    Paths are compared as the system resolves them, so `./a.jsonl`, a link to it and `a.jsonl` are one file.

    Args:
        out: file to be written.
        inputs: files that are read.
        flag: the flag that gave `out`, for the message.

    Raises:
        BadInputError: `out` is a folder, as every path without a name is, one of the inputs, or of a format that is not
            written (see `check_suffix`).
    """
    if out.is_dir():
        raise BadInputError(f"{flag} {out}: is a folder; name a file")
    check_suffix(out, flag=flag)
    for path in inputs:
        if realpath(path) == realpath(out):
            raise BadInputError(f"{flag} {out}: would overwrite {path}, which this command reads")


def check_suffix(out: Path, *, flag: str = "--out") -> None:
    """Refuse a file of rows in a format that is only read, or in Parquet where that cannot be written.

    Raises:
        BadInputError: names the formats.
    """
    if out.suffix.lower() in READ_ONLY:
        raise BadInputError(f"{flag} {out}: rows are written as JSON Lines or Parquet; name a .jsonl or .parquet file")
    if out.suffix == ".parquet":
        require("pyarrow", f"{flag} {out}", otherwise=", or name a .jsonl file")
