"""Ratings from games files: from all judges' games and from each judge's, with or without length control."""

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
from longform.judging.pairwise import split_pairs
from longform.records.adapting import AS_IS, Reading
from longform.records.errors import BadInputError
from longform.records.files import read_all
from longform.records.schemas import UNNAMED_JUDGE, Game, Response


@dataclass(frozen=True, slots=True)
class ArenaView:
    """Ratings from the games of one judge, or of all judges."""

    judge: str | None
    arena: Arena
    uncontrolled: Arena | None
    """The ratings without length control; None if lengths were not controlled for."""

    @property
    def title(self) -> str:
        """Title of the tables."""
        by = "" if self.judge is None else f" by {self.judge}"
        return f"Ratings{by}" + ("" if self.uncontrolled is None else ", controlled for length")

    def figures(self) -> dict[str, Any]:
        """Return the ratings and the effect of length."""
        uncontrolled = {"uncontrolled": self.uncontrolled.standings} if self.uncontrolled is not None else {}
        lengths = {"lengths": self.arena.lengths, "inseparable": self.arena.inseparable}
        return {"standings": self.arena.standings} | lengths | uncontrolled


@dataclass(frozen=True, slots=True)
class ArenaReport:
    """Result of rating games files."""

    views: Sequence[ArenaView]
    """Ratings from all judges' games, then from each judge's if requested."""
    meetings: Meetings | None
    judges: Mapping[str, int]
    """Number of games by judge."""
    games: int
    prompts: int
    without_other_order: int
    """Games judged in one order only, if others were judged in both; they count, with the judge's position bias."""
    resamples: int
    seed: int

    def tables(self) -> list[Table]:
        """Return the rating tables of each view, then win rates pair by pair."""
        tables = [
            it for view in self.views for it in rating_tables(view.arena, view.title, uncontrolled=view.uncontrolled)
        ]
        if self.meetings is not None:
            tables.append(meeting_table(self.meetings, [it.model for it in self.views[0].arena.standings]))
        return tables

    def as_json(self) -> dict[str, Any]:
        """Return a JSON-serializable dictionary."""
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
    reading: Reading = AS_IS,
) -> ArenaReport:
    """Rate models from games files (see `rate_arena`).

    Args:
        games: Games files.
        anchors: Fixed ratings in Elo points.
        judge: Use only this judge's games.
        per_judge: Also rate from each judge's games alone.
        control_length: Rate as if both texts of each game were equally long; needs `words_a` and `words_b` in the games, or
            `responses`.
        responses: Responses files with the texts of the games, for their word counts.
        with_meetings: Also report win rates pair by pair.
        resamples: Number of bootstrap samples.
        seed: Random seed.
        reading: How the files are read: renamed columns, and bad rows to skip.

    Raises:
        BadInputError: a row is invalid, `judge` has no games, lengths are missing, or an anchor is invalid.
    """
    played = _judged_by(judge, list(read_all(games, Game, reading)))
    lengths = _lengths(played, responses, reading, control_length=control_length)
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
    """Parse anchors of the form NAME=RATING; the name may contain "=".

    Raises:
        BadInputError: an anchor has another form, or a name has two ratings.
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
    """Rate from one judge's games, or from all; anchors without games of this judge are ignored."""
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
    """Count the games judged in one order only; 0 if no pair was judged in both orders."""
    complete, single = split_pairs([game for game in games if game.order is not None])
    return len(single) if complete else 0


def _judge(game: Game) -> str:
    return UNNAMED_JUDGE if game.judge is None else game.judge


def _judged_by(judge: str | None, games: list[Game]) -> list[Game]:
    """Return the games of `judge`; all games if it is None."""
    chosen = [game for game in games if judge is None or _judge(game) == judge]
    if not chosen:
        names = ", ".join(sorted({_judge(game) for game in games}))
        raise BadInputError(f"--judge {judge}: has no games; judges: {names}")
    return chosen


def _lengths(
    games: list[Game], responses: Sequence[Path], reading: Reading, *, control_length: bool
) -> GameLengths | None:
    """Return the word counts of each game's texts if lengths are to be controlled for."""
    if not control_length:
        if responses:
            raise BadInputError("--responses: only valid with --control-length")
        return None
    return counted_lengths(games, read_all(responses, Response, reading)) if responses else stated_lengths(games)
