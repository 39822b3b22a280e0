"""Which texts of which models meet in EQ-Bench creative writing's pairwise stage, and what the judge's margins come to.

All pairs of many models on all prompts would cost a hundred times the rubric. Neighbours in the rubric's order meet most
often, as published, and every pair meets at least sometimes, so that the ratings hang together.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from longform.evaluation.arena.ratings import rate_arena
from longform.evaluation.arena.tables import meeting_table, meetings, rating_tables
from longform.evaluation.tables import Table
from longform.judging.margins import MAX_POINTS, MarginPoints, pseudo_wins, win_fraction
from longform.records.schemas import Game
from longform.text.words import count_words

NEIGHBOUR_MEETINGS = (48, 24, 12)
"""How often models one, two and three ranks apart meet: the most upstream spends on them, halved and quartered."""
FAR_MEETINGS = 4
MAX_CHARACTERS = 4000
"""Of a text that the judge reads."""
LEFT_OUT = frozenset({"5", "16", "20", "21", "26", "28", "30"})
"""Prompts of v3 that are not compared, as published."""

ModelTexts = Mapping[str, Mapping[str, str]]
"""By model, then by prompt id ITEM#ITERATION."""


@dataclass(frozen=True, slots=True)
class Matchup:
    """Two models' texts for one prompt, to be compared in both orders."""

    prompt_id: str
    a: str
    b: str


def split_id(prompt_id: str) -> tuple[str, int]:
    """Item and iteration of a prompt id ITEM#ITERATION."""
    item, _, iteration = prompt_id.rpartition("#")
    return item, int(iteration)


def plan_meetings(ranked: Sequence[str], texts: ModelTexts) -> list[Matchup]:
    """The matchups of models given in the order of their rubric scores.

    Which prompts a pair meets on is drawn by the names of the two; different items come before further iterations of one.
    """
    planned = []
    for (place, one), (other_place, other) in combinations(enumerate(ranked), 2):
        apart = other_place - place
        count = NEIGHBOUR_MEETINGS[apart - 1] if apart <= len(NEIGHBOUR_MEETINGS) else FAR_MEETINGS
        a, b = sorted((one, other))
        shared = [it for it in sorted(texts[a].keys() & texts[b].keys()) if split_id(it)[0] not in LEFT_OUT]
        shared = [it for it in shared if texts[a][it].strip() or texts[b][it].strip()]
        random.Random(f"{a}\0{b}").shuffle(shared)
        shared.sort(key=lambda it: split_id(it)[1])
        planned += [Matchup(prompt_id, a, b) for prompt_id in shared[:count]]
    return planned


def settle(meeting: Matchup, texts: ModelTexts) -> MarginPoints | None:
    """What a meeting comes to without a judge: a text without a word loses as far as can be; None where both have words."""
    if not texts[meeting.a][meeting.prompt_id].strip():
        return MarginPoints(0, MAX_POINTS)
    return MarginPoints(MAX_POINTS, 0) if not texts[meeting.b][meeting.prompt_id].strip() else None


def play(meetings_held: Mapping[Matchup, MarginPoints], texts: ModelTexts) -> list[Game]:
    """One game for each meeting, both orders together.

    `margin` is the share of the win that model_a gets and `weight` the wins that this counts for; `cluster` is the item,
    whose iterations belong together; words are those that the judge read.
    """
    games = []
    for meeting, pluses in meetings_held.items():
        one, other = (texts[model][meeting.prompt_id][:MAX_CHARACTERS] for model in (meeting.a, meeting.b))
        games.append(
            Game.model_validate(
                {
                    "prompt_id": meeting.prompt_id,
                    "model_a": meeting.a,
                    "model_b": meeting.b,
                    "winner": "tie" if pluses.a == pluses.b else "a" if pluses.a > pluses.b else "b",
                    "margin": win_fraction(pluses),
                    "weight": max(1, pseudo_wins(pluses)),
                    "cluster": split_id(meeting.prompt_id)[0],
                    "words_a": count_words(one),
                    "words_b": count_words(other),
                }
            )
        )
    return games


def pairwise_tables(games: Sequence[Game], *, incomplete: int) -> list[Table]:
    """Ratings and who beats whom; empty where nobody met.

    Args:
        games: of `play`.
        incomplete: comparisons that lack an order, left out of them.
    """
    if not games:
        return []
    arena = rate_arena(games)
    first, *others = rating_tables(arena, "Pairwise stage: ratings")
    notes = [*first.notes, "Bradley-Terry; a comparison counts for 1 to 4 wins by its margin; games: comparisons"]
    notes += [f"left out: {incomplete} comparisons without a verdict in one order"] if incomplete else []
    return [replace(first, notes=notes), *others, meeting_table(meetings(games), [it.model for it in arena.standings])]
