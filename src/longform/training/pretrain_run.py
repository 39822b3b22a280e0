"""Run continued pretraining from its recipe: pack the windows, train on them, resume after an interruption.

The state for resuming is in `OUT.checkpoints` until OUT is complete: the settings, the windows and the latest checkpoints.
An interruption during packing loses the packing; a later one loses the updates since the latest checkpoint.
"""

import fcntl
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from longform.recipe.loading import dump_recipe
from longform.recipe.renamed import translate_flat
from longform.records.errors import BadInputError
from longform.records.files import write_text
from longform.records.folders import write_folder
from longform.records.resume import check_files, check_resume, flatten, hash_file
from longform.training.mixture import Drawn, build_encode, read_windows, write_windows
from longform.training.optimizer import LossCallback
from longform.training.pretrain import PretrainReport, train_on_windows
from longform.training.pretrain_recipe import PretrainRecipe, SourcePlan, check_out, plan_pretraining
from longform.training.pretrain_sources import Source, open_source
from longform.writers.loading import load_model, load_tokenizer

_BEGUN, _MIXTURE, _WINDOWS = "begun.json", "mixture.json", "windows.arrow"
_CHANGEABLE = ("settings.micro_batch", "checkpoint_every")
"""Settings that may change on resume: they do not affect the result, except for the order of floating-point sums."""


class SourceReport(NamedTuple):
    """A source's part of the mixture."""

    name: str
    documents: int
    tokens: int
    share: float
    """Target share of the tokens."""
    reached: float
    """Actual share of the tokens."""
    epochs: float | None
    """Number of epochs; None if its size is unknown."""
    left_out: dict[str, int]


class PretrainResult(NamedTuple):
    """A finished pretraining."""

    path: Path
    mixture: list[SourceReport]
    report: PretrainReport


def run_pretraining(
    recipe: PretrainRecipe,
    *,
    resume: bool = False,
    on_packing: Callable[[int, int], None] = lambda done, total: None,
    on_training: LossCallback = lambda update, updates, loss: None,
) -> PretrainResult:
    """Run continued pretraining. `out` is created atomically at the end, with the recipe (`pretrain.yaml`) and the mixture.

    Args:
        recipe: The recipe.
        resume: Continue an interrupted pretraining; the weights equal those of an uninterrupted one.
        on_packing: Called with (windows packed, windows), for the first time after all checks.
        on_training: Called at intervals with (update, updates, loss).

    Raises:
        BadInputError: the recipe or a file is invalid, or has changed since the interrupted pretraining was started.
        StoppedError: the disk is full, or the device is out of memory.
    """
    folder, packed = recipe.checkpoints, recipe.checkpoints / "packed"
    check_out(recipe)
    _check_begun(recipe, resume=resume)
    plans = {} if packed.exists() else plan_pretraining(recipe)
    folder.mkdir(parents=True, exist_ok=True)
    with _owned(folder):
        _check_resume(folder / _BEGUN, recipe)
        on_packing(0 if plans else recipe.windows, recipe.windows)
        if plans:
            write_folder(packed, lambda path: _pack(recipe, plans, path, on_packing))
        tokenizer, model = load_model(recipe.policy, device="cpu")  # the trainer moves it to the device
        reports = []

        def write(path: Path) -> None:
            report = train_on_windows(
                model,
                tokenizer,
                read_windows(packed / _WINDOWS),
                recipe.settings,
                checkpoints=folder,
                checkpoint_every=recipe.checkpoint_every,
                on_progress=on_training,
            )
            reports.append(report)
            model.save_pretrained(path)
            tokenizer.save_pretrained(path)
            shutil.copy(packed / _MIXTURE, path / _MIXTURE)
            (path / "pretrain.yaml").write_text(dump_recipe(recipe), encoding="utf-8")

        write_folder(recipe.out, write)
        shutil.rmtree(folder)
    return PretrainResult(recipe.out, read_mixture(recipe.out), reports[0])


def read_mixture(folder: Path) -> list[SourceReport]:
    """Read the mixture of a pretrained model's folder."""
    content = json.loads((folder / _MIXTURE).read_text(encoding="utf-8"))
    return [SourceReport(**row) for row in content["sources"]]


def _pack(
    recipe: PretrainRecipe, plans: Mapping[str, SourcePlan], path: Path, on_progress: Callable[[int, int], None]
) -> None:
    drawn = write_windows(
        path / _WINDOWS,
        {name: plan.documents for name, plan in plans.items()},
        {source.name: source.share for source in recipe.sources},
        build_encode(load_tokenizer(recipe.policy)),
        window=recipe.settings.max_tokens,
        windows=recipe.windows,
        max_epochs=recipe.max_epochs,
        seed=recipe.settings.seed,
        on_progress=on_progress,
    )
    reports = [_report(source, plans[source.name], drawn[source.name], recipe) for source in recipe.sources]
    content = {
        "tokens": recipe.used_tokens,
        "updates": recipe.updates,
        "update_tokens": recipe.settings.update_tokens,
        "sources": [report._asdict() for report in reports],
    }
    (path / _MIXTURE).write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def _report(source: Source, plan: SourcePlan, drawn: Drawn, recipe: PretrainRecipe) -> SourceReport:
    held = drawn.pass_tokens or (plan.counted and plan.counted.tokens)
    return SourceReport(
        source.name,
        drawn.documents,
        drawn.tokens,
        source.share,
        round(drawn.tokens / recipe.used_tokens, 6),
        round(drawn.tokens / held, 4) if held else None,
        dict(plan.left_out),
    )


def _check_begun(recipe: PretrainRecipe, *, resume: bool) -> None:
    begun = (recipe.checkpoints / _BEGUN).exists()
    if begun and not resume:
        raise BadInputError(
            f"{recipe.checkpoints}: contains an interrupted pretraining; continue with --resume, or remove the folder to "
            "start again"
        )
    if resume and not begun:
        raise BadInputError(f"{recipe.checkpoints}: no pretraining to resume")


@contextmanager
def _owned(folder: Path) -> Iterator[None]:
    """Hold an exclusive lock on the folder; the operating system releases it when the process ends."""
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BadInputError(f"{folder}: in use by another pretraining process") from None
        yield


def _check_resume(begun: Path, recipe: PretrainRecipe) -> None:
    """Record the settings and file hashes of a new pretraining, or compare them with the recorded ones."""
    settings, files = flatten(recipe.model_dump(mode="json")), _hashes(recipe)
    if not begun.exists():
        content = {"recipe": settings, "files": files}
        write_text(begun, json.dumps(content, ensure_ascii=False, indent=2) + "\n")
        return
    stored = json.loads(begun.read_text(encoding="utf-8"))
    remedy = f"resume it with its own settings, or remove {begun.parent} to start again"
    check_resume(
        f"--resume: {begun.parent}", translate_flat(stored["recipe"]), settings, remedy=remedy, changeable=_CHANGEABLE
    )
    check_files("the pretraining", stored["files"], files, remedy=f"remove {begun.parent} to start again")


def _hashes(recipe: PretrainRecipe) -> dict[str, str]:
    """Hash the files that determine the windows and the initial model."""
    files: list[Path] = []
    for path in (path for source in recipe.sources for path in open_source(source).files):
        files += sorted(it for it in path.rglob("*") if it.is_file()) if path.is_dir() else [path]
    policy = Path(recipe.policy)
    if policy.is_dir():
        files += sorted(path for path in policy.iterdir() if path.is_file())
    return {str(path): hash_file(path) for path in files}
