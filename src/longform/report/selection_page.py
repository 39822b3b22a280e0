"""A selection as a self-contained HTML file: what was chosen, what was dropped and why, and some ladders.

Groups have separate floors and judges, so each of the largest groups has a separate chart.
"""

import math
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

from markupsafe import Markup

from longform.records.files import write_text
from longform.records.schemas import Ladder
from longform.report.rendering import render
from longform.report.selection_charts import Point, draw_potential, draw_spread
from longform.report.svg import BLUE, GREY, PURPLE, RED
from longform.selection.select import EVERYTHING, Selection, SelectionOutcome
from longform.selection.settings import SelectionSettings
from longform.selection.strategy import describe_strategy
from longform.text.words import count_words_of_any_script

MAX_PICTURES = 6
FIRST_LADDERS, LAST_LADDERS = 6, 3
_MAX_PROMPT, _MAX_TEXT = 500, 260
_COLOURS = {
    SelectionOutcome.BELOW_FLOOR: RED,
    SelectionOutcome.BEYOND_TOP_K: GREY,
    SelectionOutcome.NO_TEXT: PURPLE,
    SelectionOutcome.CHOSEN: BLUE,
}
"""Colours of the outcomes of prompts with scores; later ones are drawn over earlier ones."""


class CompetitorRow(NamedTuple):
    """The prompts on which a model is the best competitor."""

    model: str
    graded: int
    chosen: int
    potential: float
    """Mean over `graded`."""


class RungRow(NamedTuple):
    """One reference of a ladder."""

    model: str
    score: float
    words: int
    opening: str
    is_policy: bool


class LadderRow(NamedTuple):
    """A summary of one ladder."""

    rank: int
    id: str
    prompt: str
    potential: float
    rungs: list[RungRow]


def write_selection_page(path: Path, selection: Selection, settings: SelectionSettings) -> None:
    """Write the page of a selection with at least one ladder, atomically.

    Raises:
        BadInputError: the file cannot be written.
    """
    write_text(path, render("selection.html.j2", _content(selection, settings)))


def best_competitors(selection: Selection) -> list[CompetitorRow]:
    """Count how often each model is the best competitor, most frequent first."""
    potentials: dict[str, list[tuple[bool, float]]] = defaultdict(list)
    for it in selection.prompts:
        if it.candidate:
            potentials[it.candidate.competitor].append((it.fate == SelectionOutcome.CHOSEN, it.candidate.potential))
    rows = [
        CompetitorRow(model, len(seen), sum(chosen for chosen, _ in seen), math.fsum(p for _, p in seen) / len(seen))
        for model, seen in potentials.items()
    ]
    return sorted(rows, key=lambda row: (-row.graded, row.model))


def _content(selection: Selection, settings: SelectionSettings) -> dict[str, Any]:
    ladders = [(rank, ladder) for rank, ladder in enumerate(selection.ladders, 1)]
    last = ladders[FIRST_LADDERS:][-LAST_LADDERS:]
    counts = selection.count()
    return {
        "facts": _facts(selection, settings),
        "fates": [fate for fate, count in counts.items() if count],
        "total": counts,
        "groups": selection.count_groups() if settings.group_by else {},
        "floors": {group: _number(floor) for group, floor in selection.floors.items()},
        "scores": selection.scores,
        "partial": selection.num_partial,
        "unequal": selection.num_unequal_samples,
        "pictures": _pictures(selection),
        "competitors": best_competitors(selection),
        "first": [_ladder_row(rank, ladder, settings.policy) for rank, ladder in ladders[:FIRST_LADDERS]],
        "last": [_ladder_row(rank, ladder, settings.policy) for rank, ladder in last],
        "per": settings.group_by,
        "unpictured": max(0, len(selection.floors) - MAX_PICTURES),
    }


def _facts(selection: Selection, settings: SelectionSettings) -> dict[str, str]:
    potentials = [ladder.potential for ladder in selection.ladders]
    mean = math.fsum(potentials) / len(potentials)
    takes_seed = settings.strategy not in ("margin", "difficulty")
    facts = {
        "ladders": f"{len(selection.ladders)} of {len(selection.prompts)} prompts",
        "policy": settings.policy,
        "strategy": describe_strategy(selection.strategy) + (f", seed {settings.seed}" if takes_seed else ""),
        "potential": f"{min(potentials):.3g} to {max(potentials):.3g}, mean {mean:.3g}",
    }
    if settings.top_k is not None:
        facts["top-k"] = f"{settings.top_k}" + (f" for each {settings.group_by}" if settings.group_by else "")
    if settings.floor is not None:
        rule = f"percentile {settings.floor.value:g}" if settings.floor.is_percentile else f"{settings.floor.value:g}"
        own = ", ".join(_number(floor) for floor in selection.floors.values()) if len(selection.floors) == 1 else ""
        facts["floor"] = f"{rule} = {own}" if settings.floor.is_percentile and own else rule
    if settings.samples is not None:
        facts["samples"] = f"at most {settings.samples} of each model"
    return facts


def _pictures(selection: Selection) -> list[Markup]:
    """Draw the potential of each of the largest groups, and its distribution over all prompts."""
    points: dict[str, list[Point]] = defaultdict(list)
    for it in selection.prompts:
        if it.candidate:
            points[it.group].append(Point(it.candidate.policy_score, it.candidate.potential, it.fate))
    largest = sorted(points, key=lambda group: (-len(points[group]), group))[:MAX_PICTURES]
    colours = {str(fate): colour for fate, colour in _COLOURS.items()}
    drawn = [
        draw_potential(points[group], title=_title(group), colours=colours, floor=selection.floors[group])
        for group in largest
    ]
    everything = [point for group in sorted(points) for point in points[group]]
    drawn.append(draw_spread(everything, title="Prompts by learning potential", colours=colours))
    return [Markup(picture) for picture in drawn]


def _title(group: str) -> str:
    title = "Learning potential against difficulty"
    return title if group == EVERYTHING else f"{title}: {_shortened(group, 60)}"


def _ladder_row(rank: int, ladder: Ladder, policy: str) -> LadderRow:
    rungs = [
        RungRow(
            it.model,
            it.score,
            count_words_of_any_script(it.text),
            _shortened(it.text.strip(), _MAX_TEXT),
            it.model == policy,
        )
        for it in ladder.references
    ]
    return LadderRow(rank, ladder.id, _shortened(ladder.request, _MAX_PROMPT), ladder.potential, rungs[::-1])


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"


def _number(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else "none"
