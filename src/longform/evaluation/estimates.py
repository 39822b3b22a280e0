"""Estimates with a 95% interval over prompts, used throughout the evaluation."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np

from longform.evaluation.tables import NoInterval, explain
from longform.statistics.bootstrap import Interval, clustered_interval, interval_of_sums


class ClusteredEstimate(NamedTuple):
    """A value with its 95% interval over prompts, and the number of cases."""

    value: Interval
    n: int
    """Number of verdicts, pairs or answers."""
    prompts: int

    @property
    def cell(self) -> Interval | NoInterval:
        """The value with its interval, or with the reason why it has none."""
        return explain(self.value, prompts=self.prompts)

    def as_json(self) -> dict[str, Any]:
        """Return a JSON-serializable dictionary."""
        return {"value": self.cell, "n": self.n, "prompts": self.prompts}


class Bootstrap(NamedTuple):
    """Bootstrap settings."""

    resamples: int = 1000
    seed: int = 0

    def mean(
        self, values: Sequence[tuple[float, Hashable]], weights: Sequence[float] | None = None
    ) -> ClusteredEstimate | None:
        """Return the mean of (value, prompt) pairs; None without any.

        Args:
            values: numbers with the prompts that they belong to.
            weights: of the values; by default all count the same.
        """
        if not values:
            return None
        numbers, prompts = zip(*values, strict=True)
        if weights is not None and len(set(weights)) > 1:
            parts = np.stack([np.multiply(weights, numbers), np.asarray(weights)], axis=1)
            return self.of_sums(parts, prompts, lambda sums: sums[:, 0] / sums[:, 1])
        interval = clustered_interval(numbers, prompts, resamples=self.resamples, seed=self.seed)
        return ClusteredEstimate(interval, len(numbers), len(set(prompts)))

    def of_sums(
        self, parts: np.ndarray, prompts: Sequence[Hashable], statistic: Callable[[np.ndarray], np.ndarray]
    ) -> ClusteredEstimate | None:
        """Return a statistic of the sum of `parts` [items, ...]; None without items."""
        if not len(parts):
            return None
        interval = interval_of_sums(parts, prompts, statistic, resamples=self.resamples, seed=self.seed)
        return ClusteredEstimate(interval, len(parts), len(set(prompts)))
