"""The encoding of text files: UTF-8, with or without a byte order mark, or UTF-16.

Bytes that are invalid in it become lone surrogates, which `records.adapting` replaces and counts.
"""

import codecs
from pathlib import Path
from typing import IO

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_LINE_ENDS = {"utf-16-le": b"\n\0", "utf-16-be": b"\0\n"}
_HEAD = 1 << 12
"""Bytes from the beginning of a file by which its encoding is told."""
_BAD_BYTES = "longform.bad_bytes"


def _mark_bad_bytes(error: UnicodeError) -> tuple[str, int]:
    if isinstance(error, UnicodeDecodeError):
        return "\udcff", error.end
    raise error


codecs.register_error(_BAD_BYTES, _mark_bad_bytes)


def find_encoding(path: Path) -> str:
    """The encoding that the first bytes of a file tell."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding
    return _unmarked_utf_16(head) or "utf-8"


def _unmarked_utf_16(head: bytes) -> str | None:
    """The byte order of UTF-16 without a mark, told by its first line end, or by an ASCII character at the beginning."""
    if b"\0" not in head:
        return None
    units = [head[at : at + 2] for at in range(0, len(head), 2)]
    for encoding, end in _LINE_ENDS.items():
        if end in units and not _is_utf_8(head):
            return encoding
    if len(head) >= 2 and 0 in head[:2] and any(head[:2]):
        return "utf-16-be" if head[0] == 0 else "utf-16-le"
    return None


def _is_utf_8(head: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)  # the last character may be cut
    except UnicodeDecodeError:
        return False
    return True


def open_text(path: Path) -> IO[str]:
    """Open a text file; its lines end at "\\n" alone, and "\\r\\n" stays as it is."""
    return path.open(encoding=find_encoding(path), errors=_BAD_BYTES, newline="\n")


def decode_line(line: bytes | str) -> str:
    """A line of a file as text; invalid bytes become lone surrogates."""
    return line if isinstance(line, str) else line.decode("utf-8", _BAD_BYTES)
