"""Numbers with a 95% interval over prompts, as every part of the evaluation states them."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np

from longform.evaluation.tables import NoInterval, explain
from longform.statistics.bootstrap import Interval, clustered_interval, interval_of_sums


class ClusteredEstimate(NamedTuple):
    """A number with its 95% interval over prompts, and what it rests on."""

    value: Interval
    n: int
    """Verdicts, pairs or answers, as the figure says."""
    prompts: int

    @property
    def cell(self) -> Interval | NoInterval:
        """The number with its interval, or why it has none."""
        return explain(self.value, prompts=self.prompts)

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        return {"value": self.cell, "n": self.n, "prompts": self.prompts}


class Bootstrap(NamedTuple):
    """How intervals are drawn."""

    resamples: int = 1000
    seed: int = 0

    def mean(self, values: Sequence[tuple[float, Hashable]]) -> ClusteredEstimate | None:
        """The mean of (value, prompt); None where there are none."""
        if not values:
            return None
        numbers, prompts = zip(*values, strict=True)
        interval = clustered_interval(numbers, prompts, resamples=self.resamples, seed=self.seed)
        return ClusteredEstimate(interval, len(numbers), len(set(prompts)))

    def of_sums(
        self, parts: np.ndarray, prompts: Sequence[Hashable], statistic: Callable[[np.ndarray], np.ndarray]
    ) -> ClusteredEstimate | None:
        """A statistic of sums of `parts` [items, ...]; None where there are none."""
        if not len(parts):
            return None
        interval = interval_of_sums(parts, prompts, statistic, resamples=self.resamples, seed=self.seed)
        return ClusteredEstimate(interval, len(parts), len(set(prompts)))
