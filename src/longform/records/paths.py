"""Checks of output paths: a command writes to a file, and never to one that it reads."""

from os.path import realpath
from pathlib import Path

from longform.records.errors import BadInputError
from longform.records.optional import require


def check_out(out: Path, *inputs: Path, flag: str = "--out") -> None:
    """Refuse an output path that cannot or must not be written; call it before anything is read or paid for.

    Paths are compared as the system resolves them, so `./a.jsonl`, a link to it and `a.jsonl` are one file.

    Args:
        out: file to be written.
        inputs: files that are read.
        flag: the flag that gave `out`, for the message.

    Raises:
        BadInputError: `out` is a folder, as every path without a name is, one of the inputs, or a Parquet file where
            pyarrow is not installed.
    """
    if out.is_dir():
        raise BadInputError(f"{flag} {out}: is a folder; name a file")
    for path in inputs:
        if realpath(path) == realpath(out):
            raise BadInputError(f"{flag} {out}: would overwrite {path}, which this command reads")
    if out.suffix == ".parquet":
        require("pyarrow", f"{flag} {out}", otherwise=", or name a .jsonl file")
