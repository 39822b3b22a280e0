"""Recompute the advantages of a recorded step for other rewards.

For PPO, they follow from three recorded sums over each response's tokens (`statistics.moments`); critic values and KL are
unchanged. For GRPO, they depend only on the scores of the group, so another weighting is exact and needs no call.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from longform.recipe.recipe import Recipe
from longform.records.database import RolloutRecord
from longform.rl.group_advantages import group_advantages, learning_rows
from longform.statistics.moments import shifted, whitened_means
from longform.steps.diversity import diversity_factors
from longform.text.structure import parse_response


class ReplayScores(NamedTuple):
    """The rewards of one response under a recipe."""

    reward: float | None
    """The weighted mean of all rewards; None if the rollout is masked."""
    scores: Mapping[str, float] | None
    """Scores by kind of reward."""


def replayed_advantages(
    stored: Sequence[RolloutRecord], scored: Sequence[ReplayScores], recipe: Recipe
) -> list[float | None]:
    """Return the advantage of each response of a step; None if it is masked.

    PPO: the mean over the response's tokens after whitening, also None if the run recorded no moments. GRPO: the advantage
    shared by all tokens of the response.

    Args:
        stored: [N] recorded rollouts, grouped by prompt.
        scored: [N] their new rewards.
        recipe: Recipe with method, weights and `advantages`.
    """
    if recipe.method == "ppo":
        return _whitened(stored, scored, decay=recipe.ppo.gamma * recipe.ppo.lam)
    return _within_groups(stored, scored, recipe)


def left_out(stored: Sequence[RolloutRecord], recipe: Recipe) -> np.ndarray:
    """Return the responses excluded from the update because they were truncated (`overlong: mask`), [N] bool."""
    masks = recipe.method == "grpo" and recipe.grpo.overlong == "mask"
    return np.array([masks and it.finish_reason == "length" for it in stored])


def _whitened(stored: Sequence[RolloutRecord], scored: Sequence[ReplayScores], *, decay: float) -> list[float | None]:
    moments = [
        None
        if reward is None or it.advantages is None
        else shifted(it.advantages, reward - (it.reward or 0), decay=decay)
        for it, (reward, _) in zip(stored, scored, strict=True)
    ]
    means = iter(whitened_means([it for it in moments if it is not None]))
    return [None if it is None else next(means) for it in moments]


def _within_groups(
    stored: Sequence[RolloutRecord], scored: Sequence[ReplayScores], recipe: Recipe
) -> list[float | None]:
    kinds = [it.kind for it in recipe.rewards]
    rows = [[it.scores.get(kind, math.nan) for kind in kinds] if it.scores else [0.0] * len(kinds) for it in scored]
    groups = group_advantages(
        np.array(rows).reshape(-1, recipe.data.group, len(kinds)),
        np.array([it.scores is not None for it in scored]).reshape(-1, recipe.data.group),
        weights=recipe.weights,
        how=recipe.advantages,
        required=recipe.required,
        factors=diversity_factors([parse_response(it.text, recipe.generation.think).answer for it in stored], recipe),
    )
    learned = learning_rows(groups, left_out(stored, recipe), recipe.grpo)
    advantages = groups.advantages.reshape(-1).tolist()
    return [value if takes_part else None for value, takes_part in zip(advantages, learned, strict=True)]
