"""Bradley-Terry strengths by maximum likelihood, with or without a covariate; a tie is half a win for each side.

Identical games are aggregated into cells, and Newton's method fits many resamples at once, so the cost depends on the number
of models rather than games. A weak prior (a tied game of weight `PRIOR` for each pair that met) keeps the ratings of models
that won or lost every game finite; it changes the others by less than an Elo point.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array, csr_array
from scipy.special import expit

from longform.statistics.connections import label_groups

ELO_PER_LOGIT = 400 / math.log(10)
"""400 Elo points are odds of 10 to 1."""
PRIOR = 1e-3
_TOLERANCE = 1e-8
_MAX_STEPS = 100
_LONGEST_STEP = 2.0


class Cells(NamedTuple):
    """Cells of identical games: the same two models and, with a covariate, the same value of it."""

    first: np.ndarray
    """[cells] index of the model whose wins are counted."""
    second: np.ndarray
    """[cells] index of the opponent."""
    covariate: np.ndarray | None = None
    """[cells] covariate of `first` minus that of `second`."""


class Strengths(NamedTuple):
    """log odds(first wins) = strength of first - strength of second + coefficient * covariate."""

    models: np.ndarray
    """[models, samples]."""
    coefficient: np.ndarray
    """[1, samples]; [0, samples] without a covariate."""


def fit(
    cells: Cells,
    games: np.ndarray,
    wins: np.ndarray,
    *,
    models: int,
    fixed: Mapping[int, float] | None = None,
    start: Strengths | None = None,
) -> Strengths:
    """Fit the strengths of each sample independently.

    Args:
        cells: The cells.
        games: [cells, samples] number of games.
        wins: [cells, samples] wins of `first`, ties as halves.
        models: Number of models.
        fixed: Fixed strengths by model; the other models are fitted. Without any, each sample's strengths average 0.
        start: Initial values; one sample, used for all.

    Raises:
        ValueError: there are more wins than games or negative numbers, or some models are not connected by games (directly,
            through others, or through two fixed models).
    """
    _check(cells, games, wins, models, fixed or {})
    parameters = models + (cells.covariate is not None)
    design, squares = _design(cells, models, parameters)
    turned = csr_array(design.T)
    free = np.array([i for i in range(parameters) if i not in (fixed or {})])
    faint = _faint(cells, models)[:, None]
    games, wins = games + faint, wins + faint / 2
    values = _begin(parameters, games.shape[1], models, fixed or {}, start)
    for _ in range(_MAX_STEPS):
        chance = expit(design @ values)
        expected = games * chance
        slope = (turned @ (wins - expected))[free].T
        information = (squares @ (expected * (1 - chance))).T.reshape(-1, parameters, parameters)
        if not fixed:
            # The likelihood depends only on differences; adding the constant direction fixes their mean.
            information[:, :models, :models] += 1 / models
        step = np.linalg.solve(information[:, free[:, None], free], slope[..., None])[..., 0].T
        longest = np.abs(step).max(axis=0, initial=0)
        values[free] += step * np.minimum(1, _LONGEST_STEP / np.maximum(longest, _TOLERANCE))
        if longest.max(initial=0) < _TOLERANCE:
            break
    if not fixed:
        values[:models] -= values[:models].mean(axis=0)
    return Strengths(values[:models], values[models:])


def _design(cells: Cells, models: int, parameters: int) -> tuple[csr_array, csr_array]:
    """Return the design matrix of the log odds, [cells, parameters], and products of its columns, [parameters^2, cells]."""
    ones = np.ones(len(cells.first))
    columns, entries = [cells.first, cells.second], [ones, -ones]
    if cells.covariate is not None:
        columns, entries = [*columns, np.full(len(ones), models)], [*entries, cells.covariate]
    pairs = [one * parameters + other for one in columns for other in columns]
    products = [one * other for one in entries for other in entries]
    return _sparse(columns, entries, parameters), csr_array(_sparse(pairs, products, parameters**2).T)


def _sparse(columns: list[np.ndarray], entries: list[np.ndarray], width: int) -> csr_array:
    """Build a sparse matrix, [cells, width], with entry k of row i in column columns[k][i]."""
    rows = np.tile(np.arange(len(columns[0])), len(columns))
    places = (rows, np.concatenate(columns))
    return csr_array(coo_array((np.concatenate(entries), places), shape=(len(columns[0]), width)))


def _faint(cells: Cells, models: int) -> np.ndarray:
    """Return the prior's games, [cells]: `PRIOR` for each pair that met, spread evenly over its cells."""
    low, high = np.minimum(cells.first, cells.second), np.maximum(cells.first, cells.second)
    _, pair, counts = np.unique(low * models + high, return_inverse=True, return_counts=True)
    return PRIOR / counts[pair]


def _begin(
    parameters: int, samples: int, models: int, fixed: Mapping[int, float], start: Strengths | None
) -> np.ndarray:
    """Return the initial values, [parameters, samples]."""
    values = np.zeros((parameters, samples))
    if fixed:
        values[:models] = np.mean(list(fixed.values()))
    if start is not None:
        values[:] = np.concatenate(start)
    for model, strength in fixed.items():
        values[model] = strength
    return values


def _check(cells: Cells, games: np.ndarray, wins: np.ndarray, models: int, fixed: Mapping[int, float]) -> None:
    if games.shape != wins.shape or (wins < 0).any() or (wins > games).any():
        raise ValueError("wins must have the shape of games and be between 0 and the number of games")
    if (cells.first == cells.second).any():
        raise ValueError("a model cannot play against itself")
    held = list(fixed)
    start, end = np.append(cells.first, held[:-1]).astype(int), np.append(cells.second, held[1:]).astype(int)
    groups = label_groups(start, end, np.ones((len(start), 1), dtype=bool), models=models, strong=False)
    if len(np.unique(groups)) > 1:
        raise ValueError("some models are not connected by games: their strengths cannot be compared")
