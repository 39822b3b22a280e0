"""Supervised fine-tuning (SFT) through TRL.

Rows are conversations (`messages`, or `prompt` and `completion`, each a list of messages), plain text (`prompt` and
`completion`, each a string), or documents (`text`). The assistant's turns, the completions, or the whole documents are
learned. Documents are read in the given order, as in pretraining; other rows are shuffled.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from longform.records.errors import BadInputError
from longform.training.supervised.encoding import BLANK, EncodedRows, check_rows, encode_rows, pack_rows
from longform.training.supervised.settings import LossCallback
from longform.training.supervised.sft_recipe import SftSettings
from longform.training.supervised.stage import (
    StageReport,
    StageRun,
    SupervisedStage,
    TextTrainer,
    TrainedModel,
    checkpoint_folder,
    run_trainer,
    trainer_arguments,
    training_order,
    use_one_gpu,
)


def train_sft(
    model: Any,
    tokenizer: Any,
    rows: Sequence[Mapping[str, Any]],
    settings: SftSettings,
    *,
    out: Path,
    on_progress: LossCallback = lambda step, steps, loss: None,
) -> StageReport:
    """Train `model` in place on the rows and save it with its tokenizer in the folder `out`.

    Args:
        model: A causal language model.
        tokenizer: Its tokenizer; conversations need a chat template.
        rows: Training rows (see the module's docstring).
        settings: Training settings.
        out: Output folder, which transformers can load.
        on_progress: Called at intervals with (step, steps, loss).

    Raises:
        BadInputError: there are no rows, the tokenizer has no chat template, or a row cannot be learned.
    """
    if not rows:
        raise BadInputError("sft: no training rows")
    check_rows(tokenizer, rows, name="sft: the policy")
    encoded = encode_rows(tokenizer, rows, max_tokens=settings.max_tokens)
    shuffle = "text" not in rows[0]
    trained = fine_tune(model, tokenizer, encoded, settings, StageRun.of(), shuffle=shuffle, on_progress=on_progress)
    trained.save(out)
    return trained.report


def fine_tune(
    model: Any,
    tokenizer: Any,
    encoded: EncodedRows,
    settings: SftSettings,
    run: StageRun,
    *,
    validation: EncodedRows | None = None,
    shuffle: bool = True,
    on_progress: LossCallback = lambda step, steps, loss: None,
) -> TrainedModel:
    """Train `model` in place on encoded rows, from the latest checkpoint of the run if there is one.

    Args:
        model: A causal language model, with adapters or without.
        tokenizer: Its tokenizer.
        encoded: Training rows.
        settings: Training settings.
        run: Memory, checkpoints and validation.
        validation: Rows of `run.validation`.
        shuffle: Whether the rows of each epoch are shuffled.
        on_progress: Called at intervals with (step, steps, loss).

    Raises:
        BadInputError: the batch cannot be divided among the processes.
        StoppedError: the device is out of memory.
    """
    rows = _training_rows(encoded, settings)
    number = len(rows) - 1
    stage = SupervisedStage(settings, settings.updates(number), run, BLANK)
    order = training_order(
        number, batch_size=settings.batch_size, steps=stage.steps, seed=settings.seed, shuffle=shuffle
    )
    with checkpoint_folder(run) as folder:
        trainer = TextTrainer(
            stage=stage,
            model=model,
            args=sft_config(stage, folder),
            train_dataset=rows.select(order),
            eval_dataset=validation and validation.dataset(),
            processing_class=tokenizer,
            data_collator=_collator(tokenizer, stage, whole_rows=settings.packing == "bfd"),
        )
        return run_trainer(trainer, tokenizer, stage, on_progress=on_progress)


def count_updates(encoded: EncodedRows, settings: SftSettings) -> int:
    """Number of updates of a stage over encoded rows, or over their windows if rows are packed."""
    return settings.updates(len(_training_rows(encoded, settings)) - 1 if settings.packing else len(encoded))


def _training_rows(encoded: EncodedRows, settings: SftSettings) -> Dataset:
    """The rows, packed into windows if the settings say so, followed by a blank row."""
    rows = encoded.dataset()
    if settings.packing is None:
        return rows
    return pack_rows(rows, max_tokens=settings.max_tokens, strategy=settings.packing, seed=settings.seed)


def sft_config(stage: SupervisedStage, folder: Path) -> SFTConfig:
    """TRL's configuration of a stage whose rows are already tokenized, truncated and in order."""
    config = SFTConfig(
        **trainer_arguments(stage, folder),
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
        pad_to_multiple_of=_multiple(stage),
    )
    return use_one_gpu(config)


def _multiple(stage: SupervisedStage) -> int | None:
    """Multiple to pad sequences to: with context parallelism, processes get parts of a sequence of equal length."""
    return 2 * stage.processes.per_sequence if stage.processes.per_sequence > 1 else None


class WholeRows(DataCollatorForLanguageModeling):
    """Collates windows of several rows; position ids restart with each row and keep attention within it."""

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: D102
        batch = super().torch_call(examples)
        del batch["attention_mask"]  # with a mask, transformers ignores that positions restart
        return batch


def _collator(tokenizer: Any, stage: SupervisedStage, *, whole_rows: bool) -> DataCollatorForLanguageModeling:
    """The collator of a stage. Without a padding token, another one pads rows: it is neither attended to nor learned."""
    padding = next((it for it in (tokenizer.pad_token_id, tokenizer.eos_token_id) if it is not None), 0)
    if whole_rows:
        return WholeRows(pad_token_id=padding, return_position_ids=True)
    return DataCollatorForLanguageModeling(pad_token_id=padding, pad_to_multiple_of=_multiple(stage))
