"""Resumable output: rows arrive in any order over a long time and end as one ordered file.

Rows are appended to `OUT.partial`; `OUT` appears when everything has been tried. A command that is started again continues
from both files: after a kill it repeats only what was in flight, and after failures it retries only those.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Generic

from longform.records.files import AppendedRows, RowT, read_rows, write_rows
from longform.records.paths import check_suffix


class Collection(Generic[RowT]):
    """The rows of `out` so far. Use as a context manager; leaving it early keeps them."""

    def __init__(self, out: str | Path, schema: type[RowT]) -> None:
        self.out = Path(out)
        check_suffix(self.out)  # before any row is paid for
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

    def __getitem__(self, key: tuple[Any, ...]) -> RowT:
        return self._rows[key]

    def __len__(self) -> int:
        return len(self._rows)

    def drop_stale(self, made_from: Mapping[tuple[Any, ...], Mapping[str, str]], *, keep: bool = False) -> Counter[str]:
        """Drop the rows that were made from something else than is given now, so that they are made anew.

        A row that does not say what it was made from stays.

        Args:
            made_from: for each key, the hashes of what its row is made from now, by name.
            keep: only count them.

        Returns:
            How many rows each changed name concerns.
        """
        changed: Counter[str] = Counter()
        for key, present in made_from.items():
            stored = getattr(self._rows.get(key), "made_from", None)
            differing = [name for name in present if stored is not None and stored.get(name) != present[name]]
            changed.update(differing)
            if differing and not keep:
                del self._rows[key]
        return changed

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
