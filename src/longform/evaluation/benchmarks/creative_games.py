"""The pairwise stage of EQ-Bench creative writing: which texts are compared, and games from the judge's margins.

Comparing all pairs of many models on all prompts would cost a hundred times as much as the rubric. As published,
neighbours in the rubric's ranking are compared most often; every pair is compared at least a few times, so that all
models are connected.
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
from longform.text.words import count_words_of_any_script

NEIGHBOUR_MEETINGS = (48, 24, 12)
"""Number of comparisons of models one, two and three ranks apart: upstream's maximum, a half and a quarter of it."""
FAR_MEETINGS = 4
MAX_CHARACTERS = 4000
"""Maximum number of characters of a text shown to the judge."""
LEFT_OUT = frozenset({"5", "16", "20", "21", "26", "28", "30"})
"""Prompts of v3 that are excluded from comparisons, as published."""

ModelTexts = Mapping[str, Mapping[str, str]]
"""Model -> prompt id ITEM#ITERATION -> text."""


@dataclass(frozen=True, slots=True)
class Matchup:
    """Two models' texts for one prompt, compared in both orders."""

    prompt_id: str
    a: str
    b: str


def split_id(prompt_id: str) -> tuple[str, int]:
    """Split a prompt id ITEM#ITERATION into item and iteration."""
    item, _, iteration = prompt_id.rpartition("#")
    return item, int(iteration)


def plan_meetings(ranked: Sequence[str], texts: ModelTexts) -> list[Matchup]:
    """Plan the comparisons of models, given in order of their rubric scores.

    The prompts of a pair are drawn at random, seeded by the two names; different items come before repeated iterations.
    """
    planned = []
    for (index, one), (other_index, other) in combinations(enumerate(ranked), 2):
        apart = other_index - index
        count = NEIGHBOUR_MEETINGS[apart - 1] if apart <= len(NEIGHBOUR_MEETINGS) else FAR_MEETINGS
        a, b = sorted((one, other))
        shared = [it for it in sorted(texts[a].keys() & texts[b].keys()) if split_id(it)[0] not in LEFT_OUT]
        shared = [it for it in shared if texts[a][it].strip() or texts[b][it].strip()]
        random.Random(f"{a}\0{b}").shuffle(shared)
        shared.sort(key=lambda it: split_id(it)[1])
        planned += [Matchup(prompt_id, a, b) for prompt_id in shared[:count]]
    return planned


def settle(meeting: Matchup, texts: ModelTexts) -> MarginPoints | None:
    """Decide a comparison without the judge: an empty text loses by the maximum margin; None if both are non-empty."""
    if not texts[meeting.a][meeting.prompt_id].strip():
        return MarginPoints(0, MAX_POINTS)
    return MarginPoints(MAX_POINTS, 0) if not texts[meeting.b][meeting.prompt_id].strip() else None


def play(meetings_held: Mapping[Matchup, MarginPoints], texts: ModelTexts) -> list[Game]:
    """Return one game per comparison, combining both orders.

    `margin` is model_a's share of the win, `weight` the number of wins it counts for; `cluster` is the item, whose
    iterations are resampled together; word counts refer to the text shown to the judge.
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
                    "words_a": count_words_of_any_script(one),
                    "words_b": count_words_of_any_script(other),
                }
            )
        )
    return games


def pairwise_tables(games: Sequence[Game], *, incomplete: int) -> list[Table]:
    """Return ratings and win rates pair by pair; empty if there were no comparisons.

    Args:
        games: Result of `play`.
        incomplete: Number of comparisons left out because a verdict is missing in one order.
    """
    if not games:
        return []
    arena = rate_arena(games)
    first, *others = rating_tables(arena, "Pairwise stage: ratings")
    notes = [
        *first.notes,
        "Bradley-Terry; a comparison counts for 1 to 4 wins depending on its margin; games: comparisons",
    ]
    notes += [f"left out: {incomplete} comparisons without a verdict in one order"] if incomplete else []
    return [replace(first, notes=notes), *others, meeting_table(meetings(games), [it.model for it in arena.standings])]
