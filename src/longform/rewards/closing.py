"""Closing a step: from verdicts to scores, the mask of rollouts that take part, and staged promotions.

Pure, and the same for every engine. A rollout without a verdict has no score: it is masked, never a loss.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from longform.curriculum.rules import Climb, Visit
from longform.curriculum.schedule import Curriculum, Faced
from longform.records.errors import StoppedError

VERDICT_SCORES = {"win": 1.0, "tie": 0.5, "loss": 0.0}
"""Writing-RL's pairwise reward. The released code gives 1.1, 0.55 and 0.1."""


class ClosedStep(NamedTuple):
    """What the verdicts of one step amount to."""

    scores: np.ndarray
    """[rollouts] float32; 0 where the mask is False, and without meaning there."""
    mask: np.ndarray
    """[rollouts] bool: which rollouts take part in the update."""
    climbs: list[Climb]
    """Staged, to be committed with the update."""


def close_step(outcomes: Sequence[str | None], faced: Sequence[Faced], curriculum: Curriculum) -> ClosedStep:
    """Scores, mask and staged promotions of a step.

    Args:
        outcomes: [rollouts] win, tie, loss or None; the rollouts of a prompt stand together.
        faced: [prompts] the rungs that the prompts faced; rollouts divide evenly over them.
        curriculum: only read; `Curriculum.commit` writes the climbs once the update is done.
    """
    mask = np.array([outcome is not None for outcome in outcomes])
    scores = np.array([0.0 if outcome is None else VERDICT_SCORES[outcome] for outcome in outcomes], dtype=np.float32)
    group = len(outcomes) // len(faced)
    visits = [
        Visit(prompt.prompt_index, prompt.rung, tuple(outcomes[i * group : (i + 1) * group]))
        for i, prompt in enumerate(faced)
    ]
    return ClosedStep(scores, mask, curriculum.stage(visits))


def check_verdict_rate(causes: Sequence[str | None], *, step: int, limit: float) -> None:
    """Stop a run whose judge has stopped judging.

    Args:
        causes: [rollouts] why there is no verdict; None where there is one.
        step: named in the error.
        limit: the largest share of missing verdicts that a step may have.

    Raises:
        StoppedError: the share is above `limit`; names the causes and their counts.
    """
    missing = [cause for cause in causes if cause is not None]
    if len(missing) > limit * len(causes):
        counts = ", ".join(f"{missing.count(cause)} {cause}" for cause in sorted(set(missing)))
        raise StoppedError(
            f"step {step}: {len(missing)} of {len(causes)} rollouts got no verdict ({counts}); "
            f"rewards.max_no_verdict is {limit:g} and may be raised with --resume"
        )
