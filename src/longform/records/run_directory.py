"""`runs/NAME/`: the resolved recipe, the database, the checkpoints, the report.

A checkpoint is written to a temporary folder and renamed when it is complete, so the newest folder under `checkpoints/` can
always be resumed. One process at a time owns a run, by an operating-system lock that ends with the process.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import IO

from longform.records.database import RunDatabase
from longform.records.errors import BadInputError
from longform.records.files import take_lock
from longform.records.folders import write_folder


class RunDirectory:
    """An open run. Use as a context manager; `open` locks it for this process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._database: RunDatabase | None = None
        self._lock: IO[str] | None = None
        self.recipe_path = path / "recipe.yaml"
        self.report_path = path / "report.html"
        self.database_path = path / "run.sqlite"
        self.checkpoints_path = path / "checkpoints"

    @classmethod
    def open(cls, path: str | Path) -> "RunDirectory":
        """Create or open the run at `path` for writing.

        Raises:
            BadInputError: the folder cannot be created, or another process is writing this run (its pid is named).
        """
        run = cls(Path(path))
        try:
            run.checkpoints_path.mkdir(parents=True, exist_ok=True)
            run._lock = take_lock(run.path / "lock", doing="is writing this run")
        except OSError as error:
            raise BadInputError(f"{path}: cannot be used as a run directory: {error.strerror}") from error
        try:
            run._database = RunDatabase(run.database_path)
        except BadInputError:
            run.close()
            raise
        return run

    @classmethod
    def read(cls, path: str | Path) -> "RunDirectory":
        """Open an existing run for reading, without its lock.

        Raises:
            BadInputError: `path` is not a run directory.
        """
        run = cls(Path(path))
        if not run.database_path.exists():
            raise BadInputError(f"{path}: not a run directory (it has no run.sqlite); `longform runs` lists runs")
        run._database = RunDatabase(run.database_path, create=False)
        return run

    def __enter__(self) -> "RunDirectory":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def database(self) -> RunDatabase:
        """The run's records."""
        assert self._database is not None, "open or read the run first"
        return self._database

    def close(self) -> None:
        """Close the database and release the lock."""
        if self._database is not None:
            self._database.close()
        if self._lock is not None:
            self._lock.close()

    def checkpoint_path(self, step: int) -> Path:
        """The folder of the checkpoint of `step`."""
        return self.checkpoints_path / f"step-{step:06d}"

    def checkpoint_steps(self) -> list[int]:
        """Steps with a complete checkpoint, ascending."""
        numbers = (folder.name.removeprefix("step-") for folder in self.checkpoints_path.glob("step-*"))
        return sorted(int(number) for number in numbers if number.isdecimal())

    def set_aside(self, step: int) -> Path:
        """Rename a damaged checkpoint, so that it is neither resumed nor counted among those that are kept."""
        place = self.checkpoint_path(step)
        aside = place.with_name(f"damaged-{place.name}")
        shutil.rmtree(aside, ignore_errors=True)
        return place.rename(aside)

    def write_checkpoint(self, step: int, write: Callable[[Path], None], *, keep: int) -> Path:
        """Let `write` fill a folder, rename it into place, and remove all but the newest `keep` checkpoints.

        Raises:
            StoppedError: the disk is full or cannot be written; earlier checkpoints are intact.
        """
        place = self.checkpoint_path(step)
        self.database.sync()
        write_folder(place, write)
        for old in self.checkpoint_steps()[:-keep]:
            shutil.rmtree(self.checkpoint_path(old))
        return place

    def keep_policy(self, step: int, write: Callable[[Path], None]) -> Path:
        """Let `write` fill the folder of the policy after `step` that is kept for good; one that exists is replaced.

        Raises:
            StoppedError: the disk is full or cannot be written.
        """
        place = self.path / "policies" / f"step-{step:06d}"
        shutil.rmtree(place, ignore_errors=True)
        write_folder(place, write)
        return place


def open_run(path: str | Path) -> RunDirectory:
    """Open an existing run for reading; use it as a context manager.

    Raises:
        BadInputError: `path` is not a run directory.
    """
    return RunDirectory.read(path)
