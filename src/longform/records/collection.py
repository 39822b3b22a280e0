"""Rows that are gathered over a long time, in any order, and end as one file in a stated order.

Until it is complete a collection lives in `OUT.partial`, one flushed line a row; `OUT` appears when everything has been
tried. Starting again continues from both, so a killed command repeats only what was under way, and one that met failures
tries only those again.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

from longform.records.files import AppendedRows, read_rows, write_rows
from longform.records.schemas import Row

RowT = TypeVar("RowT", bound=Row)


class Collection(Generic[RowT]):
    """Rows on their way to `out`. Use as a context manager; leaving it early keeps what was gathered."""

    def __init__(self, out: str | Path, schema: type[RowT]) -> None:
        self.out = Path(out)
        before = list(read_rows(self.out, schema)) if self.out.exists() else []
        self._partial = AppendedRows(self.out.with_name(self.out.name + ".partial"), schema)
        self._rows = {row.key: row for row in [*before, *self._partial.rows]}

    def __enter__(self) -> "Collection[RowT]":
        return self

    def __exit__(self, *_: object) -> None:
        if not self._partial.rows:
            self._partial.path.unlink(missing_ok=True)
        self._partial.close()

    def __contains__(self, key: tuple[Any, ...]) -> bool:
        return key in self._rows

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, row: RowT) -> None:
        """Keep a row; it survives a kill from here on."""
        self._partial.append(row)
        self._rows[row.key] = row

    def finish(self, order: Sequence[tuple[Any, ...]]) -> int:
        """Write the rows to `out`, those of `order` first and in its order, and return how many there are.

        Rows that an earlier command gathered under other keys are kept, behind the others.
        """
        known = [key for key in order if key in self._rows]
        others = self._rows.keys() - set(known)
        keys = [*known, *sorted(others, key=str)]
        if keys:
            write_rows(self.out, (self._rows[key] for key in keys))
        # While it is locked: another command may open the file the moment it is let go.
        self._partial.path.unlink(missing_ok=True)
        return len(keys)
