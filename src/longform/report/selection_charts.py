"""Pictures of a selection as inline SVG: learning potential against the policy's score, and how potential is spread.

Twenty thousand prompts, many with equal scores, would be one blot. So a dot is all prompts of one fate in one cell
of a grid, at their mean, and its area grows with how many. A single prompt in its cell is drawn at its exact place.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import vl_convert

from longform.report.rendering import visible

CELLS = 40
"""Of the grid, along each side."""
BARS = 40
"""At most, of the spread."""
_WIDTH, _HEIGHT, _BAR_HEIGHT = 480, 340, 230
_FLOOR_COLOUR = "#c8553d"


class Point(NamedTuple):
    """One prompt with scores."""

    score: float
    """The policy's."""
    potential: float
    fate: str


class Dot(NamedTuple):
    """Prompts of one fate that lie close together, at their mean."""

    score: float
    potential: float
    fate: str
    prompts: int


def draw_potential(points: Sequence[Point], *, title: str, colours: Mapping[str, str], floor: float = -math.inf) -> str:
    """SVG of learning potential against the policy's score.

    Args:
        points: at least one.
        title: of the picture.
        colours: of each fate; those of a later fate lie over those of an earlier one.
        floor: the best competitor's lowest score: the falling line potential = floor - score.
    """
    places = {fate: place for place, fate in enumerate(colours)}
    dots = sorted(gather(points), key=lambda dot: (places[dot.fate], -dot.prompts))
    across, up = _domain([it.score for it in points]), _domain([it.potential for it in points])
    most = max(dot.prompts for dot in dots)
    x = {"field": "score", "type": "quantitative", "scale": {"domain": across, "nice": False}}
    y = {"field": "potential", "type": "quantitative", "scale": {"domain": up, "nice": False}}
    size = {"field": "prompts", "type": "quantitative", "scale": {"domain": [1, most], "range": _areas(most)}}
    sizes = {"title": "prompts", "orient": "right", "values": _some_counts(most), "symbolFillColor": "#8a90a0"}
    layers = [
        {
            "data": {"values": [dot._asdict() for dot in dots]},
            "mark": {"type": "circle", "opacity": 0.8, "stroke": "white", "strokeWidth": 0.4, "clip": True},
            "encoding": {
                "x": x | {"axis": _axis("the policy's score (left: difficult)")},
                "y": y | {"axis": _axis("learning potential")},
                "color": _colour(colours, {dot.fate for dot in dots}),
                "size": size | {"legend": sizes if most > 1 else None},
            },
        },
        _line([{"score": end, "potential": 0.0} for end in across], x, y, {"color": "#8a90a0"}),
    ]
    if math.isfinite(floor):
        ends = [{"score": end, "potential": floor - end} for end in across]
        layers.append(_line(ends, x, y, {"color": _FLOOR_COLOUR, "strokeDash": [5, 3]}))
    return _svg({"title": _title(title), "width": _WIDTH, "height": _HEIGHT, "layer": layers})


def draw_spread(points: Sequence[Point], *, title: str, colours: Mapping[str, str]) -> str:
    """SVG of the number of prompts by learning potential, those of each fate stacked.

    Args:
        points: at least one.
        title: of the picture.
        colours: of each fate, from the top of the stack down.
    """
    edges = _edges(np.array([it.potential for it in points]))
    bars = []
    for place, fate in enumerate(colours):
        heights, _ = np.histogram([it.potential for it in points if it.fate == fate], bins=edges)
        bars += [
            {"from": edges[i], "to": edges[i + 1], "prompts": int(heights[i]), "fate": fate, "place": place}
            for i in np.flatnonzero(heights)
        ]
    encoding = {
        "x": {"field": "from", "type": "quantitative", "bin": {"binned": True}, "axis": _axis("learning potential")},
        "x2": {"field": "to"},
        "y": {"field": "prompts", "type": "quantitative", "stack": "zero", "axis": _axis("prompts")},
        "color": _colour(colours, {bar["fate"] for bar in bars}),
        "order": {"field": "place", "sort": "descending"},
    }
    mark = {"type": "bar", "binSpacing": 1}
    size = {"width": _WIDTH, "height": _BAR_HEIGHT}
    return _svg({"title": _title(title), **size, "data": {"values": bars}, "mark": mark, "encoding": encoding})


def gather(points: Sequence[Point]) -> list[Dot]:
    """A dot for each fate in each cell of a grid of `CELLS` x `CELLS` over the points. Their order does not matter."""
    numbers = np.array([(point.score, point.potential) for point in points])
    low, high = numbers.min(axis=0), numbers.max(axis=0)
    cells = np.floor((numbers - low) / np.where(high > low, high - low, 1.0) * (CELLS - 1) + 0.5).astype(int)
    members: dict[tuple[str, int, int], list[int]] = {}
    for place, (point, (column, row)) in enumerate(zip(points, cells.tolist(), strict=True)):
        members.setdefault((point.fate, column, row), []).append(place)
    dots = []
    for (fate, _, _), places in sorted(members.items()):
        score, potential = (math.fsum(numbers[places, axis]) / len(places) for axis in (0, 1))
        dots.append(Dot(score, potential, fate, len(places)))
    return dots


def _areas(most: int) -> list[float]:
    """Of a dot of one prompt and of the largest, in square pixels; a dot never fills much more than its cell."""
    return [16.0, 16.0 + 12.0 * min(most, 12)]


def _some_counts(most: int) -> list[int]:
    return sorted({1, max(1, round(most / 4)), most})


def _edges(values: np.ndarray) -> np.ndarray:
    """Edges of the bars. Grades are often whole numbers or means of few: every bar then holds as many of their steps."""
    distinct = np.unique(np.round(values, 6))
    step = float(np.diff(distinct).min()) if len(distinct) > 1 else 1.0
    width = step * math.ceil((distinct[-1] - distinct[0] + step) / BARS / step)
    count = math.ceil((distinct[-1] - distinct[0] + step) / width)
    return distinct[0] - step / 2 + width * np.arange(count + 1)


def _domain(values: Sequence[float]) -> list[float]:
    low, high = min(values), max(values)
    extra = 0.04 * (high - low) or 0.5
    return [low - extra, high + extra]


def _colour(colours: Mapping[str, str], present: set[str]) -> dict[str, Any]:
    shown = [fate for fate in reversed(list(colours)) if fate in present]
    scale = {"domain": shown, "range": [colours[fate] for fate in shown]}
    legend = {"title": None, "orient": "bottom", "symbolType": "circle", "symbolOpacity": 1, "columns": 3}
    return {"field": "fate", "type": "nominal", "scale": scale, "legend": legend}


def _axis(title: str) -> dict[str, Any]:
    return {"grid": True, "gridOpacity": 0.4, "title": title, "titleFontWeight": "normal", "tickCount": 6}


def _line(ends: list[dict[str, float]], x: Any, y: Any, look: dict[str, Any]) -> dict[str, Any]:
    mark = {"type": "line", "clip": True, "strokeWidth": 1.2, **look}
    return {"data": {"values": ends}, "mark": mark, "encoding": {"x": x, "y": y}}


def _title(text: str) -> dict[str, Any]:
    return {"text": visible(text), "anchor": "start", "fontSize": 13}


def _svg(picture: dict[str, Any]) -> str:
    schema = {"$schema": "https://vega.github.io/schema/vega-lite/v5.json"}
    return vl_convert.vegalite_to_svg(
        {**schema, "background": "transparent", "config": {"view": {"stroke": None}}, **picture}
    )
