"""Folders of weights, written whole or not at all."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from longform.records.errors import StoppedError

_PROBE_BYTES = 1 << 20


def write_folder(place: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a folder beside `place` and move it there when it is whole; what stood there before is replaced.

    Raises:
        StoppedError: the disk is full or cannot be written; nothing has changed.
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
        trouble = (error.strerror or str(error)) if isinstance(error, OSError) else _disk_trouble(beside)
        shutil.rmtree(beside, ignore_errors=True)
        if trouble is None:
            raise
        raise StoppedError(f"{place}: cannot be written: {trouble}") from error


def _disk_trouble(folder: Path) -> str | None:
    """Why the disk takes no more, or None: libraries that write weights report a full disk by errors of their own."""
    try:
        (folder / ".probe").write_bytes(bytes(_PROBE_BYTES))
    except OSError as error:
        return error.strerror
    return None


def _sync_files(folder: Path) -> None:
    """Make the files' contents durable before the rename makes them visible."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
