"""Rollouts of one step: the policy writes, and each finished response is judged while the others are being written."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from longform.curriculum.schedule import Faced
from longform.judging.pairwise import Verdict
from longform.records.database import Rollout
from longform.records.schemas import Ladder, PromptRow
from longform.rewards.closing import VERDICT_SCORES
from longform.text.words import count_words
from longform.training.judge_thread import JudgeThread
from longform.training.models import PolicyModels
from longform.writers.decoding import Written, decode, uniform_draws
from longform.writers.local import encode_prompt, response_text, stop_tokens
from longform.writers.settings import GenerationSettings


@dataclass(frozen=True, slots=True)
class WrittenRollout:
    """One response before its verdict."""

    prompt_id: str
    rung: int
    reference_score: float
    """Standardised over all references of the run."""
    prompt: Sequence[int]
    """Token ids."""
    written: Written
    text: str

    def record(self, step: int, row: int, verdict: Verdict) -> Rollout:
        """The rollout with its verdict, as it goes on record."""
        return Rollout(
            step=step,
            row=row,
            prompt_id=self.prompt_id,
            rung=self.rung,
            text=self.text,
            tokens=len(self.written.tokens),
            words=count_words(self.text),
            finish_reason=self.written.finish_reason,
            outcome=verdict.outcome,
            cause=verdict.cause,
            reward=None if verdict.outcome is None else VERDICT_SCORES[verdict.outcome],
            calls=verdict.calls,
        )


class Judge(Protocol):
    """What decides between a response and its reference."""

    async def compare(self, prompt: PromptRow, *, response: str, reference: str, step: int) -> Verdict:
        """The verdict on `response`; it has no outcome where the judge could not be heard."""
        ...


class RolloutSource:
    """Writes the rollouts of a step and has them judged against the references that their prompts face."""

    def __init__(
        self,
        ladders: Sequence[Ladder],
        models: PolicyModels,
        judge: Judge,
        thread: JudgeThread,
        *,
        settings: GenerationSettings,
        seed: int,
    ) -> None:
        self.ladders = ladders
        self._encoded = [encode_prompt(models.tokenizer, it, limit=settings.max_prompt_tokens) for it in ladders]
        scores = np.array([reference.score for ladder in ladders for reference in ladder.references])
        self._mean_score, self._score_spread = float(scores.mean()), float(scores.std()) or 1.0
        self._stops = stop_tokens(models.policy, models.tokenizer)
        self._judge, self._thread = judge, thread
        self._settings, self._seed = settings, seed

    def write(self, models: PolicyModels, faced: Sequence[Faced], *, step: int) -> list[WrittenRollout]:
        """A response to each prompt. Their verdicts are under way when this returns; `verdicts` waits for them."""
        rollouts: dict[int, WrittenRollout] = {}

        def judge(row: int, written: Written) -> None:
            index, rung = faced[row]
            ladder = self.ladders[index]
            text = response_text(models.tokenizer, written, self._stops)
            reference = ladder.references[rung]
            score = (reference.score - self._mean_score) / self._score_spread
            rollouts[row] = WrittenRollout(ladder.id, rung, score, self._encoded[index], written, text)
            self._thread.submit(row, self._judge.compare(ladder, response=text, reference=reference.text, step=step))

        draws = uniform_draws(seed=self._seed, step=step, rows=range(len(faced)), count=self._settings.max_tokens)
        prompts = [self._encoded[prompt.prompt_index] for prompt in faced]
        decode(models.policy, prompts, draws=draws, stop_tokens=self._stops, settings=self._settings, on_finished=judge)
        return [rollouts[row] for row in range(len(faced))]

    def verdicts(self) -> list[Verdict]:
        """The verdicts of the rollouts written last, in their order."""
        return self._thread.collect()
