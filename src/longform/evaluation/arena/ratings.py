"""From games to ratings: who is better, by how much, and how sure that is.

Bradley-Terry on the Elo scale, ties half. Intervals are a bootstrap over prompts: both orders, repeated samples and all
pairs of models on a prompt are one piece of evidence, and so are the prompts that games name as one `cluster`. Models that
never met, directly or through others, are rated apart. A game may count for several wins (`weight`).
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
"""Elo points between anchors: odds of 3e12 to 1, beyond which the fit has no slope to follow."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One model among those it met. NaN bounds where nothing is known of the spread."""

    model: str
    rating: Interval
    """Elo points: 400 are odds of 10 to 1. Without anchors those whose distances are known average 1000."""
    win_rate: Interval
    """Ties half."""
    games: int
    prompts: int
    component: int = 0
    """Ratings compare within a component only; 0 is the largest."""
    anchored: bool = False
    """The rating is given."""
    unbounded: bool = False
    """It, or a group it is in, only won or only lost against the rest: its place is known, its distance is not."""

    @property
    def rated(self) -> Interval | NoInterval:
        """The rating with its interval, or why it has none."""
        if self.anchored or self.unbounded:
            return NoInterval(self.rating.estimate, "fixed" if self.anchored else "place only")
        if math.isnan(self.rating.low + self.rating.high):
            return NoInterval(self.rating.estimate, SINGLE_PROMPT)
        return self.rating

    def as_json(self) -> dict[str, Any]:
        """All of it; numbers without an interval say why."""
        numbers = {"rating": self.rated, "win_rate": explain(self.win_rate, prompts=self.prompts)}
        return {field.name: numbers.get(field.name, getattr(self, field.name)) for field in fields(self)}


@dataclass(frozen=True, slots=True)
class Arena:
    """Models as their games rate them."""

    standings: list[Standing]
    """By component, best first."""
    lengths: list[LengthEffect]
    """Of each component with texts of different lengths, where lengths were controlled for."""
    inseparable: list[int] = field(default_factory=list)
    """Components that could not be controlled: how much longer a text is follows from who wrote it and the other one."""


class _Players(NamedTuple):
    """Games by number: models are numbered by name, prompts by id, so that the order of the games does not matter.

    A prompt here is all that belongs together.
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
    """Rate the models that played, each component by itself, best first.

    With `lengths` they are rated as if both texts of every game had been equally long. Length is a covariate of the
    model: (a - b) / (a + b), divided by its standard deviation (Chatbot Arena's style control, 2024). Unlike there it is
    not centred, since which text is called a must not matter.

    Args:
        games: who beat whom on which prompt; with `cluster` and `weight` if they have them (`game_fields`).
        lengths: [games] words of model_a's and of model_b's text.
        anchors: Elo points of models whose ratings are given. The others are fitted around all of them at once; one anchor
            shifts the scale.
        resamples: bootstrap samples of the prompts.
        seed: of their draws.
        level: confidence of the intervals.

    Raises:
        BadInputError: no games, a game of a model with itself, or an anchor that is not finite, played no game, or is too
            far from another.
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
        fixed = {place: anchors[name] for place, name in enumerate(names) if name in anchors}
        sampling = {"resamples": resamples, "seed": seed, "level": level}
        rated = _rate(results, players.weights[inside], models=len(names), fixed=fixed, **sampling)
        standings += _standings(rated, results, names, component=component, anchored=fixed)
        if rated.coefficient is not None:
            effects.append(describe_effect(rated.coefficient, results, component))
    return Arena(standings, effects, inseparable)


def _check(games: Sequence[Game], anchors: Mapping[str, float]) -> None:
    if not games:
        raise BadInputError("there are no games to rate models by")
    played = set()
    for game in games:
        if game.model_a == game.model_b:
            raise BadInputError(
                f"prompt {game.prompt_id!r}: model_a and model_b are both {game.model_a!r}: a game needs two models"
            )
        played.update((game.model_a, game.model_b))
    for name, points in anchors.items():
        if not math.isfinite(points):
            raise BadInputError(f"anchor {name!r}: needs a finite number of Elo points, got {points}")
        if name not in played:
            raise BadInputError(f"anchor {name!r}: played no game")
    low, high = (choose(anchors, key=anchors.__getitem__, default="") for choose in (min, max))
    if anchors and anchors[high] - anchors[low] > MAX_APART:
        raise BadInputError(f"anchors {low!r} and {high!r}: no games fit ratings more than {MAX_APART:g} points apart")


def _number(games: Sequence[Game]) -> _Players:
    models = sorted({game.model_a for game in games} | {game.model_b for game in games})
    clusters = [cluster_of(game) for game in games]
    prompts = sorted(set(clusters))
    model_place = {model: place for place, model in enumerate(models)}
    prompt_place = {prompt: place for place, prompt in enumerate(prompts)}
    return _Players(
        models,
        prompts,
        np.array([model_place[game.model_a] for game in games]),
        np.array([model_place[game.model_b] for game in games]),
        np.array([GAME_SCORES[game.winner] for game in games]),
        np.array([prompt_place[cluster] for cluster in clusters]),
        np.array([weight_of(game) for game in games]),
    )


def _components(players: _Players) -> list[np.ndarray]:
    """Numbers of the models of each component, ascending; the component with the most models, then games, first."""
    met = np.ones((len(players.a), 1), dtype=bool)
    labels = label_groups(players.a, players.b, met, models=len(players.models), strong=False)[:, 0]
    games = Counter(labels[players.a].tolist())
    found = [np.flatnonzero(labels == label) for label in games]
    return sorted(found, key=lambda members: (-len(members), -games[int(labels[members[0]])], members[0]))


def _rate(
    results: Results, weights: np.ndarray, *, models: int, fixed: Mapping[int, float], **sampling: Any
) -> Ratings:
    """Ratings by games that count as often as `weights` [games] says; win rates count each once."""
    if not np.any(weights != 1):
        return rate(results, models=models, fixed=fixed, **sampling)
    repeated = Results(*(it if it is None else np.repeat(it, weights) for it in results))  # pyright: ignore[reportArgumentType]
    rated = rate(repeated, models=models, fixed=fixed, **sampling)
    return rated._replace(win_rates=[_win_rate(results, place, **sampling) for place in range(models)])


def _win_rate(results: Results, place: int, **sampling: Any) -> Interval:
    """The share of its games that one model won, ties half."""
    first, second = results.first == place, results.second == place
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
    met = np.bincount(np.unique(players * span + prompts) // span, minlength=len(names))
    found = [
        Standing(
            model=name,
            rating=rated.ratings[place],
            win_rate=rated.win_rates[place],
            games=int(games[place]),
            prompts=int(met[place]),
            component=component,
            anchored=place in anchored,
            unbounded=bool(rated.placed[place]),
        )
        for place, name in enumerate(names)
    ]
    return sorted(found, key=lambda it: (-it.rating.estimate, it.model))
