"""The folder of a supervised stage that `--resume` continues from, `OUT.checkpoints`.

It contains the settings of the stage, hashes of its input files, a lock, and the trainer's checkpoints. The trainer does not
write a checkpoint atomically. So a manifest of its files is written last, and a checkpoint without a manifest is deleted. If
the files of a checkpoint differ from its manifest, it is set aside, and the one before it is used.
"""

import fcntl
import json
import os
import shutil
import warnings
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from longform.recipe.renamed import translate_flat
from longform.records.errors import BadInputError, CheckpointWarning
from longform.records.files import write_text
from longform.records.resume import check_files, check_resume, flatten, hash_file
from longform.records.tables import is_dataset_id
from longform.tracking.available import check_trackers
from longform.training.supervised.processes import find_processes, warn_of_idle_gpus
from longform.training.supervised.settings import SupervisedRecipe
from longform.writers.paths import models_below

CHANGEABLE = (
    "memory.max_tokens_per_microbatch",
    "memory.gradient_checkpointing",
    "memory.limit_gb",
    "checkpoint_every",
    "track",
)
"""Settings that may change on resume: they do not affect the result, except for the order of floating-point sums."""
_BEGUN, _LOCK, _MANIFEST = "begun.json", "lock", "whole"
_HASHED_BYTES = 2**20
"""Size up to which a file is hashed for the manifest."""


def check_out(recipe: SupervisedRecipe) -> None:
    """Refuse to overwrite an existing folder.

    Raises:
        BadInputError: `out` exists.
    """
    if recipe.out.exists():
        left = f"; {recipe.checkpoints} is no longer needed" if recipe.checkpoints.exists() else ""
        raise BadInputError(f"out: {recipe.out} exists; choose another folder{left}")


def is_begun(recipe: SupervisedRecipe) -> bool:
    """Whether there is an interrupted stage to resume."""
    return (recipe.checkpoints / _BEGUN).exists()


def check_start(recipe: SupervisedRecipe, *, name: str, resume: bool) -> None:
    """Check that a stage can begin, or resume, with the processes that were started.

    Args:
        recipe: The recipe.
        name: Name of the stage for messages, such as `pretraining`.
        resume: Whether to continue an interrupted one.

    Raises:
        BadInputError: an interrupted stage would be overwritten; there is none to resume; a tracker is not installed; or the
            processes are not those that the recipe is planned for.
    """
    check_trackers(recipe.track, key="track")
    processes, planned = find_processes(), recipe.devices.count
    if planned > 1 and processes.count != planned:
        raise BadInputError(
            f"devices.count: the recipe is planned for {planned} GPUs and started in {processes.count} processes; start it "
            f"with `accelerate launch --num_processes {planned} -m longform ...`, or plan it anew with --dry-run and "
            "--set devices.count=N"
        )
    if processes.per_sequence > 1 and recipe.validation is not None:
        raise BadInputError(
            "validation: is not computed with context parallelism; remove it, or validate the result later"
        )
    if not processes.is_main:
        return
    warn_of_idle_gpus(processes)
    _check_interrupted(recipe, name=name, resume=resume)
    if resume and not any(it.is_dir() for it in recipe.checkpoints.iterdir()):
        message = f"{recipe.checkpoints}: the {name} stopped before its first checkpoint and starts over"
        warnings.warn(message, CheckpointWarning, stacklevel=2)


def check_planned_start(recipe: SupervisedRecipe, files: Sequence[Path], *, name: str, resume: bool) -> None:
    """Check for `--dry-run` that a stage can begin, or resume with its settings and files; the processes may be others.

    Args:
        recipe: The recipe.
        files: Files and folders with the data and the model.
        name: Name of the stage for messages.
        resume: Whether to continue an interrupted one.

    Raises:
        BadInputError: an interrupted stage would be overwritten, there is none to resume, or the settings or a file have
            changed since it began.
    """
    _check_interrupted(recipe, name=name, resume=resume)
    if resume:
        _compare(recipe.checkpoints / _BEGUN, recipe, files, name)


def _check_interrupted(recipe: SupervisedRecipe, *, name: str, resume: bool) -> None:
    begun = is_begun(recipe)
    if begun and not resume:
        raise BadInputError(
            f"{recipe.checkpoints}: contains an interrupted {name}; continue with --resume, or remove the folder to "
            "start again"
        )
    if resume and not begun:
        raise BadInputError(f"{recipe.checkpoints}: no {name} to resume")


@contextmanager
def resumable(recipe: SupervisedRecipe, files: Sequence[Path], *, name: str) -> Iterator[Path]:
    """Lock the folder of checkpoints while a stage runs, and remove it when the stage succeeds.

    It is also removed if bad input stops the stage before its first checkpoint: another input may be used the next time.

    Args:
        recipe: The recipe; `check_start` comes first.
        files: Files and folders with the data and the model.
        name: Name of the stage for messages.

    Raises:
        BadInputError: another process has locked the folder, or the settings or a file have changed since the stage began.
    """
    folder = recipe.checkpoints
    if not find_processes().is_main:
        yield folder
        return
    folder.mkdir(parents=True, exist_ok=True)
    with _owned(folder, name):
        _record_or_compare(folder / _BEGUN, recipe, files, name)
        try:
            yield folder
        except BadInputError:
            if not any(it.is_dir() for it in folder.iterdir()):
                shutil.rmtree(folder)
            raise
        shutil.rmtree(folder)


def model_files(model: str) -> list[Path]:
    """The files of a model folder, and of the models below a folder of adapters; none for a hub id."""
    folders = [Path(it) for it in models_below(model) if Path(it).is_dir()]
    return [path for folder in folders for path in sorted(folder.iterdir()) if path.is_file()]


def newest_checkpoint(folder: Path) -> str | None:
    """Return the path of the latest complete checkpoint in a folder; None if there is none.

    Process 0 deletes incomplete checkpoints. It also renames damaged ones, with a warning.
    """
    newest, is_main = None, find_processes().is_main
    for number, path in sorted(_checkpoints(folder).items(), reverse=True):
        if not (path / _MANIFEST).exists():
            if is_main:
                shutil.rmtree(path)
        elif newest is None:
            damage = _find_damage(path)
            if damage is None:
                newest = str(path)
            elif is_main:
                aside = path.with_name(f"damaged-{path.name}")
                shutil.rmtree(aside, ignore_errors=True)
                path.rename(aside)
                others = any(it < number for it in _checkpoints(folder))
                consequence = "" if others else "; no other checkpoint is left, so the training starts over"
                message = f"{path}: this checkpoint is damaged ({damage}); moved to {aside.name}{consequence}"
                warnings.warn(message, CheckpointWarning, stacklevel=2)
    return newest


def finished_updates(folder: Path) -> int:
    """Number of updates of the latest complete checkpoint in a folder, from which a stage is resumed; 0 without one."""
    checkpoints = _checkpoints(folder).items()
    return max(
        (it for it, path in checkpoints if (path / _MANIFEST).exists() and _find_damage(path) is None), default=0
    )


def mark_complete(checkpoint: Path) -> None:
    """Flush a checkpoint's files to disk, and write its manifest, which marks it as complete."""
    files = [path for path in sorted(checkpoint.rglob("*")) if path.is_file()]
    for path in files:
        with path.open("rb") as file:
            os.fsync(file.fileno())
    content = {path.relative_to(checkpoint).as_posix(): _fingerprint(path) for path in files}
    write_text(checkpoint / _MANIFEST, json.dumps(content, indent=2) + "\n")


def _checkpoints(folder: Path) -> dict[int, Path]:
    return {int(path.name.rpartition("-")[2]): path for path in folder.glob("checkpoint-*")}


def _find_damage(checkpoint: Path) -> str | None:
    """How a checkpoint differs from its manifest; None if it does not. Versions before 0.4 wrote empty ones."""
    manifest = (checkpoint / _MANIFEST).read_bytes()
    try:
        content = json.loads(manifest) if manifest else {}
    except ValueError:
        return f"{_MANIFEST} cannot be read"
    for name, fingerprint in content.items():
        if not (checkpoint / name).is_file():
            return f"{name} is missing"
        if _fingerprint(checkpoint / name) != fingerprint:
            return f"{name} has changed since it was written"
    return None


def _fingerprint(path: Path) -> str:
    """The size of a file and, if it is small, its hash. Reading a large file takes as long as writing it."""
    size = path.stat().st_size
    return f"{size} {hash_file(path)}" if size <= _HASHED_BYTES else str(size)


@contextmanager
def _owned(folder: Path, name: str) -> Iterator[None]:
    """Hold an exclusive lock on the folder; the operating system releases it when the process ends."""
    with (folder / _LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BadInputError(f"{folder}: in use by another {name} process") from None
        yield


def _record_or_compare(begun: Path, recipe: SupervisedRecipe, files: Sequence[Path], name: str) -> None:
    """Record the settings and file hashes of a new stage, or compare them with the recorded ones."""
    if begun.exists():
        _compare(begun, recipe, files, name)
        return
    content = {"recipe": flatten(recipe.model_dump(mode="json")), "files": _hashes(files)}
    write_text(begun, json.dumps(content, ensure_ascii=False, indent=2) + "\n")


def _compare(begun: Path, recipe: SupervisedRecipe, files: Sequence[Path], name: str) -> None:
    settings, hashes = flatten(recipe.model_dump(mode="json")), _hashes(files)
    try:
        stored = json.loads(begun.read_text(encoding="utf-8"))
    except ValueError:
        raise BadInputError(f"{begun}: damaged; remove {begun.parent} to start again") from None
    stored["recipe"].setdefault("trust_remote_code", False)  # versions up to 0.2 do not record it
    remedy = f"resume it with its own settings, or remove {begun.parent} to start again"
    check_resume(
        f"--resume: {begun.parent}", translate_flat(stored["recipe"]), settings, remedy=remedy, changeable=CHANGEABLE
    )
    check_files(f"the {name}", stored["files"], hashes, remedy=f"remove {begun.parent} to start again")


def _hashes(paths: Collection[Path]) -> dict[str, str]:
    files: list[Path] = []
    for path in paths:
        files += sorted(it for it in path.rglob("*") if it.is_file()) if path.is_dir() else [path]
    return {str(path): hash_file(path) for path in files if path.exists() or is_dataset_id(path)}
