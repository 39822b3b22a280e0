"""verl's synchronous trainer with a curriculum, masks and balanced advantages: overrides what differs in `fit`.

The run actor draws prompts and references, in the order of the local engine. Scored responses go through `finalize_step` and
`group_advantages`, as locally; rollouts without a score stay in the batch with weight 0. Promotions are committed after the
update and before verl saves its checkpoint, which contains them.
"""

import shutil
import time
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch
import transfer_queue as tq
from tensordict import TensorDict
from verl.trainer.ppo.v1.trainer_base import register_trainer
from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync
from verl.utils import tensordict_utils as tu
from verl.utils.dataset.rl_dataset import collate_fn
from verl.workers.utils.padding import response_to_nested

from longform.cluster.actor_client import ask
from longform.cluster.config import TRAINER
from longform.cluster.prompt_table import read_prompt
from longform.cluster.reward_payload import RewardPayload, lost, read_payload
from longform.cluster.run_actor import Opened
from longform.cluster.start import actor_of
from longform.cluster.step import (
    ClusterStep,
    DrawnPrompt,
    build_step,
    check_payloads,
    check_results,
    cut_off,
    verl_metrics,
)
from longform.curriculum.criteria import judged_by
from longform.curriculum.schedule import FILE, PromptDraw
from longform.planning.cluster import policies_folder
from longform.records.database import text_hash
from longform.records.errors import BadInputError
from longform.records.schemas import Ladder, Prompt


@register_trainer(TRAINER)
class LongformTrainer(PPOTrainerSync):
    """The trainer that `trainer.v1.trainer_mode=longform` selects."""

    def _build_replay_buffer(self) -> Any:
        self.trainer_mode = "sync"  # the base class requires this value
        self._run_actor = actor_of(self.config)
        opened: Opened = ask(self._run_actor.opened.remote())
        self._recipe = opened.recipe
        self._groups: dict[str, DrawnPrompt] = {}
        self._closed: ClusterStep | None = None
        return super()._build_replay_buffer()

    # Drawing.

    def _fetch_one_gen_batch(self) -> TensorDict:
        """The prompts that the curriculum draws for a step, each with its current reference."""
        drawn = ask(self._run_actor.draw.remote(self.global_steps, self.config.data.train_batch_size))
        rows = [self._prepare(it) for it in drawn]
        self._groups = {str(uuid.uuid4()): group for group, _ in rows}
        batch = collate_fn([row for _, row in rows])
        batch["uid"] = np.array(list(self._groups), dtype=object)
        return tu.get_tensordict(batch)

    def _prepare(self, draw: PromptDraw) -> tuple[DrawnPrompt, dict[str, Any]]:
        """Return a drawn prompt with its current reference, and the row that verl's workers get."""
        row = self.train_dataset[draw.prompt_index]
        whole = read_prompt(row["extra_info"])
        reference = ""
        if isinstance(whole, Ladder):
            reference = whole.references[min(draw.rung, len(whole.references) - 1)].text
        if draw.own_text is not None:
            reference = ask(self._run_actor.own_answer.remote(draw.own_text))
        whole = judged_by(whole, draw.criteria)
        prompt = Prompt.model_validate(whole.model_dump(exclude={"references", "policy_score", "potential"}))
        row["extra_info"] = {
            "index": draw.prompt_index,
            "split": "train",
            "row": prompt.model_dump_json(),
            "rungs": [],
            "reference": reference,
            "step": self.global_steps,
        }
        return DrawnPrompt(draw, prompt, reference), row

    # Learning.

    def _compute_advantage(self, batch: Any, metrics: dict[str, Any]) -> Any:
        """Finalise the step, mask rollouts without a score, and compute advantages."""
        data = tq.kv_batch_get(
            keys=batch.keys, partition_id=batch.partition_id, select_fields=["response_mask", "extra_fields"]
        )
        rows, payloads = self._gather(batch, data["extra_fields"])
        check_payloads(payloads, self._recipe, step=self.global_steps)
        groups = list(self._groups.values())
        closed = ask(
            self._run_actor.close.remote(
                self.global_steps,
                [it.results for it in payloads],
                [it.draw for it in groups],
                [text_hash(it.text) for it in payloads],
                cut_off(payloads, self._recipe),
                [it.response for it in payloads],
            )
        )
        check_results(closed.results, self._recipe, step=self.global_steps)
        step = self._closed = build_step(closed, payloads, groups, self._recipe, step=self.global_steps)
        self._put_masks(batch, data["response_mask"], _by_row(step.learning, rows, padding=False))
        if step.advantages is None:
            return super()._compute_advantage(batch, metrics)
        advantages = torch.from_numpy(_by_row(step.advantages, rows, padding=0.0)).float()
        return self._put(batch, data["response_mask"], advantages, ("advantages", "returns"))

    def _gather(self, batch: Any, extra_fields: Any) -> tuple[list[int | None], list[RewardPayload]]:
        """The index in the step of each row of verl's batch (None for padding), and the payload at each index."""
        group, order = self._recipe.data.group, {uid: n for n, uid in enumerate(self._groups)}
        payloads = [lost([it.kind for it in self._recipe.rewards]) for _ in range(len(order) * group)]
        rows: list[int | None] = []
        for key, tag, fields in zip(batch.keys, batch.tags, extra_fields, strict=True):
            uid, session, _ = key.rsplit("_", 2) if not tag.get("is_padding", False) else (None, 0, 0)
            row = None if uid is None else order[uid] * group + int(session)
            rows.append(row)
            if row is not None:
                payloads[row] = read_payload(getattr(fields, "data", fields)["reward_extra_info"])
        return rows, payloads

    def _put_masks(self, batch: Any, response_mask: torch.Tensor, keep: np.ndarray) -> None:
        """Masked rollouts keep their tokens with weight 0, like verl's padding."""
        if not keep.all():
            self._put(batch, response_mask, torch.from_numpy(keep).to(torch.int64), ("response_mask", "loss_mask"))

    @staticmethod
    def _put(batch: Any, response_mask: torch.Tensor, by_row: torch.Tensor, fields: tuple[str, ...]) -> Any:
        """Store one value per row on all tokens of its response."""
        mask = response_mask.to_padded_tensor(0) if response_mask.is_nested else response_mask
        values = by_row[:, None] * mask.to(by_row.dtype)
        output = TensorDict({it: response_to_nested(values, response_mask) for it in fields}, batch_size=len(batch))
        return tq.kv_batch_put(keys=batch.keys, partition_id=batch.partition_id, fields=output)

    def step(self, metrics: dict[str, Any], timing_raw: dict[str, float]) -> Any:
        """One step, recorded with its promotions before its checkpoint is written."""
        began = time.perf_counter()
        batch = super().step(metrics, timing_raw)
        closed = self._closed
        assert closed is not None, "the advantages were computed"
        measured = closed.metrics | verl_metrics(metrics, timing_raw)
        seconds = time.perf_counter() - began
        step = self.global_steps
        ray.get(self._run_actor.commit.remote(step))
        ray.get(self._run_actor.record.remote(step, seconds=seconds, metrics=measured, rollouts=closed.rollouts))
        self._recorded = time.perf_counter()
        return batch

    # What comes after it.

    def _validate(self) -> dict[str, float]:
        """Validation by the examiner; before the first step, and again after a restart, it is recorded immediately."""
        metrics = super()._validate()
        if self._closed is None:
            ray.get(self._run_actor.finish.remote(self.global_steps, seconds=0.0, metrics={}))
        return metrics

    def _compute_metrics(self, batch: Any, metrics: Any, timing_raw: Any, global_steps: int, epoch: int) -> None:
        """Verl's metrics; the run records those that reports and monitors use."""
        super()._compute_metrics(batch, metrics, timing_raw, global_steps=global_steps, epoch=epoch)
        seconds = time.perf_counter() - self._recorded
        ray.get(self._run_actor.finish.remote(global_steps, seconds=seconds, metrics=verl_metrics(metrics, timing_raw)))

    def _save_checkpoint(self) -> None:
        """Saves the curriculum first: verl marks a checkpoint as the latest when all of it is written."""
        folder = self._checkpoint_folder()
        folder.mkdir(parents=True, exist_ok=True)
        (folder / FILE).write_bytes(ray.get(self._run_actor.state.remote()))
        super()._save_checkpoint()
        keep = self._recipe.run.keep_policies
        if keep is not None and self.global_steps % keep == 0:
            kept = policies_folder(folder.parent) / f"step-{self.global_steps:06d}"
            shutil.rmtree(kept, ignore_errors=True)
            shutil.copytree(folder / "actor" / "huggingface", kept)
        # verl would remove the policy of the previous checkpoint while it still marks that one as the latest.
        for old in sorted(folder.parent.glob("global_step_*"), key=_step_of)[: -self._recipe.run.keep_checkpoints]:
            shutil.rmtree(old)

    def _load_checkpoint(self) -> None:
        """Verl loads weights, optimizers and step; the run actor restores the curriculum and the records."""
        super()._load_checkpoint()
        state, file = None, self._checkpoint_folder() / FILE
        if self.global_steps:
            if not file.exists():
                raise BadInputError(f"{file}: does not exist; the checkpoint was not written by longform's trainer")
            state = file.read_bytes()
        ray.get(self._run_actor.restore.remote(self.global_steps, state, source=str(file)))

    def _checkpoint_folder(self) -> Path:
        return Path(self.config.trainer.default_local_dir) / f"global_step_{self.global_steps}"


def _step_of(folder: Path) -> int:
    return int(folder.name.rpartition("_")[2])


def _by_row(values: np.ndarray, rows: list[int | None], *, padding: float) -> np.ndarray:
    """[N] values by index in the step, for the rows of verl's batch, padding included."""
    return np.array([padding if row is None else values[row] for row in rows], dtype=values.dtype)
