"""Supervised fine-tuning (SFT) through TRL.

The loss covers only the completions. Rows are conversations (`prompt` and `completion`, each a list of messages), plain text
(`prompt` and `completion`, each a string), or documents (`text`), which are learned in full and in the given order, as in
pretraining.
"""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from datasets import Dataset, disable_progress_bars
from pydantic import Field
from transformers import PreTrainedModel, PrinterCallback
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from longform.records.errors import BadInputError
from longform.training.optimizer import LossCallback, LossLog, SupervisedSettings, build_optimizer, trainer_arguments

disable_progress_bars()


class SftSettings(SupervisedSettings):
    """Settings of supervised fine-tuning."""

    steps: int = Field(default=1000, ge=1)
    """Number of updates; the rows are repeated as needed."""
    batch_size: int = Field(default=16, ge=1)
    """Rows per update."""
    max_tokens: int = Field(default=4096, ge=2)
    """Maximum length of a row in tokens; longer rows are truncated."""
    seed: int = Field(default=0, ge=0)


class SftReport(NamedTuple):
    """Result of a fine-tuning."""

    steps: int
    final_loss: float
    """Mean over the last tenth of the steps, in nats per completion token."""


def train_sft(
    model: PreTrainedModel,
    tokenizer: Any,
    rows: Sequence[Mapping[str, Any]],
    settings: SftSettings,
    *,
    out: Path,
    on_progress: LossCallback = lambda step, steps, loss: None,
) -> SftReport:
    """Train `model` in place on the rows and save it with its tokenizer in the folder `out`.

    Args:
        model: A causal language model.
        tokenizer: Its tokenizer; conversations need a chat template.
        rows: Training rows, all of one kind (see the module's docstring).
        settings: Training settings.
        out: Output folder, which transformers can load.
        on_progress: Called at intervals with (step, steps, loss).

    Raises:
        BadInputError: there are no rows, or the tokenizer has no chat template.
    """
    if not rows:
        raise BadInputError("sft: no training rows")
    if isinstance(rows[0].get("prompt"), list) and not tokenizer.chat_template:
        raise BadInputError("sft: the policy's tokenizer has no chat template; conversational rows need one")
    log = LossLog(on_progress)
    with tempfile.TemporaryDirectory() as scratch:
        trainer = SFTTrainer(
            model=model,
            args=_trl_config(settings, Path(scratch), completions="completion" in rows[0]),
            train_dataset=Dataset.from_list([dict(row) for row in rows]),
            processing_class=tokenizer,
            optimizers=build_optimizer(model, settings, steps=settings.steps),
            callbacks=[log],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    model.eval()
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    return SftReport(settings.steps, log.final_loss)


def _trl_config(settings: SftSettings, scratch: Path, *, completions: bool) -> SFTConfig:
    return SFTConfig(
        **trainer_arguments(settings, scratch, steps=settings.steps, seed=settings.seed),
        per_device_train_batch_size=settings.batch_size,
        max_length=settings.max_tokens,
        completion_only_loss=completions,
        train_sampling_strategy="random" if completions else "sequential",
        save_strategy="no",
    )
