"""What a viewer shows: runs and files of results, found in the paths that it was given.

Each has a key, its path below what was given, that stands in addresses of pages. The folders are looked through again for
every list, so a run that begins while the viewer runs appears.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from longform.records.errors import BadInputError
from longform.records.rollout_search import INDEX_NAME
from longform.viewer.row_files import ContentKind, kind_of_file

_SEPARATOR = "~"
_SKIPPED = ("checkpoints", "policies")
_ROW_SUFFIXES = (".jsonl", ".parquet")
RESULT = "result.json"
"""Of a benchmark."""


class FoundFile(NamedTuple):
    """A file of results."""

    key: str
    path: Path
    kind: ContentKind


class ViewerCollection:
    """The runs and files below some paths.

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

    def runs(self) -> dict[str, Path]:
        """Run directories by their keys."""
        return self._keyed(
            (root, database.parent)
            for root in self.paths
            if root.is_dir()
            for database in sorted(root.rglob("run.sqlite"))
        )

    def files(self) -> list[FoundFile]:
        """Files of results, by path; those of training data and those within a run are left out."""
        keyed = self._keyed((root, path) for root in self.paths for path in self._row_files(root))
        return [FoundFile(key, path, kind) for key, path in keyed.items() if (kind := kind_of_file(path)) is not None]

    def run(self, key: str) -> Path:
        """The run directory of a key.

        Raises:
            KeyError: there is none.
        """
        return self.runs()[key]

    def file(self, key: str) -> FoundFile:
        """The file of a key.

        Raises:
            KeyError: there is none.
        """
        return {it.key: it for it in self.files()}[key]

    @staticmethod
    def _row_files(root: Path) -> Iterator[Path]:
        if root.is_file():
            yield root
            return
        for path in sorted(root.rglob("*")):
            inside = path.relative_to(root).parts[:-1]
            if (
                (path.suffix in _ROW_SUFFIXES or path.name == RESULT)
                and path.is_file()
                and not set(inside) & set(_SKIPPED)
            ):
                yield path

    @staticmethod
    def _keyed(found: Iterator[tuple[Path, Path]]) -> dict[str, Path]:
        """Paths by their keys; of two with the same key the later one gets a number."""
        keyed: dict[str, Path] = {}
        for root, path in found:
            parts = path.relative_to(root).parts if root.is_dir() else ()
            name = _SEPARATOR.join(parts) or root.resolve().name
            key, number = name, 2
            while key in keyed and keyed[key].resolve() != path.resolve():
                key, number = f"{name}{_SEPARATOR}{number}", number + 1
            keyed[key] = path
        return keyed


def index_exists(run: Path) -> bool:
    """Whether the texts of a run have been indexed, at least in part."""
    return (run / INDEX_NAME).is_file()
