"""Curves of a run as inline SVG, drawn by Vega-Lite without a browser or a network."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import vl_convert

_WIDTH, _HEIGHT = 330, 150
_COLOURS = ["#2f6690", "#c8553d", "#7a9e3f", "#8d6a9f"]


class Curves(NamedTuple):
    """One picture: a title and the metrics it shows, by the label that each carries there."""

    title: str
    metrics: Mapping[str, str]


CURVES = (
    Curves("Reward", {"mean": "reward/mean"}),
    Curves("Outcomes", {"win": "outcome/win", "tie": "outcome/tie", "loss": "outcome/loss"}),
    Curves("Mean rung", {"rung": "curriculum/mean_rung"}),
    Curves("Examiner's grade on validation prompts", {"grade": "validation/grade"}),
    Curves("Words", {"words": "text/words"}),
    Curves("Repetition", {"4-grams": "text/repetition", "sentences": "text/repeated_sentences"}),
    Curves("KL to the start, nats a token", {"KL": "policy/kl_to_start"}),
    Curves("Entropy, nats a token", {"entropy": "policy/entropy"}),
    Curves("Critic's explained variance", {"explained": "critic/explained_variance"}),
    Curves("Rollouts without a verdict", {"share": "no_verdict/share"}),
    Curves("Judges' disagreement", {"panel": "judge/disagreement", "recheck": "judge/inconsistency"}),
)


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
