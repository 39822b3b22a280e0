"""Curves of a run as inline SVG, drawn by Vega-Lite without a browser or a network."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import vl_convert

_WIDTH, _HEIGHT = 330, 150
_COLOURS = ["#2f6690", "#c8553d", "#7a9e3f", "#8d6a9f", "#c9922b", "#4f8f8b"]


class Curves(NamedTuple):
    """One picture: a title and the metrics it shows, by the label that each carries there."""

    title: str
    metrics: Mapping[str, str]


CURVES = (
    Curves("Reward", {"mean": "reward/mean"}),
    Curves("Outcomes", {"win": "outcome/win", "tie": "outcome/tie", "loss": "outcome/loss"}),
    Curves("Mean rung", {"rung": "curriculum/mean_rung"}),
    Curves("Examiner's grade on validation prompts", {"grade": "validation/grade"}),
    Curves("Responses that keep the structure", {"share": "text/structure"}),
    Curves("Answers inside their length range", {"share": "text/in_range"}),
    Curves("Words of the answer", {"words": "text/words"}),
    Curves("Words of the plan", {"words": "text/think_words"}),
    Curves("Repetition", {"4-grams": "text/repetition", "sentences": "text/repeated_sentences"}),
    Curves("Padding", {"said again": "text/redundancy", "stuffed": "text/stuffing"}),
    Curves(
        "Copied", {"from the request": "text/copied_from_prompt", "from the reference": "text/copied_from_reference"}
    ),
    Curves("Groups that teach nothing", {"skipped": "group/skipped", "without spread": "group/without_spread"}),
    Curves("KL to the start, nats a token", {"KL": "policy/kl_to_start"}),
    Curves("Entropy, nats a token", {"entropy": "policy/entropy"}),
    Curves("Critic's explained variance", {"explained": "critic/explained_variance"}),
    Curves("Rollouts without a verdict", {"share": "no_verdict/share"}),
    Curves("Judges' disagreement", {"panel": "judge/disagreement", "recheck": "judge/inconsistency"}),
)
"""Of every run, where it recorded them."""

_OF_EACH_REWARD = {
    "mean": "Each reward",
    "spread": "Spread of each reward within groups",
    "share": "Share of each reward in the spread of their sum",
}
"""Titles, by the last part of `reward/KIND/...`."""


def pictures_of(metrics: Iterable[str]) -> list[Curves]:
    """The pictures of a run that recorded these metrics; those of its single rewards follow that of their mean."""
    names = [name.split("/") for name in metrics]
    kinds = sorted({name[1] for name in names if name[0] == "reward" and len(name) == 3})
    of_each = [
        Curves(title, {kind: f"reward/{kind}/{measure}" for kind in kinds})
        for measure, title in _OF_EACH_REWARD.items()
        if kinds
    ]
    mean, *others = CURVES
    return [mean, *of_each, *others]


def draw_curves(curves: Curves, series: Mapping[str, Sequence[tuple[int, float]]]) -> str | None:
    """SVG of the curves; None where the run recorded none of them.

    Args:
        curves: what to draw.
        series: (step, value) of each metric, by its name.
    """
    points = [
        {"step": step, "value": value, "series": label}
        for label, metric in curves.metrics.items()
        for step, value in series.get(metric, ())
    ]
    if not points:
        return None
    several = len(curves.metrics) > 1
    return vl_convert.vegalite_to_svg(_specification(curves, points, several=several))


def _specification(curves: Curves, points: list[dict[str, Any]], *, several: bool) -> dict[str, Any]:
    labels = list(curves.metrics)
    colour = {
        "field": "series",
        "type": "nominal",
        "scale": {"domain": labels, "range": _COLOURS[: len(labels)]},
        "legend": {"title": None, "orient": "bottom"} if several else None,
    }
    axis = {"grid": True, "gridOpacity": 0.4, "title": None, "tickCount": 5}
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "title": {"text": curves.title, "anchor": "start", "fontSize": 13},
        "width": _WIDTH,
        "height": _HEIGHT,
        "background": "transparent",
        "data": {"values": points},
        "mark": {"type": "line", "point": {"size": 12}, "strokeWidth": 1.5},
        "encoding": {
            "x": {"field": "step", "type": "quantitative", "axis": {**axis, "title": "step"}},
            "y": {"field": "value", "type": "quantitative", "scale": {"zero": False}, "axis": axis},
            "color": colour,
        },
        "config": {"view": {"stroke": None}},
    }
