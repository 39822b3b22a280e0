"""Bradley-Terry strengths on the Elo scale, from a matrix of wins; a tie is half a win for each side.

Maximum likelihood by Newton's method. A faint prior (each pair that met also met in a drawn game of weight `PRIOR`) keeps
models that won or lost everything at a finite rating; it moves the others by less than an Elo point.
"""

from collections.abc import Sequence

import numpy as np

Numbers = Sequence[int] | Sequence[float] | np.ndarray
ELO_PER_LOGIT = 400 / np.log(10)
PRIOR = 1e-3
_TOLERANCE = 1e-9
_MOST_STEPS = 100
_LONGEST_STEP = 2.0


def win_matrix(a: Numbers, b: Numbers, scores: Numbers, *, models: int) -> np.ndarray:
    """[models, models] wins of the row over the column.

    Args:
        a: [games] index of one model.
        b: [games] index of the other.
        scores: [games] what `a` got: 1, 0.5 (tie) or 0.
        models: how many there are.
    """
    wins = np.zeros((models, models))
    np.add.at(wins, (np.asarray(a), np.asarray(b)), np.asarray(scores, dtype=np.float64))
    np.add.at(wins, (np.asarray(b), np.asarray(a)), 1 - np.asarray(scores, dtype=np.float64))
    return wins


def elo_ratings(wins: np.ndarray, *, mean: float = 1000.0) -> np.ndarray:
    """[models] Elo ratings with average `mean`; 400 points are odds of 10 to 1.

    Args:
        wins: [models, models] wins of the row over the column, ties as halves.
        mean: what the ratings average to.

    Raises:
        ValueError: the matrix is not square, holds a negative number, or falls into models that never met.
    """
    games = _check(wins)
    met = games > 0
    games = games + PRIOR * met
    won = ((wins + PRIOR / 2) * met).sum(axis=1)
    strengths = np.zeros(len(wins))
    for _ in range(_MOST_STEPS):
        expected = games / (1 + np.exp(strengths[None, :] - strengths[:, None]))
        information = expected * (1 - expected / np.where(met, games, 1))
        hessian = np.diag(information.sum(axis=1)) - information
        # The likelihood knows differences only: adding the constant direction fixes their mean at zero.
        step = np.linalg.solve(hessian + 1 / len(wins), won - expected.sum(axis=1))
        strengths += np.clip(step, -_LONGEST_STEP, _LONGEST_STEP)
        strengths -= strengths.mean()
        if np.abs(step).max() < _TOLERANCE:
            break
    return mean + ELO_PER_LOGIT * strengths


def _check(wins: np.ndarray) -> np.ndarray:
    if wins.ndim != 2 or wins.shape[0] != wins.shape[1] or (wins < 0).any():
        raise ValueError("needs a square matrix of wins without negative numbers")
    games = wins + wins.T
    reached = np.eye(len(wins), dtype=bool)[0]
    for _ in range(len(wins)):
        reached = reached | (games[reached] > 0).any(axis=0)
    if not reached.all():
        raise ValueError("some models never met, directly or through others: their ratings cannot be compared")
    np.fill_diagonal(games, 0)
    return games
