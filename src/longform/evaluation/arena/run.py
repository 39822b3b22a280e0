"""Ratings from files of games: by all judges together and by each, with or without control for length."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from longform.evaluation.arena.game_fields import GameLengths, cluster_of, counted_lengths, stated_lengths
from longform.evaluation.arena.ratings import Arena, rate_arena
from longform.evaluation.arena.tables import Meetings, meeting_table, meetings, rating_tables
from longform.evaluation.tables import Table, plain
from longform.judging.both_orders import split_pairs
from longform.records.errors import BadInputError
from longform.records.files import read_all
from longform.records.schemas import UNNAMED_JUDGE, Game, Response


@dataclass(frozen=True, slots=True)
class ArenaView:
    """The ratings by one judge, or by all."""

    judge: str | None
    arena: Arena
    uncontrolled: Arena | None
    """The same without control for length; None if there is none."""

    @property
    def title(self) -> str:
        """Title of its tables."""
        by = "" if self.judge is None else f" by {self.judge}"
        return f"Ratings{by}" + ("" if self.uncontrolled is None else ", controlled for length")

    def figures(self) -> dict[str, Any]:
        """Its ratings, and the effect of length."""
        uncontrolled = {"uncontrolled": self.uncontrolled.standings} if self.uncontrolled is not None else {}
        lengths = {"lengths": self.arena.lengths, "inseparable": self.arena.inseparable}
        return {"standings": self.arena.standings} | lengths | uncontrolled


@dataclass(frozen=True, slots=True)
class ArenaReport:
    """Everything that files of games say."""

    views: Sequence[ArenaView]
    """By all judges; then by each, if asked for."""
    meetings: Meetings | None
    judges: Mapping[str, int]
    """Games by judge."""
    games: int
    prompts: int
    without_other_order: int
    """Games that lack their other order where others have both; they count, with the judge's position bias."""
    resamples: int
    seed: int

    def tables(self) -> list[Table]:
        """Ratings of each view, then who beats whom."""
        tables = [
            it for view in self.views for it in rating_tables(view.arena, view.title, uncontrolled=view.uncontrolled)
        ]
        if self.meetings is not None:
            tables.append(meeting_table(self.meetings, [it.model for it in self.views[0].arena.standings]))
        return tables

    def as_json(self) -> dict[str, Any]:
        """All of it as JSON."""
        by_judge = {str(view.judge): view.figures() for view in self.views[1:]}
        counts = {"games": self.games, "prompts": self.prompts, "judges": dict(self.judges)}
        counts |= {"without_other_order": self.without_other_order, "resamples": self.resamples, "seed": self.seed}
        return counts | plain(self.views[0].figures() | {"by_judge": by_judge or None, "matrix": self.meetings})


def rate_files(
    games: Sequence[Path],
    *,
    anchors: Mapping[str, float] | None = None,
    judge: str | None = None,
    per_judge: bool = False,
    control_length: bool = False,
    responses: Sequence[Path] = (),
    with_meetings: bool = False,
    resamples: int = 1000,
    seed: int = 0,
) -> ArenaReport:
    """Rate models by files of games, see `rate_arena`.

    Args:
        games: files of games.
        anchors: Elo points of models whose ratings are given.
        judge: use only the games of this judge.
        per_judge: also rate by each judge alone.
        control_length: rate as if both texts of each game had been equally long; needs `words_a` and `words_b` in the games,
            or `responses`.
        responses: files with the texts that played, to count their words.
        with_meetings: also state who beats whom.
        resamples: bootstrap samples behind the intervals.
        seed: of the draws.

    Raises:
        BadInputError: a bad row, no games of `judge`, missing lengths, or an anchor that cannot be held.
    """
    played = _judged_by(judge, list(read_all(games, Game)))
    lengths = _lengths(played, responses, control_length=control_length)
    judges = Counter(map(_judge, played))
    views = [
        _view(name, played, lengths, anchors or {}, resamples=resamples, seed=seed)
        for name in (None, *(sorted(judges) if per_judge else ()))
    ]
    return ArenaReport(
        views=views,
        meetings=meetings(played, resamples=resamples, seed=seed) if with_meetings else None,
        judges=judges,
        games=len(played),
        prompts=len(set(map(cluster_of, played))),
        without_other_order=_count_alone(played),
        resamples=resamples,
        seed=seed,
    )


def parse_anchors(given: Sequence[str]) -> dict[str, float]:
    """Anchors from NAME=RATING; the name may hold "=" itself.

    Raises:
        BadInputError: not of this form, or two ratings for one name.
    """
    anchors: dict[str, float] = {}
    for text in given:
        name, _, rating = text.rpartition("=")
        try:
            points = float(rating)
        except ValueError:
            points = math.nan
        if not name or not math.isfinite(points):
            raise BadInputError(f"--anchor {text}: needs NAME=RATING, such as baseline=1000")
        if anchors.setdefault(name, points) != points:
            raise BadInputError(f"--anchor {name}: has two ratings, {anchors[name]:g} and {points:g}")
    return anchors


def _view(
    judge: str | None,
    games: Sequence[Game],
    lengths: GameLengths | None,
    anchors: Mapping[str, float],
    *,
    resamples: int,
    seed: int,
) -> ArenaView:
    """Rate by the games of one judge, or of all; a judge's games may lack some of the anchors."""
    if judge is not None:
        chosen = [index for index, game in enumerate(games) if _judge(game) == judge]
        games = [games[index] for index in chosen]
        lengths = None if lengths is None else [lengths[index] for index in chosen]
        played = {name for game in games for name in (game.model_a, game.model_b)}
        anchors = {name: points for name, points in anchors.items() if name in played}
    uncontrolled = rate_arena(games, anchors=anchors, resamples=resamples, seed=seed)
    if lengths is None:
        return ArenaView(judge, uncontrolled, None)
    controlled = rate_arena(games, lengths=lengths, anchors=anchors, resamples=resamples, seed=seed)
    return ArenaView(judge, controlled, uncontrolled)


def _count_alone(games: Sequence[Game]) -> int:
    """Games without their other order, if others have both; games that were played once each lack nothing."""
    whole, alone = split_pairs([game for game in games if game.order is not None])
    return len(alone) if whole else 0


def _judge(game: Game) -> str:
    return UNNAMED_JUDGE if game.judge is None else game.judge


def _judged_by(judge: str | None, games: list[Game]) -> list[Game]:
    """The games that `judge` decided; all if it is None."""
    chosen = [game for game in games if judge is None or _judge(game) == judge]
    if not chosen:
        names = ", ".join(sorted({_judge(game) for game in games}))
        raise BadInputError(f"--judge {judge}: decided none of the games; judges: {names}")
    return chosen


def _lengths(games: list[Game], responses: Sequence[Path], *, control_length: bool) -> GameLengths | None:
    """Words of the two texts of each game, if they are to be controlled for."""
    if not control_length:
        if responses:
            raise BadInputError("--responses: only valid with --control-length")
        return None
    return counted_lengths(games, read_all(responses, Response)) if responses else stated_lengths(games)
