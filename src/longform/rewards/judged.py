"""Rewards that ask a judge: pairwise against a prompt's current reference (Writing-RL), or pointwise (its ablation).

A failed judge call yields no score: the rollout is masked out of the update, never a loss. An empty response loses, or gets
the lowest grade, without a judge call.
"""

import random
from collections.abc import Mapping, Sequence
from statistics import fmean

from longform.judging.answers import MAX_SCORE, MIN_SCORE
from longform.judging.judge import total_cost
from longform.judging.pairwise import PairwisePanel, WinTieLoss, vote_disagreement
from longform.judging.pointwise import PointwisePanel, score_spread
from longform.records.schemas import PromptRow
from longform.rewards.reward import RewardResult
from longform.text.structure import ParsedResponse

VALUES: dict[str, dict[WinTieLoss, float]] = {
    "paper": {"win": 1.0, "tie": 0.5, "loss": 0.0},
    "released": {"win": 1.1, "tie": 0.55, "loss": 0.1},
}
"""The reward of each outcome: in the paper, and in the code its authors released."""


class PairwiseReward:
    """Win, tie or loss against the reference, as numbers.

    Args:
        panel: the judges.
        values: the reward of each outcome.
        recheck: fraction of (prompt, step) pairs for which the first judge is asked again; the first verdict counts.
        seed: random seed of the choice of these pairs.
    """

    def __init__(
        self, panel: PairwisePanel, *, values: Mapping[WinTieLoss, float], recheck: float = 0.0, seed: int = 0
    ) -> None:
        self._panel = panel
        self._values = values
        self._recheck, self._seed = recheck, seed

    async def score(self, prompt: PromptRow, *, response: ParsedResponse, reference: str, step: int) -> RewardResult:
        """The value of the panel's verdict; with `mean`, the mean value of its votes."""
        if not response.answer:
            return RewardResult(self._values["loss"], "loss")
        text = response.answer
        verdict = await self._panel.compare(prompt, response=text, reference=reference, step=step)
        calls, cost, consistent = verdict.calls, verdict.cost, None
        if self._is_rechecked(prompt, step) and verdict.value is not None:
            judge, sample = self._panel.judges[0], self._panel.samples
            again = await judge.compare(prompt, response=text, reference=reference, step=step, sample=sample)
            calls += again.calls
            cost = total_cost((cost, again.cost))
            before = verdict.votes[0] if verdict.votes else verdict.value
            consistent = None if again.value is None or before is None else again.value == before
        score = None
        if verdict.value is not None:
            votes: Sequence[WinTieLoss] = (
                verdict.valid_votes if verdict.votes and self._panel.combine == "mean" else [verdict.value]
            )
            score = fmean(self._values[vote] for vote in votes)
        disagreement = vote_disagreement(verdict.valid_votes)
        return RewardResult(
            score, verdict.value, verdict.cause, calls, cost, disagreement, verdict.missing_votes, consistent
        )

    def _is_rechecked(self, prompt: PromptRow, step: int) -> bool:
        return self._recheck > 0 and random.Random(f"{self._seed}/{step}/{prompt.id}").random() < self._recheck


class PointwiseReward:
    """A grade of 1 to 10 rescaled to 0 to 1, so a response that fails a hard constraint has 0; the reference is not used."""

    def __init__(self, panel: PointwisePanel) -> None:
        self._panel = panel

    async def score(self, prompt: PromptRow, *, response: ParsedResponse, reference: str, step: int) -> RewardResult:  # noqa: ARG002
        """(grade - 1) / 9."""
        if not response.answer:
            return RewardResult(0.0)
        graded = await self._panel.grade(prompt, response.answer, step=step)
        points = MAX_SCORE - MIN_SCORE
        score = None if graded.value is None else (graded.value.score - MIN_SCORE) / points
        spread = score_spread(graded.valid_votes)
        disagreement = None if spread is None else spread / points
        return RewardResult(
            score,
            cause=graded.cause,
            calls=graded.calls,
            cost=graded.cost,
            disagreement=disagreement,
            missing_votes=graded.missing_votes,
            dimensions=None if graded.value is None else graded.value.dimensions,
            is_vetoed=None if graded.value is None else graded.value.is_vetoed,
        )
