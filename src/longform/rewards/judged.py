"""Rewards that ask a judge: pairwise against the reference that a prompt faces (Writing-RL), or pointwise (its ablation).

A judge that cannot be heard gives no score. Such a rollout is masked out of the update; it is never a loss. An empty answer
is one, and the lowest grade, without a call: there is nothing to be judged.
"""

import random
from collections.abc import Mapping
from statistics import fmean

from longform.judging.answers import HIGHEST_SCORE, LOWEST_SCORE
from longform.judging.asking import total_cost
from longform.judging.pairwise import WinTieLoss
from longform.judging.panel import PairwisePanel, PointwisePanel
from longform.records.schemas import PromptRow
from longform.rewards.rewarded import Rewarded
from longform.text.structure import ParsedResponse

VALUES: dict[str, dict[WinTieLoss, float]] = {
    "paper": {"win": 1.0, "tie": 0.5, "loss": 0.0},
    "released": {"win": 1.1, "tie": 0.55, "loss": 0.1},
}
"""What an outcome is worth: in the paper, and in the code its authors released."""


class PairwiseReward:
    """Win, tie or loss against the reference, in numbers.

    Args:
        panel: decides.
        values: what each outcome is worth.
        recheck: share of (prompt, step) pairs that the first judge is asked about once more; the first verdict counts.
        seed: of the choice of these pairs.
    """

    def __init__(
        self, panel: PairwisePanel, *, values: Mapping[WinTieLoss, float], recheck: float = 0.0, seed: int = 0
    ) -> None:
        self._panel = panel
        self._values = values
        self._recheck, self._seed = recheck, seed

    async def score(self, prompt: PromptRow, *, response: ParsedResponse, reference: str, step: int) -> Rewarded:
        """The worth of the panel's verdict; with `mean`, the mean worth of its votes."""
        if not response.answer:
            return Rewarded(self._values["loss"], "loss")
        text = response.answer
        verdict = await self._panel.compare(prompt, response=text, reference=reference, step=step)
        calls, cost, consistent = verdict.calls, verdict.cost, None
        if self._is_rechecked(prompt, step) and verdict.outcome is not None:
            judge, sample = self._panel.judges[0], self._panel.samples
            again = await judge.compare(prompt, response=text, reference=reference, step=step, sample=sample)
            calls += again.calls
            cost = total_cost((cost, again.cost))
            before = verdict.first_vote if verdict.votes else verdict.outcome
            consistent = None if again.outcome is None or before is None else again.outcome == before
        score = None
        if verdict.outcome is not None:
            votes = verdict.votes if verdict.votes and self._panel.combine == "mean" else (verdict.outcome,)
            score = fmean(self._values[vote] for vote in votes)
        asked = len(self._panel.judges) * self._panel.samples
        unheard = verdict.unheard / asked if asked > 1 else None
        return Rewarded(score, verdict.outcome, verdict.cause, calls, cost, verdict.disagreement, unheard, consistent)

    def _is_rechecked(self, prompt: PromptRow, step: int) -> bool:
        return self._recheck > 0 and random.Random(f"{self._seed}/{step}/{prompt.id}").random() < self._recheck


class PointwiseReward:
    """A grade of 1 to 10 brought to 0 to 1; the reference plays no part."""

    def __init__(self, panel: PointwisePanel) -> None:
        self._panel = panel

    async def score(self, prompt: PromptRow, *, response: ParsedResponse, reference: str, step: int) -> Rewarded:  # noqa: ARG002
        """(grade - 1) / 9."""
        if not response.answer:
            return Rewarded(0.0)
        graded = await self._panel.grade(prompt, response.answer, step=step)
        points = HIGHEST_SCORE - LOWEST_SCORE
        score = None if graded.score is None else (graded.score - LOWEST_SCORE) / points
        spread = None if graded.disagreement is None else graded.disagreement / points
        asked = len(self._panel.judges) * self._panel.samples
        unheard = graded.unheard / asked if asked > 1 else None
        return Rewarded(score, None, graded.cause, graded.calls, graded.cost, spread, unheard)
