"""Elo ratings from games, with intervals from a bootstrap over clusters (prompts).

In a resample, models may be disconnected from the others, or one may win every game. Each resample therefore rates the
models of its largest connected component. Within it, the largest group with finite rating differences (`connections`) keeps
the mean that it has in the estimate, so that an unbounded model does not shift the others. A model rated in fewer than
`MIN_RATED` of the resamples has no interval. With fixed models, the component connected with them takes the place of the
largest one. A bound at the limit set by the prior means that the games imply no bound.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array, csr_array

from longform.statistics.bootstrap import Interval, percentile_interval, resample_clusters
from longform.statistics.bradley_terry import ELO_PER_LOGIT, Cells, Strengths, fit
from longform.statistics.connections import in_largest, label_groups

MEAN_RATING = 1000.0
MIN_RATED = 0.8
"""Minimum fraction of resamples that rate a model. About a third of the resamples lack a given prompt, so a model connected
through a single prompt is below this value, and one connected through two is above it."""
COVARIATE_STEP = 0.01
"""Covariates are rounded to multiples of this, so that a million games fit into few cells."""
_NUMBERS_AT_ONCE = 4_000_000


class Results(NamedTuple):
    """Games between connected models. Models and clusters are numbered from 0."""

    first: np.ndarray
    """[games] index of one model."""
    second: np.ndarray
    """[games] index of the other."""
    scores: np.ndarray
    """[games] score of `first`: 1, 0.5 (tie) or 0."""
    clusters: np.ndarray
    """[games] index of the cluster."""
    covariate: np.ndarray | None = None
    """[games] covariate of `first` minus that of `second`, between -1 and 1; None: no covariate."""


class Ratings(NamedTuple):
    """Ratings and win rates of each model; bounds are NaN if the variance is unknown."""

    ratings: list[Interval]
    """[models] Elo points."""
    win_rates: list[Interval]
    """[models] ties count half."""
    placed: np.ndarray
    """[models] True if only the rank is known and the prior determines the rating difference."""
    coefficient: Interval | None
    """Log odds per unit of the covariate; None without a covariate or if it is 0 in all games."""


def rate(
    results: Results,
    *,
    models: int,
    fixed: Mapping[int, float] | None = None,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Ratings:
    """Rate models.

    Args:
        results: The games.
        models: Number of models.
        fixed: Fixed ratings in Elo points. Without any, the ratings average 1000 over the models with finite rating
            differences (over all models if there are none).
        resamples: Number of bootstrap samples.
        seed: Random seed; the order of the games does not affect the intervals.
        level: Confidence level.

    Raises:
        ValueError: the games do not connect the models.
    """
    held = {model: (points - MEAN_RATING) / ELO_PER_LOGIT for model, points in (fixed or {}).items()}
    rater = _Rater(results, models, held)
    whole = rater.rate(np.ones((rater.clusters, 1)))
    parts = []
    if rater.clusters > 1:
        batch = max(1, _NUMBERS_AT_ONCE // max(rater.clusters, rater.numbers))
        drawn = resample_clusters(rater.clusters, resamples, seed=seed, draw="indices", batch=batch)
        parts = [rater.rate(_count(it), around=whole) for it in drawn]
    samples = _Sample(*(np.concatenate(arrays, axis=1) for arrays in zip(whole, *parts, strict=True)))
    known = samples.known[:, 0]
    return Ratings(
        [
            _interval(MEAN_RATING + ELO_PER_LOGIT * values, level, known=known[model] and model not in held)
            for model, values in enumerate(samples.strengths)
        ],
        [_interval(values, level) for values in samples.win_rates],
        ~known,
        _interval(samples.coefficient[0], level) if rater.controls else None,
    )


class _Sample(NamedTuple):
    """Ratings of one or more samples of the clusters; NaN if a sample does not rate a model."""

    strengths: np.ndarray
    """[models, samples]."""
    win_rates: np.ndarray
    """[models, samples]."""
    known: np.ndarray
    """[models, samples] whether a model is in the group with finite rating differences."""
    coefficient: np.ndarray
    """[1, samples], or [0, samples] without a covariate."""


class _Rater:
    """Aggregated results, so that a sample is a matrix product."""

    def __init__(self, results: Results, models: int, held: Mapping[int, float]) -> None:
        self.models, self.held = models, held
        self.pairs = self.fitted = _tally(results._replace(covariate=None), models)
        self.controls = results.covariate is not None and bool(np.any(results.covariate))
        if self.controls:
            self.fitted = _tally(results, models)
        self.clusters = int(results.clusters.max()) + 1
        self.numbers = max(len(self.fitted.cells.first), (models + 1) ** 2)

    def rate(self, weights: np.ndarray, *, around: "_Sample | None" = None) -> _Sample:
        """Rate samples: `weights` [clusters, samples] has the count of each cluster; `around` is the estimate."""
        strengths, coefficient = fit(
            self.fitted.cells,
            self.fitted.games @ weights,
            self.fitted.wins @ weights,
            models=self.models,
            fixed=self.held,
            start=None if around is None else Strengths(around.strengths, around.coefficient),
        )
        games, wins = self.pairs.games @ weights, self.pairs.wins @ weights
        rated, known = self._connected(games, wins)
        if not self.held:
            level = np.zeros_like(strengths[:, :1]) if around is None else around.strengths
            strengths = _moved(strengths, level, np.where(known.any(axis=0), known, rated))
        return _Sample(
            np.where(rated, strengths, np.nan),
            self._win_rates(games, wins),
            known,
            coefficient,
        )

    def _connected(self, games: np.ndarray, wins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return which models are rated, and which have finite rating differences, both [models, samples]."""
        first, second, held = *self.pairs.cells[:2], np.array(list(self.held), dtype=int)
        # The differences between fixed models are given, so they are linked in a cycle.
        start, end = np.concatenate([first, second, held]), np.concatenate([second, first, np.roll(held, -1)])
        there = np.concatenate([wins > 0, wins < games, np.ones((len(held), games.shape[1]), dtype=bool)])
        weak, strong = (label_groups(start, end, there, models=self.models, strong=it) for it in (False, True))
        if len(held):
            return weak == weak[held[0]], strong == strong[held[0]]
        rated = in_largest(weak)
        known = in_largest(strong, among=rated)
        return rated, known & (known.sum(axis=0) > 1)

    def _win_rates(self, games: np.ndarray, wins: np.ndarray) -> np.ndarray:
        """Return win rates, [models, samples], NaN without games."""
        played, won = np.zeros((2, self.models, games.shape[1]))
        for model, more in ((self.pairs.cells.first, wins), (self.pairs.cells.second, games - wins)):
            np.add.at(played, model, games)
            np.add.at(won, model, more)
        return np.divide(won, played, out=np.full_like(won, np.nan), where=played > 0)


class _Tally(NamedTuple):
    cells: Cells
    games: csr_array
    """[cells, clusters]."""
    wins: csr_array
    """[cells, clusters] wins of `first`, ties count half."""


def _tally(results: Results, models: int) -> _Tally:
    """Aggregate identical games within each cluster."""
    turned = results.first > results.second
    first, second = np.where(turned, [results.second, results.first], [results.first, results.second])
    scores = np.where(turned, 1 - results.scores, results.scores)
    steps = np.zeros(len(first), dtype=np.int64)
    if results.covariate is not None:
        steps = np.rint(np.where(turned, -1, 1) * results.covariate / COVARIATE_STEP).astype(np.int64)
    span = 2 * np.abs(steps).max() + 1
    keys, cell = np.unique((first * models + second) * span + steps + span // 2, return_inverse=True)
    shape = (len(keys), results.clusters.max() + 1)
    games, wins = (
        csr_array(coo_array((values, (cell, results.clusters)), shape=shape))  # sums duplicate entries
        for values in (np.ones(len(first)), scores)
    )
    covariate = (keys % span - span // 2) * COVARIATE_STEP if results.covariate is not None else None
    return _Tally(Cells(keys // span // models, keys // span % models, covariate), games, wins)


def _count(drawn: np.ndarray) -> np.ndarray:
    """Count how often each cluster was drawn, [clusters, samples], from the drawn indices, [samples, clusters]."""
    samples, clusters = drawn.shape
    counts = np.bincount((drawn + clusters * np.arange(samples)[:, None]).ravel(), minlength=samples * clusters)
    return np.ascontiguousarray(counts.reshape(samples, clusters).T, dtype=np.float64)


def _moved(strengths: np.ndarray, estimate: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Shift each sample's strengths so that the models in `kept` have the same mean as in `estimate`."""
    return strengths - np.where(kept, strengths - estimate, 0).sum(axis=0) / kept.sum(axis=0)


def _interval(values: np.ndarray, level: float, *, known: bool = True) -> Interval:
    """Return the percentile interval of `values`: the estimate followed by the resamples."""
    samples = values[1:] if known else np.empty(0)
    return percentile_interval(float(values[0]), samples, level, min_finite=MIN_RATED)
