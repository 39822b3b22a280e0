"""Supervised fine-tuning through TRL: a writer learns from prompts and the texts that were written for them.

The loss is taken on the completions alone. With `optimizer: muon`, matrices inside the model learn by Muon (orthogonalised
momentum; Jordan et al. 2024) and everything else by AdamW: on small models trained from scratch it learns to copy from the
prompt in far fewer steps. Rows are conversational (`prompt` and `completion`, each a list of messages).
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from datasets import Dataset
from pydantic import BaseModel, ConfigDict, Field
from transformers import PreTrainedModel
from trl import SFTTrainer

from longform.records.errors import BadInputError


class SftSettings(BaseModel):
    """How a model learns from rows."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(default=1000, ge=1)
    """Updates; rows are passed over as often as this needs."""
    batch_size: int = Field(default=16, ge=1)
    """Rows in one update."""
    max_tokens: int = Field(default=4096, ge=2)
    """Longer rows are cut at the end."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    lr: float = Field(default=1e-5, gt=0)
    """Peak learning rate of AdamW."""
    muon_lr: float = Field(default=0.02, gt=0)
    """Peak learning rate of Muon, where it is the optimizer."""
    weight_decay: float = Field(default=0.0, ge=0)
    warmup_steps: int = Field(default=20, ge=0)
    decay: float = Field(default=0.4, ge=0, le=1)
    """Share of the steps, at the end, in which the learning rates fall linearly to 0."""
    max_grad_norm: float = Field(default=1.0, gt=0)
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
    on_progress: Callable[[int, int, float], None] = lambda step, steps, loss: None,
) -> SftReport:
    """Train `model` in place on the rows and write it with its tokenizer to the folder `out`.

    Args:
        model: a causal language model.
        tokenizer: its tokenizer, with a chat template.
        rows: `prompt` and `completion`, each a list of messages.
        settings: how.
        out: folder that transformers can load afterwards.
        on_progress: called with (step, steps, loss) from time to time.

    Raises:
        BadInputError: there are no rows, or the tokenizer has no chat template.
    """
    if not rows:
        raise BadInputError("sft: there are no rows to learn from")
    if not tokenizer.chat_template:
        raise BadInputError("sft: the policy's tokenizer has no chat template; conversational rows need one")
    watch = _Watch(settings.steps, on_progress)
    with tempfile.TemporaryDirectory() as scratch:
        trainer = SFTTrainer(
            model=model,
            args=_trl_config(settings, Path(scratch)),
            train_dataset=Dataset.from_list([dict(row) for row in rows]),
            processing_class=tokenizer,
            optimizers=_optimizer_and_schedule(model, settings),
            callbacks=[watch],
        )
        trainer.remove_callback(_printing_callback())
        trainer.train()
    model.eval()
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    return SftReport(settings.steps, watch.final_loss)
