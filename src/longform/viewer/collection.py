"""The runs, studies and files of results that a viewer finds below the paths it was given.

Each has a key for addresses of pages: its path relative to the given path. The folders are searched again for every list, so
runs that start while the viewer is running appear.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from longform.records.errors import BadInputError
from longform.report.rendering import visible
from longform.report.study import FINDINGS_SUFFIX
from longform.viewer.row_files import ContentKind, kind_of_file

SEPARATOR = "~"
"""Between the parts of a key, where its path has a slash."""
_SKIPPED = ("checkpoints", "policies")
_ROW_SUFFIXES = (".jsonl", ".parquet")
RESULT = "result.json"
"""File with the result of a benchmark."""


class FoundFile(NamedTuple):
    """A file of results."""

    key: str
    path: Path
    kind: ContentKind


class ViewerCollection:
    """The runs, studies and files below some paths.

    Args:
        paths: Run directories, folders with runs and results at any depth, or files.

    Raises:
        BadInputError: a path does not exist.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        for path in paths:
            if not path.exists():
                raise BadInputError(
                    f"{path}: no such file or folder; name a run, a folder with runs, or a file of results"
                )
        self.paths = list(paths)

    def check(self) -> None:
        """Check that there is something to show, now or once a run begins.

        Raises:
            BadInputError: a file holds no results, or a folder neither runs nor results.
        """
        if not self.paths or self.runs() or self.studies() or self.files():
            return
        raise BadInputError(
            f"{self.paths[0]}: holds neither runs (run.sqlite), nor results (.jsonl, .parquet, or result.json of bench), "
            "nor a study"
        )

    def runs(self) -> dict[str, Path]:
        """Run directories by their keys."""
        return self._keyed(
            (root, database.parent)
            for root in self.paths
            if root.is_dir()
            for database in _files_below(root)
            if database.name == "run.sqlite"
        )

    def studies(self) -> dict[str, Path]:
        """Files with the findings of studies, by their keys."""
        return self._keyed(
            (root, path)
            for root in self.paths
            for path in ([root] if root.is_file() else _files_below(root))
            if path.name.endswith(FINDINGS_SUFFIX)
        )

    def files(self) -> list[FoundFile]:
        """Files of results, by path, without those in checkpoints."""
        keyed = self._keyed((root, path) for root in self.paths for path in self._row_files(root))
        return [FoundFile(key, path, kind) for key, path in keyed.items() if (kind := kind_of_file(path)) is not None]

    def run(self, key: str) -> Path:
        """The run directory of a key.

        Raises:
            KeyError: there is none.
        """
        return self.runs()[key]

    @staticmethod
    def _row_files(root: Path) -> Iterator[Path]:
        if root.is_file():
            yield root
            return
        for path in _files_below(root):
            if path.suffix in _ROW_SUFFIXES or path.name == RESULT:
                yield path

    def _keyed(self, found: Iterator[tuple[Path, Path]]) -> dict[str, Path]:
        """Paths by key: the path relative to its root, preceded by the root's name if there are several roots.

        If a key is taken, a number is appended.
        """
        keyed: dict[str, Path] = {}
        for root, path in found:
            parts = path.relative_to(root).parts if root.is_dir() else ()
            if len(self.paths) > 1 or not parts:
                parts = (root.resolve().name, *parts)
            name = visible(SEPARATOR.join(parts))  # names of files may have bytes that no address can have
            key, number = name, 2
            while key in keyed and keyed[key].resolve() != path.resolve():
                key, number = f"{name}{SEPARATOR}{number}", number + 1
            keyed[key] = path
        return keyed


def _files_below(root: Path) -> Iterator[Path]:
    """All files below a folder, sorted, without those of checkpoints; links to folders are not followed."""
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(set(folders) - set(_SKIPPED))
        yield from (Path(folder) / name for name in sorted(names))
