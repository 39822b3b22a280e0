"""Rollouts of one step: the policy writes, and each finished response is judged while the others are being written.

A rollout's row in the step decides its random draws: prompt 0's group first, then prompt 1's, and so on.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from longform.curriculum.schedule import Faced
from longform.records.rollouts import Rollout, text_hash
from longform.records.schemas import Ladder, PromptRow
from longform.rewards.reward_set import RewardSet
from longform.rewards.rewarded import ScoreSheet
from longform.statistics.moments import AdvantageMoments
from longform.steps.rollout import record_rollout
from longform.text.structure import parse_response
from longform.training.batch import Batch
from longform.training.judge_thread import JudgeThread
from longform.training.models import PolicyModels
from longform.writers.decoding import Written, decode_in_batches
from longform.writers.local import encode_prompts, find_stops
from longform.writers.settings import GenerationSettings


@dataclass(frozen=True, slots=True)
class WrittenRollout:
    """One response before its reward."""

    request: PromptRow
    rung: int
    reference: str
    """The text it is held against; empty where there is none."""
    reference_score: float
    """Standardised over all references of the run."""
    prompt: Sequence[int]
    """Token ids."""
    written: Written
    text: str
    """Whole, with the tags of its structure."""

    @property
    def text_hash(self) -> str:
        """The name that the text is stored under."""
        return text_hash(self.text)

    def record(
        self,
        step: int,
        row: int,
        sheet: ScoreSheet,
        *,
        reward: float | None,
        advantages: AdvantageMoments | None = None,
    ) -> Rollout:
        """The rollout with its reward, as it goes on record."""
        return record_rollout(
            sheet,
            step=step,
            row=row,
            prompt_id=self.request.id,
            rung=self.rung,
            text=self.text,
            reference=self.reference,
            tokens=len(self.written.tokens),
            finish_reason=self.written.finish_reason,
            reward=reward,
            advantages=advantages,
        )


class RolloutSource:
    """Writes the rollouts of a step and has them rewarded, against the references that their prompts face if there are any.

    Args:
        prompts: of the run; ladders, where a reward compares.
        models: whose tokenizer and policy are used.
        rewards: what a response is worth.
        thread: where that is found out.
        group: responses to each prompt.
        settings: how tokens are drawn.
        seed: of the draws.
        read_text: the text that a hash stands for; asked where a prompt faces a response of the policy's own.
    """

    def __init__(
        self,
        prompts: Sequence[PromptRow],
        models: PolicyModels,
        rewards: RewardSet,
        thread: JudgeThread,
        *,
        group: int,
        settings: GenerationSettings,
        seed: int,
        read_text: Callable[[str], str],
    ) -> None:
        self.prompts = prompts
        self._encoded = encode_prompts(models.tokenizer, prompts, settings=settings)
        scores = np.array([it.score for prompt in prompts if isinstance(prompt, Ladder) for it in prompt.references])
        self._mean_score = float(scores.mean()) if len(scores) else 0.0
        self._score_spread = (float(scores.std()) if len(scores) else 0.0) or 1.0
        self._stops = find_stops(models.as_policy(), models.tokenizer, settings)
        self._rewards, self._thread = rewards, thread
        self._group, self._settings, self._seed = group, settings, seed
        self._read_text = read_text

    def write(
        self, models: PolicyModels, faced: Sequence[Faced], *, step: int, first_row: int = 0
    ) -> list[WrittenRollout]:
        """A group of responses to each prompt. Their rewards are under way when this returns; `rewards` waits for them.

        `first_row` is the row of the first of them in the step, where the step writes more than once.
        """
        each = [it for it in faced for _ in range(self._group)]
        rollouts: dict[int, WrittenRollout] = {}

        def score(row: int, written: Written) -> None:
            prompt = self.prompts[each[row].prompt_index]
            text = self._stops.response_text(written.tokens)
            reference, score = self._reference(each[row])
            encoded = self._encoded[each[row].prompt_index]
            rollouts[row] = WrittenRollout(prompt, each[row].rung, reference, score, encoded, written, text)
            self._thread.submit(row, self._rewards.score(prompt, response=text, reference=reference, step=step))

        with models.autocast():
            decode_in_batches(
                models.as_policy(),
                [self._encoded[it.prompt_index] for it in each],
                seed=self._seed,
                step=step,
                first_row=first_row,
                stops=self._stops,
                settings=self._settings,
                on_finished=score,
            )
        return [rollouts[row] for row in range(len(each))]

    def rewards(self) -> list[ScoreSheet]:
        """The rewards of the rollouts written last, in their order."""
        return self._thread.collect()

    def _reference(self, faced: Faced) -> tuple[str, float]:
        """The text that is faced and its standardised score; a response of the policy's own counts as the best reference."""
        prompt = self.prompts[faced.prompt_index]
        if not isinstance(prompt, Ladder):
            return "", 0.0
        reference = prompt.references[min(faced.rung, len(prompt.references) - 1)]
        text = reference.text if faced.own_text is None else self._own_answer(faced.own_text)
        return text, (reference.score - self._mean_score) / self._score_spread

    def _own_answer(self, digest: str) -> str:
        """The answer of an earlier response, without the plan and the tags that it stands in on record."""
        return parse_response(self._read_text(digest), self._settings.think).answer


def make_batch(rollouts: Sequence[WrittenRollout], *, device: torch.device) -> Batch:
    """Prompts and responses of a step side by side, padded on the right."""
    written = [it.written for it in rollouts]
    sequences = [torch.cat([torch.tensor(it.prompt, device=device), it.written.tokens]) for it in rollouts]
    return Batch(
        tokens=pad_sequence(sequences, batch_first=True),
        first=torch.tensor([len(it.prompt) for it in rollouts], device=device),
        mask=pad_sequence([torch.ones_like(response.log_probs) for response in written], batch_first=True),
        log_probs=pad_sequence([response.log_probs for response in written], batch_first=True),
        reference_scores=torch.tensor([it.reference_score for it in rollouts], dtype=torch.float32, device=device),
    )
