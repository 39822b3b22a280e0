"""Supervised fine-tuning from a recipe, resumable and in any number of processes."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from longform.planning.supervised import SupervisedPlan
from longform.recipe.loading import dump_recipe
from longform.records.errors import BadInputError
from longform.records.files import write_text
from longform.records.folders import write_folder
from longform.tracking.available import check_trackers
from longform.training.supervised.encoding import EncodedRows, check_rows, encode_rows
from longform.training.supervised.models import load_trainable
from longform.training.supervised.processes import find_processes
from longform.training.supervised.resumable import check_out, check_start, model_files, resumable
from longform.training.supervised.settings import LossCallback
from longform.training.supervised.sft import fine_tune
from longform.training.supervised.sft_recipe import SFT_RECIPE, SftRecipe
from longform.training.supervised.stage import StageReport, StageRun
from longform.training.supervised.stage_check import check_stage_memory, check_stage_model
from longform.training.supervised.training_rows import TrainingRows, read_training_file, read_training_rows
from longform.writers.loading import load_tokenizer
from longform.writers.paths import check_model_path

NAME = "fine-tuning"


class SftRows(NamedTuple):
    """The rows of a recipe, tokenized."""

    training: EncodedRows
    validation: EncodedRows | None
    texts: int
    """Training rows as they were read; a conversation may become several rows."""
    left_out: Counter[str]
    """Training rows left out, by cause."""
    shuffle: bool
    """Whether their order is drawn; texts are read in the given order."""


class SftResult(NamedTuple):
    """A finished fine-tuning."""

    path: Path
    rows: SftRows
    report: StageReport


def prepare_rows(recipe: SftRecipe) -> SftRows:
    """Read and tokenize the rows, and check everything that the recipe names before a model is loaded.

    Raises:
        BadInputError: a file is missing or invalid, there is nothing to learn, a row cannot be learned, there is no model
            at `policy`, the batch cannot be divided among the processes, or `out` exists.
    """
    check_trackers(recipe.track, key="track")
    check_model_path(recipe.policy)
    check_out(recipe)
    recipe.planned_devices.rows_each(recipe.settings.batch_size)
    if recipe.settings.packing is not None and recipe.planned_devices.per_sequence > 1:
        raise BadInputError(
            "settings.packing: rows of a window would see each other with context parallelism; remove it"
        )
    training, validation = _split(read_training_rows(recipe.data), recipe)
    tokenizer = load_tokenizer(recipe.policy, trust_remote_code=recipe.trust_remote_code)
    check_rows(tokenizer, training.rows, name=recipe.policy)

    def encode(part: TrainingRows) -> EncodedRows:
        return encode_rows(
            tokenizer,
            part.rows,
            max_tokens=recipe.settings.max_tokens,
            locations=part.locations,
            template_options=recipe.data.chat_template_kwargs,
        )

    encoded = encode(training)
    return SftRows(
        encoded,
        validation and encode(validation),
        len(training.rows),
        training.left_out + encoded.left_out,
        shuffle=any("text" not in row for row in training.rows),
    )


def run_sft(
    recipe: SftRecipe,
    *,
    resume: bool = False,
    self_check: bool = True,
    on_ready: Callable[[SftRows], None] = lambda rows: None,
    on_progress: LossCallback = lambda step, steps, loss: None,
) -> SftResult:
    """Fine-tune a writer. `out` is created atomically at the end, with the resolved recipe in `sft.yaml`.

    Args:
        recipe: The recipe.
        resume: Continue an interrupted fine-tuning; the weights equal those of an uninterrupted one.
        self_check: Check before training that rows fit into the model's context and an update into memory, and that the
            model can be saved.
        on_ready: Called with the rows after all checks.
        on_progress: Called at intervals with (step, steps, loss).

    Raises:
        BadInputError: something the recipe names cannot be used, or has changed since the interrupted fine-tuning began.
        StoppedError: the disk is full, or the device is out of memory.
    """
    check_out(recipe)
    check_start(recipe, name=NAME, resume=resume)
    rows = prepare_rows(recipe)
    if self_check:
        check_sft(recipe, rows)
    with resumable(recipe, input_files(recipe), name=NAME):
        on_ready(rows)
        run = StageRun.of(recipe)
        tokenizer, model = load_trainable(
            recipe.policy,
            lora=recipe.lora,
            memory=run.memory,
            seed=recipe.settings.seed,
            optimizer=recipe.settings.optimizer,
            trust_remote_code=recipe.trust_remote_code,
            self_check=self_check,
        )
        trained = fine_tune(
            model,
            tokenizer,
            rows.training,
            recipe.settings,
            run,
            validation=rows.validation,
            shuffle=rows.shuffle,
            on_progress=on_progress,
        )

        def write(folder: Path) -> None:
            trained.save(folder)
            write_text(folder / SFT_RECIPE, dump_recipe(recipe))

        if find_processes().is_main:
            write_folder(recipe.out, write)
    return SftResult(recipe.out, rows, trained.report)


def check_sft(recipe: SftRecipe, rows: SftRows) -> SupervisedPlan:
    """Check that the longest row fits into the model's context, and an update into memory; return the plan.

    Raises:
        BadInputError: one of them does not fit.
    """
    settings = recipe.settings
    longest = settings.max_tokens if settings.packing else rows.training.longest
    longest = max(longest, rows.validation.longest if rows.validation else 0)
    check_stage_model(recipe, recipe.policy, longest=longest)
    return check_stage_memory(recipe, recipe.policy, settings, longest=longest)


def _split(data: TrainingRows, recipe: SftRecipe) -> tuple[TrainingRows, TrainingRows | None]:
    validation = recipe.validation
    if validation is None:
        return data, None
    if validation.file is not None:
        return data, read_training_file(validation.file, recipe.data)
    assert validation.share is not None
    training, held_out = data.split(validation.share, seed=recipe.settings.seed)
    if not training.rows or not held_out.rows:
        raise BadInputError(
            f"validation.share: {validation.share} leaves {len(training.rows)} rows for training and holds out "
            f"{len(held_out.rows)}; both need at least one"
        )
    return training, held_out


def input_files(recipe: SftRecipe) -> list[Path]:
    """Files and folders with the data and the model."""
    return [*recipe.data.files, *recipe.validation_files, *model_files(recipe.policy)]
