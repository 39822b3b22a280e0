"""From the rewards of a step to scores, the mask of the rollouts that take part, and staged promotions.

Pure, and the same for every engine. A rollout with a missing score is masked; a missing verdict never counts as a loss.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from longform.curriculum.rules import PromptOutcome, RungUpdate
from longform.curriculum.schedule import Curriculum, PromptDraw
from longform.records.errors import StoppedError
from longform.rewards.reward import DECLINED, RewardResults, missing_cause, outcome_of, scores_by_kind


class StepScores(NamedTuple):
    """The rewards of a step and what follows from them. N rollouts, K rewards."""

    results: Sequence[RewardResults]
    """[N]."""
    by_reward: np.ndarray
    """[N, K] float64, in the order of the recipe; 0 and meaningless where the mask is False."""
    scores: np.ndarray
    """[N] float32, the weighted mean over rewards."""
    mask: np.ndarray
    """[N] bool: the rollouts that have a score of every reward."""
    updates: list[RungUpdate]
    """Staged, to be committed with the update of the policy."""

    def reward(self, row: int) -> float | None:
        """The score of a rollout; None if a reward is missing."""
        return float(self.scores[row]) if self.mask[row] else None


def finalize_step(
    results: Sequence[RewardResults],
    draws: Sequence[PromptDraw],
    text_hashes: Sequence[str],
    curriculum: Curriculum,
    *,
    weights: Sequence[float],
    min_responses: int = 1,
    left_out: np.ndarray | None = None,
) -> StepScores:
    """Scores, mask and staged promotions of a step.

    A win counts only if its rollout takes part in the update that the promotion is committed with.

    Args:
        results: [N]; the rollouts of a prompt are adjacent.
        draws: [prompts] the prompts of the step and the rungs they face; rollouts divide evenly over them.
        text_hashes: [N] of the responses, one of which may become a rung (curriculum.top: self).
        curriculum: read only; `Curriculum.commit` applies the promotions after the update.
        weights: [K] of the rewards, in the order of the recipe.
        min_responses: rollouts with scores that a group needs to take part; two with GRPO.
        left_out: [N] bool, rollouts that take no part for another reason.
    """
    by_kind = [scores_by_kind(it) for it in results]
    mask = np.array([scores is not None for scores in by_kind])
    by_reward = np.array(
        [list(scores.values()) if scores else [0.0] * len(weights) for scores in by_kind], dtype=np.float64
    )
    scores = by_reward @ (np.asarray(weights) / sum(weights))
    group = len(results) // len(draws)
    visits = []
    for index, draw in enumerate(draws):
        rows = slice(index * group, (index + 1) * group)
        counts = mask[rows] & (mask[rows].sum() >= min_responses)
        if left_out is not None:
            counts &= ~left_out[rows]
        outcomes = tuple(outcome_of(it) if one else None for it, one in zip(results[rows], counts, strict=True))
        visits.append(PromptOutcome(draw.prompt_index, draw.rung, outcomes, tuple(text_hashes[rows])))
    return StepScores(results, by_reward, scores.astype(np.float32), mask, curriculum.stage(visits))


def check_judge_failure_rate(results: Sequence[RewardResults], *, step: int, limit: float, setting: str) -> None:
    """Stop a run whose judge has stopped working.

    Args:
        results: [N] of the rollouts.
        step: named in the error.
        limit: the largest fraction of missing scores that a step may have.
        setting: the name of the limit in the recipe.

    Raises:
        StoppedError: the fraction is above `limit`; names the causes and their counts.
    """
    missing = [cause for it in results if (cause := missing_cause(it)) not in (None, DECLINED)]
    if len(missing) > limit * len(results):
        hint = ""
        if "too_long" in missing:
            hint = (
                "; the context of the judge in models.yaml is too small for its question, or a reward model is served with "
                "a context that is too small"
            )
        counts = ", ".join(f"{missing.count(cause)} {cause}" for cause in sorted(set(missing)))
        raise StoppedError(
            f"step {step}: {len(missing)} of {len(results)} rollouts have no score ({counts}); "
            f"{setting} is {limit:g} and may be raised with --resume{hint}"
        )
