"""GRPO advantages: how much better a response is than the others of its group, for one or more rewards.

With several rewards, LongWriter-Zero normalizes each within the group and averages the results (`balanced`, eq. 5), so that
no reward dominates because of its scale. Summing the rewards first (`summed`) is the baseline. Computed in double precision,
identically for both engines. docs/method.md compares the formulas with TRL's and verl's.

Shapes: P prompts, G responses to each, K rewards.
"""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np

from longform.rl.settings import GrpoSettings

EPSILON = 1e-6
"""Added to standard deviations before division; verl's value."""
MIN_RESPONSES = 2
"""Minimum number of responses with rewards in a group; a single response has nothing to be compared with."""
MIN_VIOLATION = 1.0
"""A response that violates a constraint gets an advantage of at most minus this: one standard deviation below its group."""


class GroupAdvantages(NamedTuple):
    """Advantages of a step's groups."""

    advantages: np.ndarray
    """[P, G] float64; 0 for masked responses."""
    mask: np.ndarray
    """[P, G] bool: responses with rewards, in groups that have at least two of them."""
    informative: np.ndarray
    """[P] bool: groups in which a reward has nonzero variance, or some responses violate a constraint."""

    @property
    def flat(self) -> int:
        """Number of zero-variance groups among the judged ones."""
        return int((self.mask.any(1) & ~self.informative).sum())


def group_advantages(
    scores: np.ndarray,
    mask: np.ndarray,
    *,
    weights: Sequence[float],
    how: Literal["balanced", "summed"],
    required: Sequence[float | None] | None = None,
    factors: np.ndarray | None = None,
) -> GroupAdvantages:
    """Compute advantages within each group, over the responses that have rewards.

    balanced: A = sum over k of w_k (r_k - mean_k) / (std_k + eps), with weights normalized to sum to 1. summed: the same for
    the single reward sum over k of w_k r_k. Standard deviations are unbiased; a reward without variance in a group
    contributes 0. Groups with fewer than two responses with rewards are skipped.

    Args:
        scores: [P, G, K] rewards. NaN for a whole group where a reward is not for the source of its prompt: its weight is
            then left out of the group's.
        mask: [P, G] bool, False for responses without rewards, whose scores are ignored.
        weights: [K] weights, above 0.
        how: `balanced` or `summed`.
        factors: [P, G] by which all rewards of a response are multiplied, such as its distance from the others; `required`
            is about the rewards themselves.
        required: [K] minimum scores of constraints, or None (`required` in a reward's settings). A response below the
            minimum gets an advantage of at most -1 if another response of its group reaches it.

    Raises:
        ValueError: there is no reward, or a group has fewer than two responses.
    """
    if not weights or scores.shape[2] != len(weights):
        raise ValueError(f"{len(weights)} weights for {scores.shape[2]} rewards")
    if scores.shape[1] < MIN_RESPONSES:
        raise ValueError(f"a group needs at least {MIN_RESPONSES} responses")
    mask = mask & (mask.sum(1, keepdims=True) >= MIN_RESPONSES)
    absent = np.asarray((np.isnan(scores) & mask[:, :, None]).any(1))
    scores = np.where(mask[:, :, None] & ~absent[:, None], scores, 0.0).astype(np.float64)
    mean = _mean_by_group(absent, weights) if absent.any() else _mean(weights)
    worth = scores if factors is None else scores * factors[:, :, None]
    normalised, spreads = _normalised(worth if how == "balanced" else mean(worth)[:, :, None], mask)
    advantages = mean(normalised) if how == "balanced" else normalised[:, :, 0]
    informative = np.any(spreads > 0, axis=1)
    for k, minimum in enumerate(required or ()):
        if minimum is not None:
            reaches = (scores[:, :, k] >= minimum) & mask & ~absent[:, None, k]
            violates = mask & ~reaches & reaches.any(1, keepdims=True)
            advantages = np.where(violates, np.minimum(advantages, -MIN_VIOLATION), advantages)
            informative |= np.any(violates, axis=1)
    return GroupAdvantages(np.where(mask, advantages, 0.0), mask, informative)


def _mean(weights: Sequence[float]) -> Callable[[np.ndarray], np.ndarray]:
    """Return the weighted mean over rewards, [P, G, K] -> [P, G]."""
    shares = np.asarray(weights, dtype=np.float64) / sum(weights)
    return lambda values: values @ shares


def _mean_by_group(absent: np.ndarray, weights: Sequence[float]) -> Callable[[np.ndarray], np.ndarray]:
    """Return the weighted mean over the rewards of each group; `absent` [P, K] has those that it lacks."""
    given = np.where(absent, 0.0, np.asarray(weights, dtype=np.float64))
    shares = given / given.sum(1, keepdims=True)
    return lambda values: (values * shares[:, None]).sum(2)


def learning_rows(groups: GroupAdvantages, left_out: np.ndarray, optim: GrpoSettings) -> np.ndarray:
    """Return the responses of a step that the update uses, [N] bool.

    Excluded are responses without rewards, skipped groups, left-out responses (truncated ones with `overlong: mask`),
    with dynamic sampling (`resample`) zero-variance groups, and of the others with `down_sample` those of each group whose
    advantages are nearest to 0. PODS (arXiv 2504.13818) keeps the rewards with the largest variance, and computes the
    advantages among these; here they stay those of the whole group, so that several rewards can be balanced.

    Args:
        groups: Groups of the step, N = P x G.
        left_out: [N] bool.
        optim: Settings of the recipe.
    """
    taken = groups.mask & groups.informative[:, None] if optim.resample else groups.mask
    taken = taken & ~left_out.reshape(taken.shape)
    if optim.down_sample is not None:
        order = np.argsort(np.where(taken, -np.abs(groups.advantages), np.inf), axis=1, kind="stable")
        kept = np.zeros_like(taken)
        np.put_along_axis(kept, order[:, : optim.down_sample], values=True, axis=1)
        taken = taken & kept
    return taken.reshape(-1)


def _normalised(scores: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return standard scores within groups, [P, G, K], 0 without variance, and unbiased standard deviations, [P, K]."""
    counts = np.maximum(mask.sum(1), MIN_RESPONSES)[:, None]
    present = mask[:, :, None]
    means = scores.sum(1) / counts
    # The mean of equal numbers may differ from them in the last digit; this is not variance.
    highest = np.where(present, scores, -np.inf).max(1)
    lowest = np.where(present, scores, np.inf).min(1)
    deviations = np.where(present, scores - means[:, None], 0.0)
    spreads = np.where(highest > lowest, np.sqrt((deviations**2).sum(1) / (counts - 1)), 0.0)
    normalised = np.where(spreads[:, None] > 0, deviations / (spreads[:, None] + EPSILON), 0.0)
    return normalised, spreads
