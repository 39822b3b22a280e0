"""Rollouts of one step: the policy writes, and each finished response is judged while the others are being written.

A rollout's row in the step decides its random draws: prompt 0's group first, then prompt 1's, and so on.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from longform.curriculum.schedule import Faced
from longform.records.database import Rollout
from longform.records.schemas import Ladder
from longform.rewards.judged import Reward, Rewarded
from longform.statistics.moments import AdvantageMoments
from longform.text.words import count_words
from longform.training.judge_thread import JudgeThread
from longform.training.models import PolicyModels
from longform.writers.decoding import Written, decode_in_batches
from longform.writers.local import encode_prompt, response_text, stop_tokens
from longform.writers.settings import GenerationSettings


@dataclass(frozen=True, slots=True)
class WrittenRollout:
    """One response before its reward."""

    prompt_id: str
    rung: int
    reference: str
    """The text it is held against."""
    reference_score: float
    """Standardised over all references of the run."""
    prompt: Sequence[int]
    """Token ids."""
    written: Written
    text: str

    def record(self, step: int, row: int, rewarded: Rewarded, advantages: AdvantageMoments) -> Rollout:
        """The rollout with its reward, as it goes on record."""
        return Rollout(
            step=step,
            row=row,
            prompt_id=self.prompt_id,
            rung=self.rung,
            text=self.text,
            reference=self.reference,
            tokens=len(self.written.tokens),
            words=count_words(self.text),
            finish_reason=self.written.finish_reason,
            outcome=rewarded.outcome,
            cause=rewarded.cause,
            reward=rewarded.score,
            disagreement=rewarded.disagreement,
            consistent=rewarded.consistent,
            advantages=advantages,
            calls=rewarded.calls,
        )


class RolloutSource:
    """Writes the rollouts of a step and has them judged against the references that their prompts face.

    Args:
        ladders: of the run.
        models: whose tokenizer and policy are used.
        reward: what judges a response.
        thread: where it judges.
        group: responses to each prompt.
        settings: how tokens are drawn.
        seed: of the draws.
        read_text: the text that a hash stands for; asked where a prompt faces a response of the policy's own.
    """

    def __init__(
        self,
        ladders: Sequence[Ladder],
        models: PolicyModels,
        reward: Reward,
        thread: JudgeThread,
        *,
        group: int,
        settings: GenerationSettings,
        seed: int,
        read_text: Callable[[str], str],
    ) -> None:
        self.ladders = ladders
        self._encoded = [encode_prompt(models.tokenizer, it, limit=settings.max_prompt_tokens) for it in ladders]
        scores = np.array([reference.score for ladder in ladders for reference in ladder.references])
        self._mean_score, self._score_spread = float(scores.mean()), float(scores.std()) or 1.0
        self._stops = stop_tokens(models.as_policy(), models.tokenizer)
        self._reward, self._thread = reward, thread
        self._group, self._settings, self._seed = group, settings, seed
        self._read_text = read_text

    def write(self, models: PolicyModels, faced: Sequence[Faced], *, step: int) -> list[WrittenRollout]:
        """A group of responses to each prompt. Their rewards are under way when this returns; `rewards` waits for them."""
        each = [it for it in faced for _ in range(self._group)]
        rollouts: dict[int, WrittenRollout] = {}

        def judge(row: int, written: Written) -> None:
            ladder = self.ladders[each[row].prompt_index]
            text = response_text(models.tokenizer, written, self._stops)
            reference, score = self._reference(each[row])
            prompt = self._encoded[each[row].prompt_index]
            rollouts[row] = WrittenRollout(ladder.id, each[row].rung, reference, score, prompt, written, text)
            self._thread.submit(row, self._reward.score(ladder, response=text, reference=reference, step=step))

        prompts = [self._encoded[it.prompt_index] for it in each]
        with models.autocast():
            decode_in_batches(
                models.as_policy(),
                prompts,
                seed=self._seed,
                step=step,
                stop_tokens=self._stops,
                settings=self._settings,
                on_finished=judge,
            )
        return [rollouts[row] for row in range(len(each))]

    def rewards(self) -> list[Rewarded]:
        """The rewards of the rollouts written last, in their order."""
        return self._thread.collect()

    def _reference(self, faced: Faced) -> tuple[str, float]:
        """The text that is faced and its standardised score; a response of the policy's own counts as the best reference."""
        references = self.ladders[faced.prompt_index].references
        reference = references[min(faced.rung, len(references) - 1)]
        text = reference.text if faced.own_text is None else self._read_text(faced.own_text)
        return text, (reference.score - self._mean_score) / self._score_spread
