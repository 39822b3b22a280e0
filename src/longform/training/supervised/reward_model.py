"""Train a reward model on preferences through TRL: a sequence classifier with one output.

The loss is Bradley-Terry, -log sigmoid(r(chosen) - r(rejected) [- margin]). Held-out prompts are held out with all their
pairs, because a pair whose prompt was in the training data says little about new prompts. The model's folder also contains
`scores.json`, which standardizes its scores, and the held-out pairs.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from datasets import Dataset
from pydantic import Field
from torch import Tensor
from torch.nn.functional import logsigmoid
from transformers import AutoModelForSequenceClassification, TrainerCallback
from trl.trainer.reward_config import RewardConfig
from trl.trainer.reward_trainer import RewardTrainer

from longform.records.errors import BadInputError
from longform.records.files import write_rows, write_text
from longform.records.schemas import Preference, PromptRow
from longform.rewards.writing_model import SCORES, ScoreScale, WritingModel, encode, pad
from longform.rl.settings import LoraSettings, MemorySettings
from longform.statistics.paired import pair_wins
from longform.training.supervised.models import add_adapters, check_sharding, weight_type
from longform.training.supervised.preferences import HELD_OUT, CurvePoint
from longform.training.supervised.processes import find_processes
from longform.training.supervised.settings import EpochSettings, LossCallback
from longform.training.supervised.stage import (
    MicroBatches,
    StageReport,
    StageRun,
    SupervisedStage,
    TrainedModel,
    checkpoint_folder,
    run_trainer,
    trainer_arguments,
    training_order,
    use_one_gpu,
)
from longform.writers.loading import check_complete, check_vocabulary, load_model, load_tokenizer
from longform.writers.paths import check_model_path, load_failure, model_below
from longform.writers.self_check import check_saving

_CURVE = "learning_curve"


BLANK: Mapping[str, Any] = {"chosen_ids": [0], "rejected_ids": [0], "margin": 0.0}
"""A pair that adds nothing to the loss."""


class RewardModelSettings(EpochSettings):
    """Settings of reward model training. `batch_size` counts pairs; texts over `max_tokens` are truncated."""

    margin: float = Field(default=0.0, ge=0)
    """Margin of the loss, as a multiple of each pair's margin (in units of the grades behind the pair; 0 if the pair has
    none)."""
    center: float = Field(default=0.0, ge=0)
    """Weight of (r(chosen) + r(rejected))^2, which centres the scores at 0."""
    evaluate_every: int = Field(default=50, ge=1)
    """Steps between points of the learning curve."""


class RewardModelReport(NamedTuple):
    """Result of reward model training."""

    pairs: int
    held_out: int
    cut: int
    """Number of training texts truncated at `max_tokens`."""
    final_loss: float
    curve: list[CurvePoint]
    stage: StageReport


class TrainedRewardModel(NamedTuple):
    """A trained reward model, before it is saved."""

    trained: TrainedModel
    held_out: Sequence[Preference]
    settings: RewardModelSettings
    report: RewardModelReport
    trust_remote_code: bool = False

    def save(self, folder: Path) -> None:
        """Write the model, with adapters merged, the scale of its scores, and the held-out pairs."""
        trained = self.trained
        if hasattr(trained.model, "merge_and_unload"):
            trained = trained._replace(model=trained.model.cpu().float().merge_and_unload().eval())
        trained.save(folder)
        write_rows(folder / HELD_OUT, self.held_out)
        model = WritingModel(str(folder), max_tokens=self.settings.max_tokens, trust_remote_code=self.trust_remote_code)
        write_text(folder / SCORES, _scale(model, self.held_out, self.settings).model_dump_json(indent=2) + "\n")


class PairTrainer(MicroBatches, RewardTrainer):
    """Trains a sequence classifier on pairs of texts with the Bradley-Terry loss."""

    args: RewardConfig
    _batch_pairs = 0

    def row_tokens(self, inputs: Mapping[str, Tensor]) -> list[int]:
        """Number of tokens of each pair: both texts, padded to the longer one; 0 for a blank pair."""
        longer = inputs["attention_mask"].sum(dim=1).view(2, -1).amax(dim=0)
        return (2 * longer * (longer > 1)).tolist()

    def take_rows(self, inputs: Mapping[str, Tensor], rows: list[int]) -> dict[str, Tensor]:  # noqa: D102
        pairs = len(inputs["input_ids"]) // 2
        both = [*rows, *(pairs + row for row in rows)]
        width = max(int(inputs["attention_mask"][both].sum(dim=1).max()), 1)
        taken = {name: inputs[name][both, :width] for name in ("input_ids", "attention_mask")}
        return taken | ({"margin": inputs["margin"][rows]} if "margin" in inputs else {})

    def count_items(self, inputs: Mapping[str, Tensor]) -> int:  # noqa: D102
        return sum(map(bool, self.row_tokens(inputs)))

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        """Add the gradients of this process's pairs to those of the mean over the pairs of all processes."""
        pairs = torch.tensor([self.count_items(inputs)], device=self.args.device)
        gathered: Any = self.accelerator.gather(pairs) if self.args.world_size > 1 else pairs
        self._batch_pairs = int(gathered.sum())
        return super().training_step(model, inputs, num_items_in_batch)

    def compute_loss(
        self,
        model: Any,
        inputs: Any,
        return_outputs: bool = False,
        num_items_in_batch: Any = None,  # noqa: ARG002
    ) -> Any:
        """Bradley-Terry loss: in training the sum over the micro-batch divided by the pairs of the batch, else the mean."""
        is_pair = torch.tensor(self.row_tokens(inputs), device=self.args.device) > 0
        outputs = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], use_cache=False)
        chosen, rejected = outputs.logits.squeeze(-1).float().chunk(2)
        losses = -logsigmoid(chosen - rejected - inputs.get("margin", 0.0))
        if self.args.center_rewards_coefficient is not None:
            losses = losses + self.args.center_rewards_coefficient * (chosen + rejected) ** 2
        loss = (losses * is_pair).sum()
        # Gradients are averaged over processes, so each process scales its loss by their number.
        mean = loss * self.args.world_size / self._batch_pairs if model.training else loss / is_pair.sum().clamp(min=1)
        return (mean, outputs) if return_outputs else mean


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
    trained = learn_pairs(path, training, held_out, settings, StageRun.of(), lora=lora, on_progress=on_progress)
    trained.save(out)
    return trained.report


def learn_pairs(
    path: str,
    training: Sequence[Preference],
    held_out: Sequence[Preference],
    settings: RewardModelSettings,
    run: StageRun,
    *,
    validation: Sequence[Preference] | None = None,
    lora: LoraSettings | None,
    trust_remote_code: bool = False,
    self_check: bool = True,
    on_progress: LossCallback = lambda step, steps, loss: None,
) -> TrainedRewardModel:
    """Train a reward model, from the latest checkpoint of the run if there is one.

    Args:
        path: Folder or hub id of the language model.
        training: Training pairs.
        held_out: Pairs of other prompts, for the learning curve and the scale of the scores.
        settings: Training settings.
        run: Memory, checkpoints and validation.
        validation: Pairs of `run.validation`.
        lora: Size of adapters; None trains all weights.
        trust_remote_code: Whether code in the model's folder may run.
        self_check: Whether to check that the model can be saved.
        on_progress: Called at intervals with (step, steps, loss).

    Raises:
        BadInputError: the model at `path` has no sequence classifier or cannot be saved, a prompt is too long, or the batch
            cannot be divided among the processes.
        StoppedError: the device is out of memory.
    """
    check_sharding(lora=lora, optimizer=settings.optimizer)
    tokenizer, model = load_classifier(
        path, seed=settings.seed, dtype=weight_type(lora, run.memory), trust_remote_code=trust_remote_code
    )
    if self_check and find_processes().is_main:  # the only one that saves; of sharded models the others have no weights
        check_saving(model, tokenizer, path=path)
    if lora:
        model = add_adapters(model, lora, path=path, task="SEQ_CLS", seed=settings.seed)
    rows, cut = _encoded(tokenizer, training, settings)
    held_out_rows, _ = _encoded(tokenizer, held_out, settings)
    validation_rows = _encoded(tokenizer, validation, settings)[0] if validation else None
    blank = BLANK if settings.margin else {name: BLANK[name] for name in ("chosen_ids", "rejected_ids")}
    stage = SupervisedStage(settings, settings.updates(len(rows)), run, blank)
    order = training_order(len(rows), batch_size=settings.batch_size, steps=stage.steps, seed=settings.seed)
    curve = _LearningCurve(held_out_rows, settings, pairs_at_once(run.memory, settings))
    with checkpoint_folder(run) as folder:
        trainer = PairTrainer(
            stage=stage,
            model=model,
            args=_trl_config(stage, folder, center=settings.center),
            train_dataset=Dataset.from_list([*rows, dict(blank)]).select(order),
            eval_dataset=Dataset.from_list(validation_rows) if validation_rows else None,
            processing_class=tokenizer,
            callbacks=[curve],
        )
        trained = run_trainer(trainer, tokenizer, stage, on_progress=on_progress)
    report = RewardModelReport(
        len(training), len(held_out), cut, trained.report.final_loss, curve.points(trainer.state), trained.report
    )
    return TrainedRewardModel(trained, held_out, settings, report, trust_remote_code)


def load_classifier(
    path: str, *, seed: int, dtype: torch.dtype = torch.float32, trust_remote_code: bool = False
) -> tuple[Any, Any]:
    """Load the tokenizer and a one-output classifier with the language model's weights and a new head.

    Raises:
        BadInputError: there is no model, weights are missing, transformers has no sequence classifier for it, or its
            tokenizer has ids beyond the rows of its embeddings.
    """
    check_model_path(path)
    tokenizer, below = load_tokenizer(path, trust_remote_code=trust_remote_code), model_below(path)
    torch.manual_seed(seed)  # initializes the head
    try:
        model, found = AutoModelForSequenceClassification.from_pretrained(
            below, num_labels=1, dtype=dtype, trust_remote_code=trust_remote_code, output_loading_info=True
        )
    except Exception as error:  # transformers raises exceptions of any type for a broken folder
        reason = load_failure(path, error)
        raise BadInputError(f"{path}: cannot be loaded as a reward model: {reason}") from error
    check_complete(path, model, found, has_head=False)
    check_vocabulary(tokenizer, model.get_input_embeddings().weight.shape[0], path=path)
    if below != path:
        whole: Any = load_model(path, device="cpu", dtype=dtype, trust_remote_code=trust_remote_code)[1]
        decoder = whole.get_decoder()
        model.base_model.load_state_dict(decoder.state_dict())
    return tokenizer, model


class _LearningCurve(TrainerCallback):
    """Evaluates the model on all held-out pairs: before the first step, every `evaluate_every` steps, and at the end.

    The trainer's own evaluation averages over batches, so a pair in a smaller last batch counts more than the others.
    """

    def __init__(self, held_out: Sequence[dict[str, Any]], settings: RewardModelSettings, batch: int) -> None:
        self._held_out, self._settings, self._batch = held_out, settings, batch

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:  # noqa: ARG002
        if not state.global_step:  # a resumed training has this point from its beginning
            self._evaluate(model, state)

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:  # noqa: ARG002
        if state.global_step % self._settings.evaluate_every == 0 or state.global_step == state.max_steps:
            self._evaluate(model, state)

    @staticmethod
    def points(state: Any) -> list[CurvePoint]:
        """The points of the curve so far, which are part of the trainer's state and its checkpoints."""
        return [CurvePoint(*entry[_CURVE]) for entry in state.log_history if _CURVE in entry]

    def _evaluate(self, model: Any, state: Any) -> None:
        was_training = model.training
        scores = pair_scores(model.eval(), self._held_out, batch=self._batch)
        model.train(was_training)
        margins = np.array([it.get("margin", 0.0) for it in self._held_out])
        point = curve_point(state.global_step, scores, margins, center=self._settings.center)
        state.log_history.append({"step": state.global_step, _CURVE: list(point)})


def pairs_at_once(memory: MemorySettings, settings: RewardModelSettings) -> int:
    """Number of pairs that are scored at once: as many as fit into a micro-batch."""
    limit = memory.max_tokens_per_microbatch
    return settings.batch_size if limit is None else max(limit // (2 * settings.max_tokens), 1)


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


def longest_text(tokenizer: Any, pairs: Sequence[Preference], settings: RewardModelSettings) -> int:
    """Number of tokens of the longest text of the pairs, truncated at `settings.max_tokens`.

    Raises:
        BadInputError: a prompt is too long.
    """
    rows, _ = _encoded(tokenizer, pairs, settings)
    return max(len(row[name]) for row in rows for name in ("chosen_ids", "rejected_ids"))


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


def _scale(model: WritingModel, held_out: Sequence[Preference], settings: RewardModelSettings) -> ScoreScale:
    """Return mean and standard deviation of a model's scores on the held-out texts."""
    texts: dict[tuple[str, str], tuple[PromptRow, str]] = {}
    for it in held_out:
        prompt = PromptRow(id=HELD_OUT, prompt=it.prompt)
        texts |= {(prompt.request, text): (prompt, text) for text in (it.chosen, it.rejected)}
    scores = np.array(model.scores(list(texts.values()), batch=settings.batch_size))
    spread = float(scores.std()) or 1.0
    return ScoreScale(
        mean=float(scores.mean()), spread=spread, lowest=float(scores.min()), max_tokens=settings.max_tokens
    )


def _trl_config(stage: SupervisedStage, folder: Path, *, center: float) -> RewardConfig:
    config = RewardConfig(
        **trainer_arguments(stage, folder),
        max_length=None,  # rows are already truncated
        center_rewards_coefficient=center or None,
    )
    return use_one_gpu(config)
