"""The rollouts of a step: the policy generates responses, and each is rewarded while the others are still being written.

A reward that compares the responses of a group is computed when the last one is finished. Rewards are computed in a thread
with its own event loop and stored by row, so the order in which they arrive does not matter. A rollout's row in the step
decides its random draws; the rows of prompt 0's group come first, then those of prompt 1's, and so on.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from longform.curriculum.criteria import judged_by
from longform.curriculum.schedule import PromptDraw
from longform.records.database import RolloutRecord, text_hash
from longform.records.schemas import Ladder, PromptRow
from longform.rewards.judge_thread import JudgeThread
from longform.rewards.reward import PromptVisit, RewardResults
from longform.rewards.reward_set import ArrivingGroup, RewardSet
from longform.statistics.moments import AdvantageMoments
from longform.steps.metrics import StepScores
from longform.steps.recorder import record_rollout
from longform.text.structure import ParsedResponse, parse_response
from longform.training.forward import Batch
from longform.training.policy_writer import PolicyWriter
from longform.wording import Wording
from longform.writers.decoding import Completion


@dataclass(frozen=True, slots=True)
class Rollout:
    """One response of the policy, before its reward."""

    request: PromptRow
    rung: int
    reference: str
    """The reference it is compared with; empty if there is none."""
    reference_score: float
    """Standardised over all references of the run."""
    prompt_ids: Sequence[int]
    completion: Completion
    text: str
    """The whole text, including the tags of its structure."""
    response: ParsedResponse
    """Parsed from `text`."""

    @property
    def text_hash(self) -> str:
        """Hash under which the text is stored."""
        return text_hash(self.text)

    @property
    def is_cut_off(self) -> bool:
        """Whether it ended at the token limit."""
        return self.completion.finish_reason == "length"


def record_rollouts(
    rollouts: Sequence[Rollout],
    scores: StepScores,
    *,
    step: int,
    group: int,
    advantages: Sequence[AdvantageMoments | None] | None = None,
) -> list[RolloutRecord]:
    """The records of a step's rollouts.

    Args:
        rollouts: [N].
        scores: of the step.
        step: its number.
        group: responses per prompt; those of a prompt are adjacent.
        advantages: [N] moments of each rollout's token advantages (PPO).
    """
    return [
        record_rollout(
            scores.results[row],
            it.response,
            step=step,
            row=row,
            group=group,
            prompt_id=it.request.id,
            rung=it.rung,
            text=it.text,
            reference=it.reference,
            tokens=len(it.completion.tokens),
            finish_reason=it.completion.finish_reason,
            reward=scores.reward(row),
            advantages=None if advantages is None else advantages[row],
        )
        for row, it in enumerate(rollouts)
    ]


class RolloutGenerator:
    """Generates the rollouts of a step and starts their rewards, which may compare with the prompts' current references.

    Args:
        prompts: of the run; ladders, if a reward compares.
        writer: writes with the policy.
        rewards: of the recipe.
        thread: runs the reward calls.
        group: responses per prompt.
        read_text: the text of a hash, for a prompt that faces an earlier response of the policy.
        wording: of the think prompt.
    """

    def __init__(
        self,
        prompts: Sequence[PromptRow],
        writer: PolicyWriter,
        rewards: RewardSet,
        thread: JudgeThread,
        *,
        group: int,
        read_text: Callable[[str], str],
        wording: Wording | None = None,
    ) -> None:
        self._prompts, self._writer = prompts, writer
        self._encoded = writer.encode(prompts, wording=wording)
        scores = np.array([it.score for prompt in prompts if isinstance(prompt, Ladder) for it in prompt.references])
        self._mean_score = float(scores.mean()) if len(scores) else 0.0
        self._score_spread = (float(scores.std()) if len(scores) else 0.0) or 1.0
        self._rewards, self._thread, self._group = rewards, thread, group
        self._read_text = read_text

    def generate(self, draws: Sequence[PromptDraw], *, step: int, first_row: int = 0) -> list[Rollout]:
        """Generate a group of responses to each prompt, and start computing their rewards; `rewards` waits for these.

        Args:
            draws: [P] prompts of the step, with their rungs.
            step: number of the step.
            first_row: row of the first response in the step, for a step that generates more than once.

        Returns:
            [P x G] rollouts, those of a prompt adjacent.
        """
        each = [draw for draw in draws for _ in range(self._group)]
        references = [self._reference(draw) for draw in draws]
        arriving = [
            ArrivingGroup(
                self._rewards,
                PromptVisit(judged_by(self._prompts[draw.prompt_index], draw.criteria), text, draw.rung, step),
                self._group,
            )
            for draw, (text, _) in zip(draws, references, strict=True)
        ]
        rollouts: dict[int, Rollout] = {}

        def start_rewards(row: int, completion: Completion) -> None:
            prompt = self._prompts[each[row].prompt_index]
            text = self._writer.text(completion)
            is_cut_off = completion.finish_reason == "length"
            response = parse_response(text, self._writer.thinking)._replace(is_cut_off=is_cut_off)
            group, index = divmod(row, self._group)
            reference, score = references[group]
            prompt_ids = self._encoded[each[row].prompt_index]
            rollouts[row] = Rollout(prompt, each[row].rung, reference, score, prompt_ids, completion, text, response)
            self._thread.submit(row, arriving[group].score(index, response))

        self._writer.write(
            [self._encoded[draw.prompt_index] for draw in each],
            step=step,
            first_row=first_row,
            on_finished=start_rewards,
        )
        return [rollouts[row] for row in range(len(each))]

    def rewards(self) -> list[RewardResults]:
        """The rewards of the rollouts generated last, in their order."""
        return self._thread.collect()

    def _reference(self, draw: PromptDraw) -> tuple[str, float]:
        """The current reference and its standardised score.

        An earlier response of the policy, which has no score, gets that of the best reference.
        """
        prompt = self._prompts[draw.prompt_index]
        if not isinstance(prompt, Ladder):
            return "", 0.0
        reference = prompt.references[min(draw.rung, len(prompt.references) - 1)]
        text = reference.text if draw.own_text is None else self._own_answer(draw.own_text)
        return text, (reference.score - self._mean_score) / self._score_spread

    def _own_answer(self, digest: str) -> str:
        """The answer of an earlier response, without its plan and tags."""
        return parse_response(self._read_text(digest), self._writer.thinking).answer


def make_batch(rollouts: Sequence[Rollout], *, device: torch.device, packed: bool = False) -> Batch:
    """Prompts and responses of a step, padded on the right; a model reads them `packed` or not."""
    return pad_batch(
        [it.prompt_ids for it in rollouts],
        [it.completion for it in rollouts],
        reference_scores=[it.reference_score for it in rollouts],
        device=device,
        packed=packed,
    )


def pad_batch(
    prompts: Sequence[Sequence[int]],
    completions: Sequence[Completion],
    *,
    reference_scores: Sequence[float],
    device: torch.device,
    packed: bool = False,
) -> Batch:
    """The batch of B prompts (token ids) and their responses, padded on the right.

    Args:
        prompts: [B] token ids.
        completions: [B] responses.
        reference_scores: [B] standardised scores of the references that the responses are compared with.
        device: of the batch.
        packed: whether a model reads the rows end to end.
    """
    sequences = [
        torch.cat([torch.tensor(prompt, device=device), it.tokens.to(device)])
        for prompt, it in zip(prompts, completions, strict=True)
    ]
    return Batch(
        tokens=pad_sequence(sequences, batch_first=True),
        first=torch.tensor([len(prompt) for prompt in prompts], device=device),
        mask=pad_sequence([torch.ones_like(it.log_probs, device=device) for it in completions], batch_first=True),
        log_probs=pad_sequence([it.log_probs.to(device) for it in completions], batch_first=True),
        reference_scores=torch.tensor(reference_scores, dtype=torch.float32, device=device),
        is_packed=packed,
    )
