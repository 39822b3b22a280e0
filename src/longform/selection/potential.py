"""Learning potential and the order of prompts, as pure functions of scores.

p = best competitor's score - the policy's score, rounded to 1e-9 so that equal grades tie regardless of summation order
(Writing-RL, margin-aware selection: p = max over j != pi of s_j - s_pi). Prompts are sorted by descending p, then by id.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from longform.selection.settings import Floor, Strategy

ROUNDING = 9


@dataclass(frozen=True, slots=True)
class Candidate:
    """A prompt with the scores that determine its selection."""

    id: str
    policy_score: float
    best_competitor: float
    """The best competitor's score."""
    competitor: str
    """Name of the best competitor; the alphabetically first of equals."""

    @property
    def potential(self) -> float:
        """Learning potential."""
        return round(self.best_competitor - self.policy_score, ROUNDING)

    def reaches(self, floor: float) -> bool:
        """Whether the best competitor's score is at least `floor`, up to the rounding of sums."""
        return round(self.best_competitor - floor, ROUNDING) >= 0


def candidate(prompt_id: str, scores: Mapping[str, float], *, policy: str) -> Candidate | None:
    """Build a candidate from one score per model; None if the policy or every competitor has no score."""
    competitors = sorted(model for model in scores if model != policy)
    if policy not in scores or not competitors:
        return None
    best = max(competitors, key=scores.__getitem__)
    return Candidate(prompt_id, scores[policy], scores[best], best)


def floor_score(candidates: Sequence[Candidate], floor: Floor | None) -> float:
    """Return the score below which a prompt is dropped, because no competitor has a good response to it.

    Args:
        candidates: Prompts of one group, over which a percentile is computed.
        floor: The floor; None drops nothing.
    """
    if floor is None:
        return -np.inf
    if floor.is_percentile:
        return float(np.percentile([it.best_competitor for it in candidates], floor.value)) if candidates else -np.inf
    return floor.value


def ordered(candidates: Sequence[Candidate], *, strategy: Strategy, seed: int) -> list[Candidate]:
    """Sort candidates by the strategy; independent of the order of the input."""
    by_id = sorted(candidates, key=lambda it: it.id)
    if strategy == "margin":
        return sorted(by_id, key=lambda it: -it.potential)
    if strategy == "difficulty":
        return sorted(by_id, key=lambda it: round(it.policy_score, ROUNDING))
    return [by_id[i] for i in np.random.default_rng(seed).permutation(len(by_id))]
