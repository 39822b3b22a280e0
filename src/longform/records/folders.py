"""Writes folders of weights atomically."""

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from longform.records.errors import StoppedError

_PROBE_BYTES = 1 << 20
_OS_ERROR = re.compile(r"\(os error (\d{1,4})\)")


def write_folder(place: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary folder and rename it to `place`, replacing an existing one.

    Raises:
        StoppedError: the disk is full or cannot be written; `place` is unchanged.
    """
    beside = place.with_name(f".{place.name}.partial")
    try:
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        write(beside)
        _sync_files(beside)
        shutil.rmtree(place, ignore_errors=True)
        beside.rename(place)
    except Exception as error:
        trouble = disk_trouble(error, beside)
        shutil.rmtree(beside, ignore_errors=True)
        if trouble is None:
            raise
        raise StoppedError(f"{place}: cannot be written: {trouble}") from error


def disk_trouble(error: Exception, folder: Path) -> str | None:
    """Why the files of a folder cannot be written, or None if an error has another cause.

    Libraries that write weights report a full disk by their own errors. Rust libraries name the system error;
    for others, append to the file that was written last and see; it is as before afterwards.
    """
    if isinstance(error, OSError):
        return error.strerror or str(error)
    named = _OS_ERROR.search(str(error))
    if named:
        return os.strerror(int(named[1]))
    files = [path for path in folder.rglob("*") if path.is_file()]
    last = max(files, key=lambda path: path.stat().st_mtime_ns, default=folder / ".probe")
    size = last.stat().st_size if last.exists() else None
    try:
        with last.open("ab") as file:
            file.write(bytes(_PROBE_BYTES))
    except OSError as full:
        return full.strerror
    finally:
        if size is not None:
            os.truncate(last, size)
        else:
            last.unlink(missing_ok=True)
    return None


def _sync_files(folder: Path) -> None:
    """Flush the files to disk before the rename makes them visible."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
