"""Resumable output: rows arrive in any order over a long time and end as one ordered file.

Rows are appended to `OUT.partial`; `OUT` appears when everything has been tried. A command that is started again continues
from both files: after a kill it repeats only what was in flight, and after failures it retries only those.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Generic

from longform.records.files import AppendedRows, RowT, read_rows, write_rows
from longform.records.optional import require


class Collection(Generic[RowT]):
    """The rows of `out` so far. Use as a context manager; leaving it early keeps them."""

    def __init__(self, out: str | Path, schema: type[RowT]) -> None:
        self.out = Path(out)
        if self.out.suffix == ".parquet":  # it would be missed when all rows have been paid for
            require("pyarrow", self.out, otherwise=", or write a .jsonl file")
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
        """Append a row, which then survives a kill."""
        self._partial.append(row)
        self._rows[row.key] = row

    def finish(self, order: Sequence[tuple[Any, ...]]) -> int:
        """Write the rows to `out`, those of `order` first and in its order; returns their number.

        Rows that an earlier command added under other keys are kept at the end.
        """
        known = [key for key in order if key in self._rows]
        others = self._rows.keys() - set(known)
        keys = [*known, *sorted(others, key=str)]
        if keys:
            write_rows(self.out, (self._rows[key] for key in keys))
        # While locked: another command may open the file as soon as it is released.
        self._partial.path.unlink(missing_ok=True)
        return len(keys)
