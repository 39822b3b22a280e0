"""The schedule of criteria: whether a prompt is judged by all of its criteria, by the easiest first, or by failed ones.

The state is, for each criterion of a prompt, the mean score of its group when it was last asked about. The choice is a
function of state and prompt, so a resumed run makes the same choices. Hard constraints are always checked.
"""

from collections.abc import Sequence

import numpy as np

from longform.curriculum.settings import CurriculumSettings
from longform.records.errors import BadInputError
from longform.records.schemas import Criterion, PromptRow

CriterionMeans = tuple[tuple[int, float], ...]
"""Position among the scored criteria of a prompt, and the mean score of its group."""


class CriteriaSchedule:
    """The choice of criteria of one run.

    Args:
        counts: [prompts] number of scored criteria of each prompt; 0 if it has no list of them.
        settings: Settings of the curriculum.
    """

    def __init__(self, counts: Sequence[int], settings: CurriculumSettings) -> None:
        self._offsets = np.concatenate([[0], np.cumsum(np.asarray(counts, dtype=np.int64))])
        self._mode, self._pass_mark = settings.criteria, settings.criteria_pass
        self.means = np.full(int(self._offsets[-1]), np.nan, dtype=np.float32)
        """[criteria of all prompts] mean score of the group at the last visit; NaN before the first."""

    def choose(self, index: int) -> tuple[int, ...] | None:
        """Return the positions of the criteria to judge the prompt at `index` by; None if it has no list of criteria.

        All criteria while one has no score yet. Then easy-first: in descending order of mean score, up to and including the
        first failed one. failed: those below the pass mark, or all if none is.
        """
        means = self.means[self._offsets[index] : self._offsets[index + 1]]
        everything = tuple(range(len(means)))
        if not everything:
            return None
        if self._mode == "all" or np.isnan(means).any():
            return everything
        is_failed = means < self._pass_mark
        if self._mode == "failed":
            return tuple(np.flatnonzero(is_failed).tolist()) or everything
        passed = int((~is_failed).sum())
        easiest = np.argsort(-means, kind="stable")[: passed + 1]
        return tuple(sorted(easiest.tolist()))

    def record(self, index: int, means: CriterionMeans) -> None:
        """Store the mean scores from a visit to the prompt at `index`."""
        for position, mean in means:
            self.means[self._offsets[index] + position] = mean

    @property
    def passed(self) -> float | None:
        """The fraction of scored criteria whose last mean reached the pass mark; None before the first score."""
        known = self.means[~np.isnan(self.means)]
        return float((known >= self._pass_mark).mean()) if len(known) else None


def group_means(chosen: Sequence[int] | None, scores: Sequence[Sequence[float] | None]) -> CriterionMeans:
    """Return the mean scores of a group by criterion; empty without criteria or scores.

    Args:
        chosen: Positions of the criteria that it was judged by.
        scores: The scores of each response in the order of `chosen`, then of its constraints; None without a verdict.
    """
    rows = [row[: len(chosen)] for row in scores if row is not None and len(row) >= len(chosen)] if chosen else []
    if not rows or chosen is None:
        return ()
    return tuple(zip(chosen, np.asarray(rows, dtype=np.float64).mean(0).tolist(), strict=True))


def scored_criteria(prompt: PromptRow) -> list[Criterion]:
    """Return the criteria of a prompt without hard constraints; empty if it has no list of criteria."""
    return [it for it in prompt.criteria if not it.hard] if isinstance(prompt.criteria, list) else []


def judged_by(prompt: PromptRow, chosen: Sequence[int] | None) -> PromptRow:
    """Return the prompt with only the chosen criteria and its hard constraints; None leaves the prompt unchanged."""
    if chosen is None or not isinstance(prompt.criteria, list):
        return prompt
    scored = scored_criteria(prompt)
    return prompt.model_copy(
        update={"criteria": [*(scored[it] for it in chosen), *(it for it in prompt.criteria if it.hard)]}
    )


def restore_means(schedule: CriteriaSchedule, saved: np.ndarray, *, source: str) -> None:
    """Restore the state of a schedule.

    Raises:
        BadInputError: it belongs to other criteria; `source` is named.
    """
    if saved.shape != schedule.means.shape:
        raise BadInputError(f"{source}: belongs to a run with {len(saved)} criteria, not {len(schedule.means)}")
    schedule.means = saved
