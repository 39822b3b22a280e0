"""Ratings from games, with intervals.

Bradley-Terry on the Elo scale, ties count half. Intervals are a bootstrap over prompts: both orders, repeated samples and
all pairs of models on a prompt are one piece of evidence, and so are prompts that games assign to one `cluster`. Models not
connected by games are rated separately. A game may count for several wins (`weight`).
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

import numpy as np

from longform.evaluation.arena.game_fields import GameLengths, cluster_of, weight_of
from longform.evaluation.arena.length_control import (
    LengthEffect,
    describe_effect,
    follows_from_models,
    relative_differences,
)
from longform.evaluation.tables import SINGLE_PROMPT, NoInterval, explain
from longform.records.errors import BadInputError
from longform.records.schemas import GAME_SCORES, Game
from longform.statistics.bootstrap import Interval, clustered_interval
from longform.statistics.connections import label_groups
from longform.statistics.ratings import Ratings, Results, rate

MAX_APART = 5000.0
"""Maximum difference between anchors in Elo points: odds of 3e12 to 1, beyond which the likelihood is numerically flat."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The rating of one model. Bounds are NaN if the variance is unknown."""

    model: str
    rating: Interval
    """Elo points: 400 are odds of 10 to 1. Without anchors, models with finite rating differences average 1000."""
    win_rate: Interval
    """Ties count half."""
    games: int
    prompts: int
    component: int = 0
    """Ratings are only comparable within a component; 0 is the largest."""
    anchored: bool = False
    """Whether the rating is fixed."""
    unbounded: bool = False
    """The model, or a group with it, won or lost every game against the rest: its rank is known, its rating gap is not."""

    @property
    def rated(self) -> Interval | NoInterval:
        """The rating with its interval, or with the reason why it has none."""
        if self.anchored or self.unbounded:
            return NoInterval(self.rating.estimate, "fixed" if self.anchored else "rank only")
        if math.isnan(self.rating.low + self.rating.high):
            return NoInterval(self.rating.estimate, SINGLE_PROMPT)
        return self.rating

    def as_json(self) -> dict[str, Any]:
        """Return a JSON-serializable dictionary; estimates without an interval include the reason."""
        numbers = {"rating": self.rated, "win_rate": explain(self.win_rate, prompts=self.prompts)}
        return {field.name: numbers.get(field.name, getattr(self, field.name)) for field in fields(self)}


@dataclass(frozen=True, slots=True)
class Arena:
    """Ratings of all models."""

    standings: list[Standing]
    """By component, best first."""
    lengths: list[LengthEffect]
    """Effect of length per component, if lengths were controlled for."""
    inseparable: list[int] = field(default_factory=list)
    """Components in which length is collinear with the model and was not controlled for."""


class _Players(NamedTuple):
    """Numbered games: models are numbered by name, prompts by id, so that the order of the games does not matter.

    A prompt here is a cluster: everything that is resampled together.
    """

    models: list[str]
    prompts: list[str]
    a: np.ndarray
    b: np.ndarray
    scores: np.ndarray
    clusters: np.ndarray
    weights: np.ndarray


def rate_arena(
    games: Sequence[Game],
    *,
    lengths: GameLengths | None = None,
    anchors: Mapping[str, float] | None = None,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Arena:
    """Rate the models, each connected component separately, best first.

    With `lengths`, models are rated as if both texts of every game were equally long. The covariate is (a - b) / (a + b),
    divided by its standard deviation (Chatbot Arena's style control, 2024). Unlike there, it is not centred, because the
    result must not depend on which text is called a.

    Args:
        games: The games, with optional `cluster` and `weight` (`game_fields`).
        lengths: [games] numbers of words of model_a's and model_b's texts.
        anchors: Fixed ratings in Elo points. The other models are fitted around them; a single anchor only shifts the scale.
        resamples: Number of bootstrap samples.
        seed: Random seed.
        level: Confidence level.

    Raises:
        BadInputError: there are no games, a game is between a model and itself, or an anchor is not finite, has no games, or
            is too far from another.
    """
    anchors = anchors or {}
    _check(games, anchors)
    players = _number(games)
    relative = None if lengths is None else relative_differences(lengths)
    standings, effects, inseparable = [], [], []
    for component, members in enumerate(_components(players)):
        inside = np.isin(players.a, members)
        results = Results(
            np.searchsorted(members, players.a[inside]),
            np.searchsorted(members, players.b[inside]),
            players.scores[inside],
            np.unique(players.clusters[inside], return_inverse=True)[1],
            None if relative is None else relative[inside],
        )
        names = [players.models[member] for member in members]
        if results.covariate is not None and np.any(results.covariate) and follows_from_models(results, len(names)):
            results = results._replace(covariate=None)
            inseparable.append(component)
        fixed = {index: anchors[name] for index, name in enumerate(names) if name in anchors}
        sampling = {"resamples": resamples, "seed": seed, "level": level}
        rated = _rate(results, players.weights[inside], models=len(names), fixed=fixed, **sampling)
        standings += _standings(rated, results, names, component=component, anchored=fixed)
        if rated.coefficient is not None:
            effects.append(describe_effect(rated.coefficient, results, component))
    return Arena(standings, effects, inseparable)


def _check(games: Sequence[Game], anchors: Mapping[str, float]) -> None:
    if not games:
        raise BadInputError("there are no games to rate")
    played = set()
    for game in games:
        if game.model_a == game.model_b:
            raise BadInputError(f"prompt {game.prompt_id!r}: model_a and model_b are both {game.model_a!r}")
        played.update((game.model_a, game.model_b))
    for name, points in anchors.items():
        if not math.isfinite(points):
            raise BadInputError(f"anchor {name!r}: needs a finite rating, got {points}")
        if name not in played:
            raise BadInputError(f"anchor {name!r}: has no games; models: {', '.join(sorted(played))}")
    low, high = (choose(anchors, key=anchors.__getitem__, default="") for choose in (min, max))
    if anchors and anchors[high] - anchors[low] > MAX_APART:
        raise BadInputError(f"anchors {low!r} and {high!r}: ratings must be at most {MAX_APART:g} points apart")


def _number(games: Sequence[Game]) -> _Players:
    models = sorted({game.model_a for game in games} | {game.model_b for game in games})
    clusters = [cluster_of(game) for game in games]
    prompts = sorted(set(clusters))
    model_index = {model: index for index, model in enumerate(models)}
    prompt_index = {prompt: index for index, prompt in enumerate(prompts)}
    return _Players(
        models,
        prompts,
        np.array([model_index[game.model_a] for game in games]),
        np.array([model_index[game.model_b] for game in games]),
        np.array([GAME_SCORES[game.winner] for game in games]),
        np.array([prompt_index[cluster] for cluster in clusters]),
        np.array([weight_of(game) for game in games]),
    )


def _components(players: _Players) -> list[np.ndarray]:
    """Return the models of each component, ascending; components are ordered by number of models, then games."""
    everything = np.ones((len(players.a), 1), dtype=bool)
    labels = label_groups(players.a, players.b, everything, models=len(players.models), strong=False)[:, 0]
    games = Counter(labels[players.a].tolist())
    components = [np.flatnonzero(labels == label) for label in games]
    return sorted(components, key=lambda members: (-len(members), -games[int(labels[members[0]])], members[0]))


def _rate(
    results: Results, weights: np.ndarray, *, models: int, fixed: Mapping[int, float], **sampling: Any
) -> Ratings:
    """Rate models from games with `weights` [games]; win rates count each game once."""
    if not np.any(weights != 1):
        return rate(results, models=models, fixed=fixed, **sampling)
    repeated = Results(*(it if it is None else np.repeat(it, weights) for it in results))  # pyright: ignore[reportArgumentType]
    rated = rate(repeated, models=models, fixed=fixed, **sampling)
    return rated._replace(win_rates=[_win_rate(results, index, **sampling) for index in range(models)])


def _win_rate(results: Results, index: int, **sampling: Any) -> Interval:
    """Return the fraction of its games that a model won, ties half."""
    first, second = results.first == index, results.second == index
    scores = np.concatenate([results.scores[first], 1 - results.scores[second]])
    clusters = np.concatenate([results.clusters[first], results.clusters[second]])
    order = np.argsort(clusters, kind="stable")
    return clustered_interval(scores[order], clusters[order].tolist(), **sampling)


def _standings(
    rated: Ratings, results: Results, names: list[str], *, component: int, anchored: Mapping[int, float]
) -> list[Standing]:
    players, prompts = np.concatenate([results.first, results.second]), np.tile(results.clusters, 2)
    games = np.bincount(players, minlength=len(names))
    span = int(prompts.max()) + 1
    num_prompts = np.bincount(np.unique(players * span + prompts) // span, minlength=len(names))
    standings = [
        Standing(
            model=name,
            rating=rated.ratings[index],
            win_rate=rated.win_rates[index],
            games=int(games[index]),
            prompts=int(num_prompts[index]),
            component=component,
            anchored=index in anchored,
            unbounded=bool(rated.placed[index]),
        )
        for index, name in enumerate(names)
    ]
    return sorted(standings, key=lambda it: (-it.rating.estimate, it.model))
