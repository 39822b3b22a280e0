"""`longform arena GAMES...`."""

import math
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from cyclopts import Parameter

from longform.cli.flags import Count, Flag, Seed
from longform.cli.output import console, print_result, printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from longform.evaluation.arena.game_fields import Lengths
    from longform.evaluation.arena.ratings import Arena
    from longform.evaluation.arena.tables import Meetings
    from longform.evaluation.tables import Form
    from longform.records.schemas import Game

Several = Parameter(consume_multiple=True, negative=())


def arena(
    games: Annotated[tuple[Path, ...], Parameter(negative=())],
    *,
    anchor: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    judge: str | None = None,
    per_judge: Flag = False,
    control_length: Flag = False,
    responses: Annotated[tuple[Path, ...], Several] = (),
    matrix: Flag = False,
    resamples: Count = 1000,
    seed: Seed = 0,
    format: Literal["text", "markdown", "latex", "json"] = "text",
    json: Flag = False,
) -> None:
    """Rate models by the games they played, with intervals.

    Bradley-Terry on the Elo scale: 400 points are odds of 10 to 1, a tie is half a win. Intervals of 95% come from drawing
    whole prompts, so both orders and all samples of a prompt count as one piece of evidence. Models that never met, directly
    or through others, are rated apart.

    Args:
        games: Files of games (.jsonl, .parquet). A game may state `words_a` and `words_b`, a `cluster` (what is drawn in
            place of its prompt) and a `weight` (the wins it counts for in the ratings).
        anchor: NAME=RATING of a model whose rating is given, such as a published baseline. May be repeated: all are held
            where they are and the others fitted around them.
            Without it ratings average 1000; who only won or only lost has no part in that.
        judge: Only games that this judge decided.
        per_judge: Also rate by each judge alone.
        control_length: Rate as if both texts of each game had been equally long. Needs the fields words_a and words_b, which
            games of compare and bench have, or --responses.
        responses: Files with the texts that played, to count their words.
        matrix: Also show who beats whom, pair by pair.
        resamples: Draws behind the intervals.
        seed: Of the draws.
        format: How tables are written.
        json: The same as --format json.
    """
    from longform.evaluation.arena.game_fields import cluster_of
    from longform.evaluation.arena.tables import meetings
    from longform.records.files import read_all
    from longform.records.schemas import Game

    played = _judged_by(judge, list(read_all(games, Game)))
    lengths = _lengths(played, responses, control_length=control_length)
    anchors = _anchors(anchor)
    judges = Counter(map(_judge, played))
    views = [
        _rate(name, played, lengths, anchors, resamples=resamples, seed=seed)
        for name in (None, *(sorted(judges) if per_judge else ()))
    ]
    met = meetings(played, resamples=resamples, seed=seed) if matrix else None
    alone = _count_alone(played)
    if json or format == "json":
        counts = {"games": len(played), "prompts": len(set(map(cluster_of, played))), "judges": dict(judges)}
        counts |= {"without_other_order": alone, "resamples": resamples, "seed": seed}
        print_result(counts | _figures(views, met), as_json=True)
        return
    _print_tables(views, met, format)
    if len(judges) > 1:
        told = ", ".join(f"{printable(name)} ({count})" for name, count in sorted(judges.items()))
        console.print(f"rated together: the games of {len(judges)} judges: {told}", markup=False, soft_wrap=True)
    if alone:
        said = f"{alone} games lack their other order and count as they are, a judge's favour for a place with them"
        console.print(said, markup=False, soft_wrap=True)


class _View(NamedTuple):
    """The ratings by one judge, or by all."""

    judge: str | None
    arena: "Arena"
    uncontrolled: "Arena | None"

    @property
    def title(self) -> str:
        by = "" if self.judge is None else f" by {self.judge}"
        return f"Ratings{by}" + ("" if self.uncontrolled is None else ", controlled for length")


def _rate(
    judge: str | None,
    games: "Sequence[Game]",
    lengths: "Lengths | None",
    anchors: "Mapping[str, float]",
    *,
    resamples: int,
    seed: int,
) -> _View:
    """Rate by the games of one judge, or of all; a judge's games may lack some of the anchors."""
    from longform.evaluation.arena.ratings import hold_arena

    if judge is not None:
        chosen = [place for place, game in enumerate(games) if _judge(game) == judge]
        games = [games[place] for place in chosen]
        lengths = None if lengths is None else [lengths[place] for place in chosen]
        there = {name for game in games for name in (game.model_a, game.model_b)}
        anchors = {name: points for name, points in anchors.items() if name in there}
    uncontrolled = hold_arena(games, anchors=anchors, resamples=resamples, seed=seed)
    if lengths is None:
        return _View(judge, uncontrolled, None)
    controlled = hold_arena(games, lengths=lengths, anchors=anchors, resamples=resamples, seed=seed)
    return _View(judge, controlled, uncontrolled)


def _print_tables(views: "Sequence[_View]", met: "Meetings | None", form: "Form") -> None:
    from longform.evaluation.arena.tables import meeting_table, rating_tables
    from longform.evaluation.tables import render

    tables = [it for view in views for it in rating_tables(view.arena, view.title, uncontrolled=view.uncontrolled)]
    if met is not None:
        tables.append(meeting_table(met, [it.model for it in views[0].arena.standings]))
    print("\n\n".join(render(table, form) for table in tables))


def _figures(views: "Sequence[_View]", met: "Meetings | None") -> dict[str, Any]:
    """The ratings by all judges, those by each, and who beat whom."""
    from longform.evaluation.tables import plain

    def figures(view: _View) -> dict[str, Any]:
        controlled = {"uncontrolled": view.uncontrolled.standings} if view.uncontrolled is not None else {}
        lengths = {"lengths": view.arena.lengths, "inseparable": view.arena.inseparable}
        return {"standings": view.arena.standings} | lengths | controlled

    by_judge = {str(view.judge): figures(view) for view in views[1:]}
    return plain(figures(views[0]) | {"by_judge": by_judge or None, "matrix": met})


def _count_alone(games: "Sequence[Game]") -> int:
    """Games without their other order, where others have both; games that were played once each lack nothing."""
    from longform.evaluation.head_to_head import split_pairs

    whole, alone = split_pairs([game for game in games if game.order is not None])
    return len(alone) if whole else 0


def _judge(game: "Game") -> str:
    return "unnamed" if game.judge is None else game.judge


def _judged_by(judge: str | None, games: "list[Game]") -> "list[Game]":
    """The games that `judge` decided; all where it is None."""
    from longform.records.errors import BadInputError

    chosen = [game for game in games if judge is None or _judge(game) == judge]
    if not chosen:
        names = ", ".join(sorted({_judge(game) for game in games}))
        raise BadInputError(f"--judge {judge}: decided none of the games; judges: {names}")
    return chosen


def _lengths(games: "list[Game]", responses: tuple[Path, ...], *, control_length: bool) -> "Lengths | None":
    """Words of the two texts of each game, where they are to be controlled for."""
    from longform.evaluation.arena.game_fields import counted_lengths, stated_lengths
    from longform.records.errors import BadInputError
    from longform.records.files import read_all
    from longform.records.schemas import Response

    if not control_length:
        if responses:
            raise BadInputError("--responses: is read for --control-length only, which is not given")
        return None
    return counted_lengths(games, read_all(responses, Response)) if responses else stated_lengths(games)


def _anchors(given: tuple[str, ...]) -> dict[str, float]:
    """NAME=RATING; the name may hold "=" itself."""
    from longform.records.errors import BadInputError

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
