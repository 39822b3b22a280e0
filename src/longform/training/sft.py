"""Supervised fine-tuning through TRL: a writer learns from prompts and the texts that were written for them.

The loss is taken on the completions alone. With `optimizer: muon`, matrices inside the model learn by Muon (orthogonalised
momentum; Jordan et al. 2024) and everything else by AdamW: on small models trained from scratch it learns to copy from the
prompt in far fewer steps. Rows are conversations (`prompt` and `completion`, each a list of messages), plain text in two
parts (`prompt` and `completion`, each a string), or documents (`text`), which are learned whole and in the order in which
they come, as in pretraining.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from datasets import Dataset, disable_progress_bars
from pydantic import BaseModel, ConfigDict, Field
from torch import nn
from transformers import PreTrainedModel, PrinterCallback, TrainerCallback
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from longform.records.errors import BadInputError

disable_progress_bars()
_BETAS = (0.9, 0.95)


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
    watch = _Watch(settings.steps, on_progress)
    with tempfile.TemporaryDirectory() as scratch:
        trainer = SFTTrainer(
            model=model,
            args=_trl_config(settings, Path(scratch), completions="completion" in rows[0]),
            train_dataset=Dataset.from_list([dict(row) for row in rows]),
            processing_class=tokenizer,
            optimizers=_optimizer_and_schedule(model, settings),
            callbacks=[watch],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    model.eval()
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    return SftReport(settings.steps, watch.final_loss)


class MuonWithAdamW(torch.optim.Optimizer):
    """Muon on the matrices inside a model and AdamW on its embeddings, head, norms and biases, behind one interface."""

    def __init__(self, model: PreTrainedModel, settings: SftSettings) -> None:
        ends = {id(parameter) for module in _end_modules(model) for parameter in module.parameters()}
        inner = [p for p in model.parameters() if p.requires_grad and p.ndim == 2 and id(p) not in ends]
        chosen = {id(parameter) for parameter in inner}
        others = [p for p in model.parameters() if p.requires_grad and id(p) not in chosen]
        self.parts: list[torch.optim.Optimizer] = [
            torch.optim.Muon(inner, lr=settings.muon_lr, weight_decay=settings.weight_decay),
            torch.optim.AdamW(others, lr=settings.lr, betas=_BETAS, weight_decay=settings.weight_decay),
        ]
        super().__init__([group for part in self.parts for group in part.param_groups], {})

    def step(self, closure: Any = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """One step of both, with the learning rates that stand in this optimizer's groups now.

        Groups are handed down at each step: accelerate replaces them when it prepares an optimizer.
        """
        assert closure is None
        for part, group in zip(self.parts, self.param_groups, strict=True):
            part.param_groups = [group]
            part.step()


class _Watch(TrainerCallback):
    """Passes on the trainer's log."""

    def __init__(self, steps: int, on_progress: Callable[[int, int, float], None]) -> None:
        self._steps, self._on_progress = steps, on_progress
        self._losses: list[float] = []

    @property
    def final_loss(self) -> float:
        last = self._losses[-max(1, len(self._losses) // 10) :]
        return sum(last) / len(last) if last else float("nan")

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:  # noqa: ARG002
        if logs and "loss" in logs:
            self._losses.append(float(logs["loss"]))
            self._on_progress(state.global_step, self._steps, self._losses[-1])


def _optimizer_and_schedule(model: PreTrainedModel, settings: SftSettings) -> tuple[Any, Any]:
    if settings.optimizer == "muon":
        optimizer: torch.optim.Optimizer = MuonWithAdamW(model, settings)
    else:
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(parameters, settings.lr, betas=_BETAS, weight_decay=settings.weight_decay)
    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda done: _rate(done + 1, settings))


def _rate(step: int, settings: SftSettings) -> float:
    """Share of the peak learning rate in `step` (1-based): up over the warm-up, flat, down to 0 over the last part."""
    up = step / settings.warmup_steps if step < settings.warmup_steps else 1.0
    left = settings.steps + 1 - step
    decaying = settings.decay * settings.steps
    return min(up, left / decaying) if left < decaying else up


def _end_modules(model: PreTrainedModel) -> list[nn.Module]:
    """Embeddings and head."""
    ends = [model.get_input_embeddings(), model.get_output_embeddings()]
    return [module for module in ends if module is not None]


def _trl_config(settings: SftSettings, scratch: Path, *, completions: bool) -> SFTConfig:
    on_gpu = torch.cuda.is_available()
    return SFTConfig(
        output_dir=str(scratch),
        max_steps=settings.steps,
        per_device_train_batch_size=settings.batch_size,
        max_length=settings.max_tokens,
        max_grad_norm=settings.max_grad_norm,
        completion_only_loss=completions,
        train_sampling_strategy="random" if completions else "sequential",
        use_cpu=not on_gpu,
        bf16=on_gpu,
        gradient_checkpointing=on_gpu,
        dataloader_pin_memory=on_gpu,
        seed=settings.seed,
        data_seed=settings.seed,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        logging_steps=max(1, min(10, settings.steps // 10)),
        log_level="error",
    )
