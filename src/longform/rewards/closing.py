"""Closing a step: from rewards to scores, the mask of rollouts that take part, and staged promotions.

Pure, and the same for every engine. A rollout that the judge said nothing about has no score: it is masked, never a loss.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from longform.curriculum.rules import Climb, Visit
from longform.curriculum.schedule import Curriculum, Faced
from longform.records.errors import StoppedError
from longform.rewards.rewarded import ScoreSheet


class ClosedStep(NamedTuple):
    """What the rewards of one step amount to. N rollouts, K rewards."""

    by_reward: np.ndarray
    """[N, K] float64, in the order of the recipe; 0 where the mask is False, and without meaning there."""
    scores: np.ndarray
    """[N] float32, the weighted mean over rewards."""
    mask: np.ndarray
    """[N] bool: which rollouts have a score of every reward."""
    climbs: list[Climb]
    """Staged, to be committed with the update."""

    def reward(self, row: int) -> float | None:
        """The score of a rollout; None where a reward is missing."""
        return float(self.scores[row]) if self.mask[row] else None


def close_step(
    sheets: Sequence[ScoreSheet],
    faced: Sequence[Faced],
    text_hashes: Sequence[str],
    curriculum: Curriculum,
    *,
    weights: Sequence[float],
    least: int = 1,
    left_out: np.ndarray | None = None,
) -> ClosedStep:
    """Scores, mask and staged promotions of a step. A rollout without a score of every reward takes no part.

    A win counts with the update that it belongs to, so not where its rollout takes no part in it.

    Args:
        sheets: [N]; the rollouts of a prompt stand together.
        faced: [prompts] the rungs that the prompts faced; rollouts divide evenly over them.
        text_hashes: [N] of the responses, one of which may become a rung (curriculum.top: self).
        curriculum: only read; `Curriculum.commit` writes the climbs once the update is done.
        weights: [K] of the rewards, in the order of the recipe.
        least: rollouts with scores that a group needs to take part; with GRPO two.
        left_out: [N] bool, which rollouts take no part for another reason.
    """
    mask = np.array([it.scores is not None for it in sheets])
    rows = [list(it.scores.values()) if it.scores else [0.0] * len(weights) for it in sheets]
    by_reward = np.array(rows, dtype=np.float64)
    scores = by_reward @ (np.asarray(weights) / sum(weights))
    group = len(sheets) // len(faced)
    visits = []
    for place, it in enumerate(faced):
        members = slice(place * group, (place + 1) * group)
        counts = mask[members] & (mask[members].sum() >= least)
        if left_out is not None:
            counts &= ~left_out[members]
        outcomes = tuple(sheet.outcome if one else None for sheet, one in zip(sheets[members], counts, strict=True))
        visits.append(Visit(it.prompt_index, it.rung, outcomes, tuple(text_hashes[members])))
    return ClosedStep(by_reward, scores.astype(np.float32), mask, curriculum.stage(visits))


def check_verdict_rate(causes: Sequence[str | None], *, step: int, limit: float, setting: str) -> None:
    """Stop a run whose judge has stopped judging.

    Args:
        causes: [rollouts] why there is no score; None where there is one.
        step: named in the error.
        limit: the largest share of missing scores that a step may have.
        setting: what the limit is called in the recipe.

    Raises:
        StoppedError: the share is above `limit`; names the causes and their counts.
    """
    missing = [cause for cause in causes if cause is not None]
    if len(missing) > limit * len(causes):
        hint = ""
        if "too_long" in missing:
            hint = "; models.yaml gives the judge a context too small for its question, or a reward model is served with one"
        counts = ", ".join(f"{missing.count(cause)} {cause}" for cause in sorted(set(missing)))
        raise StoppedError(
            f"step {step}: {len(missing)} of {len(causes)} rollouts got no verdict ({counts}); "
            f"{setting} is {limit:g} and may be raised with --resume{hint}"
        )
