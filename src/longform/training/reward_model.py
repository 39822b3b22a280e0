"""A reward model from preferences through TRL: a sequence classifier of one output that scores the better text higher.

The loss is Bradley-Terry's, -log sigmoid(r(chosen) - r(rejected) [- margin]). Prompts are held out whole: a pair whose
prompt was seen in training tells little of a new one. Beside the model the folder holds `scores.json`, by which its scores
are standardised, and the pairs that were held out.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from pydantic import Field
from transformers import AutoModelForSequenceClassification, PrinterCallback, TrainerCallback
from trl.trainer.reward_config import RewardConfig
from trl.trainer.reward_trainer import RewardTrainer

from longform.records.errors import BadInputError
from longform.records.files import write_rows, write_text
from longform.records.schemas import Preference, PromptRow
from longform.rewards.writing_model import SCORES, ScoreScale, WritingModel, encode
from longform.rl.settings import LoraSettings
from longform.training.optimizer import LossLog, Progress, build_optimizer, trainer_arguments
from longform.training.sft import SftSettings
from longform.writers.local import load_model, load_tokenizer
from longform.writers.paths import check_model_path, model_below

HELD_OUT = "held-out.jsonl"


class RewardModelSettings(SftSettings):
    """How a reward model learns from pairs. `batch_size` counts pairs; a longer text is read without its end."""

    margin: float = Field(default=0.0, ge=0)
    """The better text's raw score has to lead by this times the pair's margin, which is in the unit of the scores that the
    pair comes from; a pair without one has margin 0."""
    center: float = Field(default=0.0, ge=0)
    """Weight of (r(chosen) + r(rejected))^2, which keeps scores around 0."""
    evaluate_every: int = Field(default=50, ge=1)
    """Steps between two points of the learning curve."""


class CurvePoint(NamedTuple):
    """The learning curve: what a reward model makes of the pairs held out, after some steps."""

    step: int
    loss: float
    accuracy: float


class RewardModelReport(NamedTuple):
    """What the training of a reward model came to."""

    pairs: int
    held_out: int
    cut: int
    """Texts of the training that were longer than `max_tokens`, and learned without their ends."""
    final_loss: float
    curve: list[CurvePoint]


def train_reward_model(
    path: str,
    training: Sequence[Preference],
    held_out: Sequence[Preference],
    settings: RewardModelSettings,
    *,
    lora: LoraSettings | None,
    out: Path,
    on_progress: Progress = lambda step, steps, loss: None,
) -> RewardModelReport:
    """Train a reward model on a language model's weights and write it to the folder `out`.

    Args:
        path: folder or hub id of the language model whose weights it starts from.
        training: the pairs to learn from.
        held_out: pairs of other prompts; they give the learning curve and the scale of the scores.
        settings: how.
        lora: train adapters and the head alone; they are folded into the weights in the end.
        out: folder that transformers, and the writing reward, can load afterwards.
        on_progress: called with (step, steps, loss) from time to time.

    Raises:
        BadInputError: `path` is no model that a head can be put on, or a prompt is too long.
    """
    tokenizer, model = load_classifier(path, seed=settings.seed)
    if lora:
        model: Any = get_peft_model(model, _adapters(lora))
    rows, cut = _encoded(tokenizer, training, settings)
    log, curve = LossLog(on_progress), _LearningCurve()
    with tempfile.TemporaryDirectory() as scratch:
        trainer = RewardTrainer(
            model=model,
            args=_trl_config(settings, Path(scratch)),
            train_dataset=Dataset.from_list(rows),
            eval_dataset=Dataset.from_list(_encoded(tokenizer, held_out, settings)[0]),
            processing_class=tokenizer,
            optimizers=build_optimizer(model, settings, steps=settings.steps),
            callbacks=[log, curve],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    trained: Any = trainer.model
    if lora:
        trained = trained.merge_and_unload()
    trained.eval().save_pretrained(out)
    tokenizer.save_pretrained(out)
    write_rows(out / HELD_OUT, held_out)
    write_text(out / SCORES, _scale(out, held_out, settings).model_dump_json(indent=2) + "\n")
    return RewardModelReport(len(training), len(held_out), cut, log.final_loss, curve.points)


def load_classifier(path: str, *, seed: int) -> tuple[Any, Any]:
    """Tokenizer, and a classifier of one output with the weights of the language model at `path` and a new head.

    Raises:
        BadInputError: there is no such model, or transformers knows no such classifier of it.
    """
    check_model_path(path)
    tokenizer, below = load_tokenizer(path), model_below(path)
    torch.manual_seed(seed)  # of the head
    try:
        model: Any = AutoModelForSequenceClassification.from_pretrained(below, num_labels=1, dtype=torch.float32)
    except Exception as error:  # what a broken folder makes transformers raise has no bounds
        reason = " ".join(str(error).split())[:200]
        raise BadInputError(f"{path}: no reward model can be made of it: {reason}") from error
    if below != path:
        decoder: Any = load_model(path, device="cpu")[1].get_decoder()
        model.base_model.load_state_dict(decoder.state_dict())
    return tokenizer, model


class _LearningCurve(TrainerCallback):
    """Keeps the trainer's evaluations."""

    def __init__(self) -> None:
        self.points: list[CurvePoint] = []

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:  # noqa: ARG002
        if logs and "eval_accuracy" in logs:
            self.points.append(CurvePoint(state.global_step, float(logs["eval_loss"]), float(logs["eval_accuracy"])))


def _encoded(
    tokenizer: Any, preferences: Sequence[Preference], settings: RewardModelSettings
) -> tuple[list[dict[str, Any]], int]:
    """Rows for TRL, and how many of their texts were cut."""
    rows, cut = [], 0
    for it in preferences:
        request = PromptRow(id="-", prompt=it.prompt).request
        prompt = PromptRow(id=repr(request[:40]), prompt=it.prompt)  # what an error calls it
        pair = [encode(tokenizer, prompt, text, max_tokens=settings.max_tokens) for text in (it.chosen, it.rejected)]
        cut += sum(side.is_cut for side in pair)
        margin = {"margin": settings.margin * (it.margin or 0.0)} if settings.margin else {}
        rows.append({"chosen_ids": pair[0].ids, "rejected_ids": pair[1].ids} | margin)
    return rows, cut


def _scale(out: Path, held_out: Sequence[Preference], settings: RewardModelSettings) -> ScoreScale:
    """What the scores of the model in `out` are like on the texts held out."""
    model = WritingModel(str(out), max_tokens=settings.max_tokens)
    texts: dict[tuple[str, str], tuple[PromptRow, str]] = {}
    for it in held_out:
        prompt = PromptRow(id=HELD_OUT, prompt=it.prompt)
        texts |= {(prompt.request, text): (prompt, text) for text in (it.chosen, it.rejected)}
    scores = np.array(model.scores(list(texts.values()), batch=settings.batch_size))
    spread = float(scores.std()) or 1.0
    return ScoreScale(
        mean=float(scores.mean()), spread=spread, lowest=float(scores.min()), max_tokens=settings.max_tokens
    )


def _adapters(lora: LoraSettings) -> LoraConfig:
    return LoraConfig(
        task_type="SEQ_CLS",
        r=lora.rank,
        lora_alpha=lora.alpha or 2 * lora.rank,
        target_modules="all-linear",
        modules_to_save=["score"],
    )


def _trl_config(settings: RewardModelSettings, scratch: Path) -> RewardConfig:
    return RewardConfig(
        **trainer_arguments(settings, scratch, steps=settings.steps, seed=settings.seed),
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=settings.batch_size,
        max_length=None,  # rows come cut
        center_rewards_coefficient=settings.center or None,
        eval_strategy="steps",
        eval_steps=settings.evaluate_every,
        eval_on_start=True,
        save_strategy="no",
    )
