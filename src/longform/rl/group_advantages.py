"""Advantages of GRPO: how much better a response is than the others of its group, for one reward or several.

With several rewards LongWriter-Zero normalises each within the group and averages the results (`balanced`, eq. 5), so that
no reward leads because its scale is larger. Averaging the rewards first (`summed`) is the naive way it is held against.
Pure, in double precision, and the same for every engine. docs/method.md compares these with TRL's and verl's formulas.

Shapes: P prompts, G responses to each, K rewards.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from longform.rl.settings import GrpoSettings

EPSILON = 1e-6
"""Added to a standard deviation before dividing by it; verl's value."""
MIN_RESPONSES = 2
"""That have rewards: a response by itself is neither better nor worse than its group."""
MIN_VIOLATION = 1.0
"""A response that breaks a constraint has an advantage of at most minus this: one standard deviation below its group."""


class GroupAdvantages(NamedTuple):
    """What the groups of a step say."""

    advantages: np.ndarray
    """[P, G] float64; 0 where a response takes no part."""
    mask: np.ndarray
    """[P, G] bool: responses with rewards, in groups that have at least two of them."""
    informative: np.ndarray
    """[P] bool: groups in which at least one reward has a spread, or a constraint is broken by some."""

    @property
    def flat(self) -> int:
        """Groups without anything to learn from, though they have been judged."""
        return int((self.mask.any(1) & ~self.informative).sum())


def group_advantages(
    scores: np.ndarray,
    mask: np.ndarray,
    *,
    weights: Sequence[float],
    how: Literal["balanced", "summed"],
    required: Sequence[float | None] | None = None,
) -> GroupAdvantages:
    """Advantages within each group, over the responses that have rewards.

    balanced: A = sum over k of w_k (r_k - mean_k) / (std_k + eps), the weights summing to 1. summed: the same of the one
    reward sum over k of w_k r_k. Standard deviations are unbiased; a reward without spread in a group says nothing there.
    A group with fewer than two responses that have rewards is skipped.

    Args:
        scores: [P, G, K].
        mask: [P, G] bool, False where a response has no rewards; its scores are not read.
        weights: [K], above 0.
        how: see above.
        required: [K] the least score that a constraint asks for, or None (`required` of a reward's settings). A response
            below it has an advantage of at most -1, where another of its group reaches it.

    Raises:
        ValueError: there is no reward, or a group holds fewer than two responses.
    """
    if not weights or scores.shape[2] != len(weights):
        raise ValueError(f"{len(weights)} weights for {scores.shape[2]} rewards")
    if scores.shape[1] < MIN_RESPONSES:
        raise ValueError(f"a group needs at least {MIN_RESPONSES} responses")
    shares = np.asarray(weights, dtype=np.float64) / sum(weights)
    mask = mask & (mask.sum(1, keepdims=True) >= MIN_RESPONSES)
    scores = np.where(mask[:, :, None], scores, 0.0).astype(np.float64)
    normalised, spreads = _normalised(scores if how == "balanced" else (scores @ shares)[:, :, None], mask)
    advantages = normalised @ shares if how == "balanced" else normalised[:, :, 0]
    informative = np.any(spreads > 0, axis=1)
    for k, least in enumerate(required or ()):
        if least is not None:
            reaches = (scores[:, :, k] >= least) & mask
            violates = mask & ~reaches & reaches.any(1, keepdims=True)
            advantages = np.where(violates, np.minimum(advantages, -MIN_VIOLATION), advantages)
            informative |= np.any(violates, axis=1)
    return GroupAdvantages(np.where(mask, advantages, 0.0), mask, informative)


def learning_rows(groups: GroupAdvantages, left_out: np.ndarray, optim: GrpoSettings) -> np.ndarray:
    """[N] bool: the responses of a step that an update learns from.

    Not among them are responses without rewards and skipped groups; those that are left out (cut off, with
    `overlong: mask`); and where groups without spread are replaced (`resample`), those groups.

    Args:
        groups: of the step, N = P x G.
        left_out: [N] bool.
        optim: of the recipe.
    """
    taken = groups.mask & groups.informative[:, None] if optim.resample else groups.mask
    return taken.reshape(-1) & ~left_out


def _normalised(scores: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[P, G, K] standard scores within groups, 0 where there is no spread; and [P, K] the unbiased standard deviations."""
    counts = np.maximum(mask.sum(1), MIN_RESPONSES)[:, None]
    present = mask[:, :, None]
    means = scores.sum(1) / counts
    # A mean of equal numbers may differ from them in the last place, which is no spread.
    highest = np.where(present, scores, -np.inf).max(1)
    lowest = np.where(present, scores, np.inf).min(1)
    deviations = np.where(present, scores - means[:, None], 0.0)
    spreads = np.where(highest > lowest, np.sqrt((deviations**2).sum(1) / (counts - 1)), 0.0)
    normalised = np.where(spreads[:, None] > 0, deviations / (spreads[:, None] + EPSILON), 0.0)
    return normalised, spreads
