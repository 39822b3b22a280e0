"""Run continued pretraining from its recipe: pack the windows, train on them, resume after an interruption.

The state for resuming is in `OUT.checkpoints` until OUT is complete: the settings, the windows and the latest checkpoints.
An interruption during packing loses the packing; a later one loses the updates since the latest checkpoint.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from longform.recipe.loading import dump_recipe
from longform.records.errors import BadInputError
from longform.records.folders import write_folder
from longform.training.supervised.mixture import Drawn, build_encode, count_tokens, read_windows, write_windows
from longform.training.supervised.models import load_trainable
from longform.training.supervised.pretrain import PretrainSegment, segment_run, segment_settings, train_on_windows
from longform.training.supervised.pretrain_recipe import PretrainRecipe, SourcePlan, check_exports, plan_pretraining
from longform.training.supervised.pretrain_sources import Source, open_source
from longform.training.supervised.processes import find_processes, wait_for
from longform.training.supervised.resumable import check_start, model_files, newest_checkpoint, resumable
from longform.training.supervised.settings import LossCallback
from longform.training.supervised.stage import StageReport, StageRun, TrainedModel
from longform.training.supervised.stage_check import check_stage_memory
from longform.writers.loading import load_model, load_tokenizer

NAME = "pretraining"
_MIXTURE, _WINDOWS, _VALIDATION = "mixture.json", "windows.arrow", "validation.arrow"


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
    report: StageReport
    exports: list[Path]
    """Folders of all exports; the last one is `path`."""


def run_pretraining(
    recipe: PretrainRecipe,
    *,
    resume: bool = False,
    self_check: bool = True,
    on_packing: Callable[[int, int], None] = lambda done, total: None,
    on_training: LossCallback = lambda update, updates, loss: None,
) -> PretrainResult:
    """Run continued pretraining. `out` is created atomically at the end, with the recipe (`pretrain.yaml`) and the mixture.

    Args:
        recipe: The recipe.
        resume: Continue an interrupted pretraining; the weights equal those of an uninterrupted one.
        self_check: Check before training that an update fits into memory and that the model can be saved.
        on_packing: Called with (windows packed, windows), for the first time after all checks.
        on_training: Called at intervals with (update, updates, loss).

    Raises:
        BadInputError: the recipe or a file is invalid, or has changed since the interrupted pretraining was started.
        StoppedError: the disk is full, or the device is out of memory.
    """
    packed = recipe.checkpoints / "packed"
    check_exports(recipe)
    check_start(recipe, name=NAME, resume=resume)
    plans = {} if packed.exists() else plan_pretraining(recipe)
    if self_check:
        check_stage_memory(recipe, recipe.policy, recipe.settings)
    with resumable(recipe, input_files(recipe), name=NAME):
        on_packing(0 if plans else recipe.windows, recipe.windows)
        if find_processes().is_main and plans:
            write_folder(packed, lambda path: _pack(recipe, plans, path, on_packing))
        wait_for(packed)
        mixture = read_mixture(packed)
        _save_initial_model(recipe)
        report = None
        for segment in recipe.segments:
            report = _train(segment, recipe, packed, on_training, self_check=self_check) or report
    assert report is not None
    exports = [recipe.export_path(share) for share in recipe.exports]
    return PretrainResult(recipe.out, mixture, report, exports)


def _train(
    segment: PretrainSegment, recipe: PretrainRecipe, packed: Path, on_training: LossCallback, *, self_check: bool
) -> StageReport | None:
    """Train a segment and write its export, if it has one; None if that was done before an interruption."""
    run, folder = StageRun.of(recipe), recipe.checkpoints
    trunk = newest_checkpoint(folder)
    reached = int(trunk.rpartition("-")[2]) if trunk else 0
    if segment.share is None and reached >= segment.end:
        return None
    if segment.share is not None and recipe.export_path(segment.share).exists():
        return None
    settings = recipe.settings
    tokenizer, model = load_trainable(
        recipe.policy,
        lora=recipe.lora,
        memory=run.memory,
        seed=settings.seed,
        optimizer=settings.optimizer,
        trust_remote_code=recipe.trust_remote_code,
        self_check=self_check,
    )
    trained = train_on_windows(
        model,
        tokenizer,
        read_windows(packed / _WINDOWS).select(range(segment.end * settings.batch_size)),
        segment_settings(segment, settings, updates=recipe.updates),
        segment_run(segment, run, start=trunk if segment.start else None),
        validation=read_windows(packed / _VALIDATION) if recipe.validation else None,
        on_progress=on_training,
    )
    if segment.share is not None and find_processes().is_main:
        write_folder(recipe.export_path(segment.share), lambda path: _write(trained, recipe, packed, path))
    return trained.report


def _write(trained: TrainedModel, recipe: PretrainRecipe, packed: Path, path: Path) -> None:
    trained.save(path)
    shutil.copy(packed / _MIXTURE, path / _MIXTURE)
    (path / "pretrain.yaml").write_text(dump_recipe(recipe), encoding="utf-8")


def _save_initial_model(recipe: PretrainRecipe) -> None:
    """Write the export at 0, the initial model, in the format of the others."""
    path = recipe.export_path(0)
    if recipe.exports[0] or path.exists() or not find_processes().is_main:
        return
    tokenizer, model = load_model(recipe.policy, device="cpu", trust_remote_code=recipe.trust_remote_code)

    def write(folder: Path) -> None:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)

    write_folder(path, write)


def read_mixture(folder: Path) -> list[SourceReport]:
    """Read the mixture in the folder of packed windows, or in that of a pretrained model."""
    content = json.loads((folder / _MIXTURE).read_text(encoding="utf-8"))
    return [SourceReport(**row) for row in content["sources"]]


def _pack(
    recipe: PretrainRecipe, plans: Mapping[str, SourcePlan], path: Path, on_progress: Callable[[int, int], None]
) -> None:
    drawn = write_windows(
        path / _WINDOWS,
        {name: plan.documents for name, plan in plans.items()},
        {source.name: source.share for source in recipe.sources},
        build_encode(load_tokenizer(recipe.policy, trust_remote_code=recipe.trust_remote_code)),
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
    if recipe.validation is not None:
        _pack_validation(recipe, path / _VALIDATION)
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


def _pack_validation(recipe: PretrainRecipe, path: Path) -> None:
    """Pack a validation file into windows, each text once."""
    assert recipe.validation is not None and recipe.validation.file is not None
    window = recipe.settings.max_tokens
    documents = open_source(Source(name="validation", share=1, path=str(recipe.validation.file)))
    encode = build_encode(load_tokenizer(recipe.policy, trust_remote_code=recipe.trust_remote_code))
    windows = count_tokens(documents, encode).tokens // window
    if not windows:
        raise BadInputError(
            f"validation.file: {recipe.validation.file} has less text than one window ({window} tokens)"
        )
    write_windows(
        path,
        {"validation": documents},
        {"validation": 1.0},
        encode,
        window=window,
        windows=windows,
        max_epochs=1,
        seed=0,
    )


def input_files(recipe: PretrainRecipe) -> list[Path]:
    """The files that determine the windows and the initial model."""
    sources = [path for source in recipe.sources for path in open_source(source).files]
    return [*sources, *recipe.validation_files, *model_files(recipe.policy)]
