"""The curves of a run: which metrics share a chart, and each chart as SVG."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle
from typing import NamedTuple

from longform.report.svg import GREEN, GREY, PALETTE, RED, Axis, Chart, Line, draw


class Curves(NamedTuple):
    """One chart: a title, and the metrics that it shows by their labels."""

    title: str
    metrics: Mapping[str, str]
    colours: Sequence[str] = ()
    """Colours of the metrics, in order; the palette supplies missing ones."""


CURVES = (
    Curves("Reward", {"mean": "reward/mean"}),
    Curves("Outcomes", {"win": "outcome/win", "tie": "outcome/tie", "loss": "outcome/loss"}, (GREEN, GREY, RED)),
    Curves("Mean rung", {"rung": "curriculum/mean_rung"}),
    Curves("Examiner's grade on validation prompts", {"grade": "validation/grade"}),
    Curves("Responses in the requested format", {"share": "text/structure"}),
    Curves("Answers inside their length range", {"share": "text/in_range"}),
    Curves("Words of the answer", {"words": "text/words"}),
    Curves("Words of the plan", {"words": "text/think_words"}),
    Curves("Repetition", {"4-grams": "text/repetition", "sentences": "text/repeated_sentences"}),
    Curves("Padding", {"reworded sentences": "text/redundancy", "keyword stuffing": "text/stuffing"}),
    Curves(
        "Copied", {"from the request": "text/copied_from_prompt", "from the reference": "text/copied_from_reference"}
    ),
    Curves("Groups without a learning signal", {"skipped": "group/skipped", "zero variance": "group/without_spread"}),
    Curves("KL to the initial policy, nats per token", {"KL": "policy/kl_to_start"}),
    Curves("Entropy, nats per token", {"entropy": "policy/entropy"}),
    Curves("Critic's explained variance", {"explained": "critic/explained_variance"}),
    Curves("Rollouts without a verdict", {"share": "no_verdict/share"}),
    Curves("Judges' disagreement", {"panel": "judge/disagreement", "recheck": "judge/inconsistency"}),
)
"""The charts of every run; those without a recorded metric are left out."""

_OF_EACH_REWARD = {
    "mean": "Each reward",
    "spread": "Spread of each reward within groups",
    "share": "Share of each reward in the spread of their sum",
}
"""Chart titles by the last part of `reward/KIND/...`."""


def pictures_of(metrics: Iterable[str]) -> list[Curves]:
    """Return the charts of a run that recorded these metrics; charts of single rewards follow that of their mean."""
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
    """Draw the curves as SVG; None if the run recorded none of them.

    Args:
        curves: Chart to draw.
        series: (step, value) pairs by metric.
    """
    colours = [*curves.colours, *PALETTE]
    lines = [
        Line([(float(step), value) for step, value in series[metric]], colour, label)
        for (label, metric), colour in zip(curves.metrics.items(), cycle(colours), strict=False)
        if series.get(metric)
    ]
    if not lines:
        return None
    return draw(
        Chart(curves.title, lines, Axis("step", exact=True, whole=True, ticks=6), legend=len(curves.metrics) > 1)
    )
