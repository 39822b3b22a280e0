"""Files that are not what their names say: archives, Parquet under another suffix, Git LFS pointers, other encodings."""

import codecs
import re
import stat
from pathlib import Path

from longform.records.errors import BadInputError

_HEAD = 1 << 16
"""Bytes from the beginning of a file by which it is told."""
_KINDS = (
    (b"\x1f\x8b", "is compressed with gzip; unpack it first, such as with `gunzip -k`"),
    (b"\x28\xb5\x2f\xfd", "is compressed with zstd; unpack it first, such as with `zstd -d`"),
    (b"\xfd7zXZ\x00", "is compressed with xz; unpack it first, such as with `xz -dk`"),
    (b"BZh", "is compressed with bzip2; unpack it first, such as with `bunzip2 -k`"),
    (b"PK\x03\x04", "is a zip archive or a spreadsheet; unpack it, or save the sheet as .csv"),
    (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        "is a document or spreadsheet of an older office program; save the sheet as .csv",
    ),
    (b"%PDF-", "is a PDF document; save its text as .txt"),
    (b"{\\rtf", "is formatted text (RTF); save it as plain text"),
    (b"ARROW1", "is an Arrow file; write it as .parquet, or name the folder of `save_to_disk` that holds it"),
    (b"SQLite format 3\0", "is an SQLite database; export the table as .csv"),
    (b"version https://git-lfs", "is a Git LFS pointer and not the file itself; `git lfs pull` fetches it"),
)
_WEB_PAGE = re.compile(rb"\s*<(?:!doctype\s+html|html)\b", re.I)
_LARGE_SHARE = 0.8
_FEWEST_HAN = 16
_FEWEST = 32
"""Bad bytes that are no accident where next to no letter beyond ASCII is in UTF-8; fewer are replaced and counted."""
_HAN_ENCODINGS = {
    "GB18030": re.compile(rb"[\xb0-\xd7][\xa1-\xfe]"),
    "BIG5": re.compile(rb"[\xa4-\xc6][\x40-\x7e\xa1-\xfe]"),
}
"""The frequent characters (level 1) of the encodings in which Chinese spreadsheets write."""


def check_kind(path: Path) -> None:
    """Refuse a file that is recognisably something else than its suffix says, or is in another encoding.

    Raises:
        BadInputError: names what it is and the remedy.
        OSError: the file cannot be read.
    """
    mode = path.stat().st_mode
    if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
        raise BadInputError(f"{path}: is a pipe, and rows may be read more than once; write them to a file first")
    with path.open("rb") as file:
        head = file.read(_HEAD)
    for mark, problem in _KINDS:
        if head.startswith(mark):
            raise BadInputError(f"{path}: {problem}")
    if _WEB_PAGE.match(head):
        raise BadInputError(f"{path}: is a web page; download the file itself")
    is_parquet = path.suffix.lower() == ".parquet"
    if head.startswith(b"PAR1") and not is_parquet:
        raise BadInputError(f"{path}: is a Parquet file; give it the suffix .parquet")
    if not is_parquet and (encoding := _foreign_encoding(head)):
        raise BadInputError(
            f"{path}: is not in UTF-8, but perhaps in {encoding}; convert it, such as with `iconv -f {encoding} -t UTF-8`"
        )


def _foreign_encoding(head: bytes) -> str | None:
    """The likely encoding of a text that is as a whole not in UTF-8; None for one with single bad bytes, and for UTF-16."""
    if head.isascii() or b"\0" in head:
        return None
    text = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode(head)  # the last character may be cut
    # Not U+FFFD, which a model's text may hold: a surrogate stands for a byte that is not UTF-8.
    bad = sum("\udc80" <= it <= "\udcff" for it in text)
    if not bad:
        return None
    beyond_ascii = sum(byte > 0x7F for byte in head)
    for encoding, frequent in _HAN_ENCODINGS.items():
        of_pairs = sum(byte > 0x7F for pair in frequent.findall(head) for byte in pair)
        if of_pairs >= max(_FEWEST_HAN, _LARGE_SHARE * beyond_ascii):
            return encoding
    others = sum(it > "\x7f" for it in text) - bad
    return "CP1252" if bad >= max(_FEWEST, 8 * others) else None
