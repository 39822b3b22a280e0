"""Tables of ratings and of win rates pair by pair. Components get separate tables, because their ratings do not compare."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from longform.evaluation.arena.game_fields import cluster_of
from longform.evaluation.arena.length_control import LengthEffect
from longform.evaluation.arena.ratings import Arena, Standing
from longform.evaluation.tables import SINGLE_PROMPT, Cell, Column, NoInterval, Table, explain, show, warn_of_few
from longform.records.schemas import GAME_SCORES, Game
from longform.statistics.bootstrap import Interval, clustered_interval


@dataclass(frozen=True, slots=True)
class Meeting:
    """The games of one model against another."""

    win_rate: Interval
    games: int
    prompts: int

    def as_json(self) -> dict[str, Any]:
        """Return a JSON-serializable dictionary; a rate without an interval includes the reason."""
        return {"win_rate": explain(self.win_rate, prompts=self.prompts), "games": self.games, "prompts": self.prompts}


Meetings = Mapping[str, Mapping[str, Meeting]]
"""Model -> opponent -> their games, for all pairs that met."""


def rating_tables(arena: Arena, title: str, *, uncontrolled: Arena | None = None) -> list[Table]:
    """Build a table for each component, best model first.

    Args:
        arena: The ratings.
        title: Title of the tables.
        uncontrolled: Ratings without length control, shown in an additional column.
    """
    count = arena.standings[-1].component + 1
    before = {it.model: it for it in uncontrolled.standings} if uncontrolled is not None else {}
    tables = []
    for component in range(count):
        standings = [it for it in arena.standings if it.component == component]
        apart = "" if count == 1 else f", group {component + 1} of {count}"
        effects = [it for it in arena.lengths if it.component == component]
        notes = _notes(standings, alone=count == 1) + [_describe(it) for it in effects]
        if component in arena.inseparable:
            notes.append(
                "Length is collinear with the model (the length ratio of two texts follows from their models), so it was "
                "not controlled for."
            )
        tables.append(_ratings(f"{title}{apart}", standings, before, notes))
    return tables


def meetings(games: Sequence[Game], *, resamples: int = 1000, seed: int = 0) -> Meetings:
    """Compute win rates pair by pair; ties count half, 95% intervals over prompts."""
    scores: dict[tuple[str, str], list[tuple[float, str]]] = defaultdict(list)
    for game in games:
        score, cluster = GAME_SCORES[game.winner], cluster_of(game)
        scores[game.model_a, game.model_b].append((score, cluster))
        scores[game.model_b, game.model_a].append((1 - score, cluster))
    meetings: dict[str, dict[str, Meeting]] = defaultdict(dict)
    for (model, other), results in sorted(scores.items()):
        values, prompts = zip(*sorted(results, key=lambda it: it[1]), strict=True)
        rate = clustered_interval(values, prompts, resamples=resamples, seed=seed)
        meetings[model][other] = Meeting(rate, len(results), len(set(prompts)))
    return dict(meetings)


def meeting_table(meetings: Meetings, models: Sequence[str]) -> Table:
    """Build a table of win rates pair by pair, better model first. A square matrix would not fit intervals and n.

    Args:
        meetings: Result of `meetings`.
        models: Models, best first.
    """
    played = [(one, other, meetings[one][other]) for one, other in combinations(models, 2) if other in meetings[one]]
    rows: list[list[Cell]] = [
        [one, other, explain(it.win_rate, prompts=it.prompts), it.games, it.prompts] for one, other, it in played
    ]
    columns = [Column("model", is_text=True), Column("opponent", is_text=True), Column("win rate", digits=3)]
    notes = warn_of_few(it.prompts for *_, it in played)
    return Table("Win rates pair by pair", [*columns, Column("games"), Column("prompts")], rows, notes)


def _ratings(title: str, standings: Sequence[Standing], before: Mapping[str, Standing], notes: Sequence[str]) -> Table:
    columns = [Column("rank"), Column("model", is_text=True), Column("rating")]
    columns += [Column("uncontrolled")] if before else []
    columns += [Column("win rate", digits=3), Column("games"), Column("prompts")]
    rows: list[list[Cell]] = []
    for rank, it in enumerate(standings, 1):
        without: list[Cell] = [before[it.model].rated] if before else []
        win_rate = explain(it.win_rate, prompts=it.prompts)
        rows.append([rank, it.model, it.rated, *without, win_rate, it.games, it.prompts])
    return Table(title, columns, rows, notes)


def _notes(standings: Sequence[Standing], *, alone: bool) -> list[str]:
    notes = []
    if not alone:
        notes.append("No games connect the models of this group with the others.")
    if any(it.unbounded for it in standings):
        notes.append(
            "rank only: won or lost every game against the rest, alone or within a group; the rating gap is unknown."
        )
    if any(isinstance(it.rated, NoInterval) and it.rated.why == SINGLE_PROMPT for it in standings):
        notes.append("a single prompt: the model is connected by one prompt only, so there is no interval.")
    return notes + warn_of_few(it.prompts for it in standings)


def _describe(effect: LengthEffect) -> str:
    points, coefficient = (explain(it, prompts=effect.prompts) for it in (effect.twice_as_long, effect.coefficient))
    return (
        f"A text twice as long as the other gains {show(points)} points; coefficient {show(coefficient, digits=3)} per "
        f"standard deviation ({effect.deviation:.3f}) of (a - b) / (a + b) words; {effect.games} games on {effect.prompts} "
        f"prompts."
    )
