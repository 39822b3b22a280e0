"""Closing a step: from rewards to scores, the mask of rollouts that take part, and staged promotions.

Pure, and the same for every engine. A rollout that the judge said nothing about has no score: it is masked, never a loss.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from longform.curriculum.rules import Climb, Visit
from longform.curriculum.schedule import Curriculum, Faced
from longform.records.errors import StoppedError
from longform.rewards.judged import Rewarded


class ClosedStep(NamedTuple):
    """What the rewards of one step amount to."""

    scores: np.ndarray
    """[rollouts] float32; 0 where the mask is False, and without meaning there."""
    mask: np.ndarray
    """[rollouts] bool: which rollouts take part in the update."""
    climbs: list[Climb]
    """Staged, to be committed with the update."""


def close_step(
    rewarded: Sequence[Rewarded], faced: Sequence[Faced], text_hashes: Sequence[str], curriculum: Curriculum
) -> ClosedStep:
    """Scores, mask and staged promotions of a step.

    Args:
        rewarded: [rollouts]; the rollouts of a prompt stand together.
        faced: [prompts] the rungs that the prompts faced; rollouts divide evenly over them.
        text_hashes: [rollouts] of the responses, one of which may become a rung (curriculum.top: self).
        curriculum: only read; `Curriculum.commit` writes the climbs once the update is done.
    """
    mask = np.array([it.score is not None for it in rewarded])
    scores = np.array([it.score or 0.0 for it in rewarded], dtype=np.float32)
    group = len(rewarded) // len(faced)
    visits = []
    for place, it in enumerate(faced):
        rows = slice(place * group, (place + 1) * group)
        outcomes = tuple(response.outcome for response in rewarded[rows])
        visits.append(Visit(it.prompt_index, it.rung, outcomes, tuple(text_hashes[rows])))
    return ClosedStep(scores, mask, curriculum.stage(visits))


def check_verdict_rate(causes: Sequence[str | None], *, step: int, limit: float) -> None:
    """Stop a run whose judge has stopped judging.

    Args:
        causes: [rollouts] why there is no score; None where there is one.
        step: named in the error.
        limit: the largest share of missing scores that a step may have.

    Raises:
        StoppedError: the share is above `limit`; names the causes and their counts.
    """
    missing = [cause for cause in causes if cause is not None]
    if len(missing) > limit * len(causes):
        hint = "; models.yaml gives the judge a context too small for its question" if "too_long" in missing else ""
        counts = ", ".join(f"{missing.count(cause)} {cause}" for cause in sorted(set(missing)))
        raise StoppedError(
            f"step {step}: {len(missing)} of {len(causes)} rollouts got no verdict ({counts}); "
            f"rewards.max_no_verdict is {limit:g} and may be raised with --resume{hint}"
        )
