"""Control for length: how much longer texts are favoured, and whether length is collinear with the model.

The covariate of a game is (a - b) / (a + b), where a and b are the word counts of its texts. If each model's texts are
longer than another's by a constant ratio, length is collinear with the model and cannot be controlled for.
"""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from longform.evaluation.arena.game_fields import GameLengths
from longform.evaluation.tables import explain
from longform.statistics.bootstrap import Interval
from longform.statistics.bradley_terry import ELO_PER_LOGIT
from longform.statistics.ratings import COVARIATE_STEP, Results

TWICE_AS_LONG = 1 / 3
"""(a - b) / (a + b) for a text twice as long as the other."""


@dataclass(frozen=True, slots=True)
class LengthEffect:
    """The effect of length on the games of a component."""

    component: int
    games: int
    prompts: int
    coefficient: Interval
    """Log odds per standard deviation of the relative length difference, as reported by Chatbot Arena."""
    deviation: float
    """That standard deviation, around 0."""
    twice_as_long: Interval
    """Elo points gained by a text twice as long as the other."""

    def as_json(self) -> dict[str, Any]:
        """Return a JSON-serializable dictionary; estimates without an interval include the reason."""
        numbers = {it: explain(getattr(self, it), prompts=self.prompts) for it in ("coefficient", "twice_as_long")}
        return {field.name: numbers.get(field.name, getattr(self, field.name)) for field in fields(self)}


def relative_differences(lengths: GameLengths) -> np.ndarray:
    """Return (a - b) / (a + b), [games]; 0 if both texts are empty."""
    a, b = np.asarray(lengths, dtype=np.float64).reshape(-1, 2).T
    return np.divide(a - b, a + b, out=np.zeros(len(a)), where=a + b > 0)


def follows_from_models(results: Results, models: int) -> bool:
    """Whether the covariate is collinear with the models (a sum of one number per model), up to rounding."""
    longer = results.covariate
    assert longer is not None, "there are lengths"
    games = np.zeros((models, models))
    np.add.at(games, (results.first, results.second), 1)
    games += games.T
    sums = (np.bincount(side, weights=longer, minlength=models) for side in (results.first, results.second))
    lead = np.subtract(*sums)
    explained = lead @ np.linalg.pinv(np.diag(games.sum(axis=0)) - games) @ lead
    return bool(longer @ longer - explained < len(longer) * COVARIATE_STEP**2)


def describe_effect(per_unit: Interval, results: Results, component: int) -> LengthEffect:
    """Describe the effect of length from its coefficient per unit of the covariate."""
    assert results.covariate is not None, "there is a coefficient"
    deviation = float(np.sqrt(np.mean(results.covariate**2)))
    return LengthEffect(
        component,
        len(results.covariate),
        len(np.unique(results.clusters)),
        Interval(*(deviation * it for it in per_unit)),
        deviation,
        Interval(*(TWICE_AS_LONG * ELO_PER_LOGIT * it for it in per_unit)),
    )
