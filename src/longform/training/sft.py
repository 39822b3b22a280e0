"""Supervised fine-tuning through TRL: a writer learns from prompts and the texts that were written for them.

The loss is taken on the completions alone. Rows are conversations (`prompt` and `completion`, each a list of messages),
plain text in two parts (`prompt` and `completion`, each a string), or documents (`text`), which are learned whole and in the
order in which they come, as in pretraining.
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
from longform.training.optimizer import LossLog, OptimSettings, Progress, build_optimizer, trainer_arguments

disable_progress_bars()


class SftSettings(OptimSettings):
    """How a model learns from rows."""

    steps: int = Field(default=1000, ge=1)
    """Updates; rows are passed over as often as this needs."""
    batch_size: int = Field(default=16, ge=1)
    """Rows in one update."""
    max_tokens: int = Field(default=4096, ge=2)
    """Longer rows are cut at the end."""
    seed: int = Field(default=0, ge=0)


class SftReport(NamedTuple):
    """What a fine-tuning came to."""

    steps: int
    final_loss: float
    """Mean over the last tenth of the steps, in nats for a completion token."""


def train_sft(
    model: PreTrainedModel,
    tokenizer: Any,
    rows: Sequence[Mapping[str, Any]],
    settings: SftSettings,
    *,
    out: Path,
    on_progress: Progress = lambda step, steps, loss: None,
) -> SftReport:
    """Train `model` in place on the rows and write it with its tokenizer to the folder `out`.

    Args:
        model: a causal language model.
        tokenizer: its tokenizer; conversations need its chat template.
        rows: all of one kind, see above.
        settings: how.
        out: folder that transformers can load afterwards.
        on_progress: called with (step, steps, loss) from time to time.

    Raises:
        BadInputError: there are no rows, or the tokenizer has no chat template.
    """
    if not rows:
        raise BadInputError("sft: there are no rows to learn from")
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
