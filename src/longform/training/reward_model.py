"""Train a reward model on preferences through TRL: a sequence classifier with one output.

The loss is Bradley-Terry, -log sigmoid(r(chosen) - r(rejected) [- margin]). Held-out prompts are held out with all their
pairs, because a pair whose prompt was in the training data says little about new prompts. The model's folder also contains
`scores.json`, which standardizes its scores, and the held-out pairs.
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
from longform.rewards.writing_model import SCORES, ScoreScale, WritingModel, encode, pad
from longform.rl.settings import LoraSettings
from longform.statistics.paired import pair_wins
from longform.training.optimizer import LossCallback, LossLog, build_optimizer, trainer_arguments
from longform.training.sft import SftSettings
from longform.writers.loading import load_model, load_tokenizer
from longform.writers.paths import check_model_path, model_below

HELD_OUT = "held-out.jsonl"


class RewardModelSettings(SftSettings):
    """Settings of reward model training. `batch_size` counts pairs; texts over `max_tokens` are truncated."""

    margin: float = Field(default=0.0, ge=0)
    """Margin of the loss, as a multiple of each pair's margin (in units of the grades behind the pair; 0 if the pair has
    none)."""
    center: float = Field(default=0.0, ge=0)
    """Weight of (r(chosen) + r(rejected))^2, which centres the scores at 0."""
    evaluate_every: int = Field(default=50, ge=1)
    """Steps between points of the learning curve."""


class CurvePoint(NamedTuple):
    """A point of the learning curve: means over all held-out pairs."""

    step: int
    loss: float
    accuracy: float


class RewardModelReport(NamedTuple):
    """Result of reward model training."""

    pairs: int
    held_out: int
    cut: int
    """Number of training texts truncated at `max_tokens`."""
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
    on_progress: LossCallback = lambda step, steps, loss: None,
) -> RewardModelReport:
    """Train a reward model, initialized from a language model, and save it in the folder `out`.

    Args:
        path: Folder or hub id of the language model.
        training: Training pairs.
        held_out: Pairs of other prompts, for the learning curve and the scale of the scores.
        settings: Training settings.
        lora: Train only adapters and the head; the adapters are merged into the weights at the end. None trains all weights.
        out: Output folder, which transformers and the writing reward can load.
        on_progress: Called at intervals with (step, steps, loss).

    Raises:
        BadInputError: the model at `path` has no sequence classifier, or a prompt is too long.
    """
    tokenizer, model = load_classifier(path, seed=settings.seed)
    if lora:
        model: Any = get_peft_model(model, _adapters(lora))
    rows, cut = _encoded(tokenizer, training, settings)
    held_out_rows, _ = _encoded(tokenizer, held_out, settings)
    log, curve = LossLog(on_progress), _LearningCurve(held_out_rows, settings)
    with tempfile.TemporaryDirectory() as scratch:
        trainer = RewardTrainer(
            model=model,
            args=_trl_config(settings, Path(scratch)),
            train_dataset=Dataset.from_list(rows),
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
    """Load the tokenizer and a one-output classifier with the language model's weights and a new head.

    Raises:
        BadInputError: there is no model, or transformers has no sequence classifier for it.
    """
    check_model_path(path)
    tokenizer, below = load_tokenizer(path), model_below(path)
    torch.manual_seed(seed)  # initializes the head
    try:
        model: Any = AutoModelForSequenceClassification.from_pretrained(below, num_labels=1, dtype=torch.float32)
    except Exception as error:  # transformers raises exceptions of any type for a broken folder
        reason = " ".join(str(error).split())[:200]
        raise BadInputError(f"{path}: cannot be loaded as a reward model: {reason}") from error
    if below != path:
        decoder: Any = load_model(path, device="cpu")[1].get_decoder()
        model.base_model.load_state_dict(decoder.state_dict())
    return tokenizer, model


class _LearningCurve(TrainerCallback):
    """Evaluates the model on all held-out pairs: before the first step, every `evaluate_every` steps, and at the end.

    The trainer's own evaluation averages over batches, so a pair in a smaller last batch counts more than the others.
    """

    def __init__(self, held_out: Sequence[dict[str, Any]], settings: RewardModelSettings) -> None:
        self.points: list[CurvePoint] = []
        self._held_out, self._settings = held_out, settings

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:  # noqa: ARG002
        self._evaluate(model, state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:  # noqa: ARG002
        if state.global_step % self._settings.evaluate_every == 0 or state.global_step == state.max_steps:
            self._evaluate(model, state.global_step)

    def _evaluate(self, model: Any, step: int) -> None:
        was_training = model.training
        scores = pair_scores(model.eval(), self._held_out, batch=self._settings.batch_size)
        model.train(was_training)
        margins = np.array([it.get("margin", 0.0) for it in self._held_out])
        self.points.append(curve_point(step, scores, margins, center=self._settings.center))


def pair_scores(model: Any, rows: Sequence[dict[str, Any]], *, batch: int) -> np.ndarray:
    """Compute the scores of all pairs, [pairs, 2]: chosen, rejected.

    Args:
        model: Sequence classifier with one output, in evaluation mode.
        rows: Token ids of the pairs: `chosen_ids`, `rejected_ids`.
        batch: Number of pairs that are scored at once.
    """
    scores: list[float] = []
    for start in range(0, len(rows), batch):
        texts = [ids for row in rows[start : start + batch] for ids in (row["chosen_ids"], row["rejected_ids"])]
        ids, mask = pad(texts, padding=model.config.get_text_config().pad_token_id, device=str(model.device))
        with torch.inference_mode():
            scores += model(input_ids=ids, attention_mask=mask).logits[:, 0].float().tolist()
    return np.array(scores).reshape(-1, 2)


def curve_point(step: int, scores: np.ndarray, margins: np.ndarray, *, center: float) -> CurvePoint:
    """Compute the point of the learning curve at `step`: the training loss, and the accuracy with ties as one half.

    Args:
        step: Number of training steps.
        scores: [pairs, 2] of the chosen and the rejected texts.
        margins: [pairs] of the loss.
        center: Weight of the squared sum of a pair's scores.
    """
    lead = scores[:, 0] - scores[:, 1] - margins
    loss = np.logaddexp(0, -lead).mean() + center * (scores.sum(axis=1) ** 2).mean()
    return CurvePoint(step, float(loss), float(pair_wins(scores).mean()))


def _encoded(
    tokenizer: Any, preferences: Sequence[Preference], settings: RewardModelSettings
) -> tuple[list[dict[str, Any]], int]:
    """Return rows for TRL, and the number of truncated texts."""
    rows, cut = [], 0
    for it in preferences:
        request = PromptRow(id="-", prompt=it.prompt).request
        prompt = PromptRow(id=repr(request[:40]), prompt=it.prompt)  # named in errors
        pair = [encode(tokenizer, prompt, text, max_tokens=settings.max_tokens) for text in (it.chosen, it.rejected)]
        cut += sum(side.is_cut for side in pair)
        margin = {"margin": settings.margin * (it.margin or 0.0)} if settings.margin else {}
        rows.append({"chosen_ids": pair[0].ids, "rejected_ids": pair[1].ids} | margin)
    return rows, cut


def _scale(out: Path, held_out: Sequence[Preference], settings: RewardModelSettings) -> ScoreScale:
    """Return mean and standard deviation of the scores of the model in `out` on the held-out texts."""
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
        max_length=None,  # rows are already truncated
        center_rewards_coefficient=settings.center or None,
        save_strategy="no",
    )
