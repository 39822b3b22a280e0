"""The curves of a run: which metrics share a chart."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle
from typing import NamedTuple

from longform.report.svg import GREEN, GREY, PALETTE, PURPLE, RED, Axis, Chart, Line


class Curves(NamedTuple):
    """One chart: a title, and the metrics that it shows by their labels."""

    title: str
    metrics: Mapping[str, str]
    colours: Sequence[str] = ()
    """Colours of the metrics, in order; the palette supplies missing ones."""
    low: float | None = None
    """Where the axis begins at the lowest; values below are cut."""
    right: Mapping[str, str] = {}
    """Metrics on a second axis, by their labels."""


CURVES = (
    Curves(
        "Reward, and the examiner's grade",
        {"mean reward": "reward/mean"},
        right={"grade of validation texts (right)": "validation/grade"},
    ),
    Curves("Outcomes", {"win": "outcome/win", "tie": "outcome/tie", "loss": "outcome/loss"}, (GREEN, GREY, RED)),
    Curves("Mean rung", {"rung": "curriculum/mean_rung"}),
    Curves("Responses in the requested format", {"share": "text/structure"}),
    Curves("Answers inside their length range", {"share": "text/in_range"}),
    Curves("Words of the answer", {"words": "text/words"}),
    Curves("Words of the plan", {"words": "text/think_words"}),
    Curves("Repetition", {"4-grams": "text/repetition", "sentences": "text/repeated_sentences"}),
    Curves("Likeness of responses (self-BLEU)", {"step": "text/self_bleu", "one prompt": "text/group_self_bleu"}),
    Curves("Padding", {"reworded sentences": "text/redundancy", "keyword stuffing": "text/stuffing"}),
    Curves(
        "Copied", {"from the request": "text/copied_from_prompt", "from the reference": "text/copied_from_reference"}
    ),
    Curves("Groups without a learning signal", {"skipped": "group/skipped", "zero variance": "group/without_spread"}),
    Curves("Groups that a judge compared", {"share": "group/judged"}),
    Curves("KL to the initial policy, nats per token", {"KL": "policy/kl_to_start"}),
    Curves("Entropy, nats per token", {"entropy": "policy/entropy"}),
    Curves("Critic's explained variance", {"explained": "critic/explained_variance"}, low=-1.0),
    Curves("Rollouts without a verdict", {"share": "no_verdict/share"}),
    Curves("Judges' disagreement", {"panel": "judge/disagreement", "recheck": "judge/inconsistency"}),
)
"""The charts of every run; those without a recorded metric are left out."""

RIGHT_COLOUR = PURPLE
DASHES = {"tie": "2 3", "loss": "6 3"}
"""Patterns of lines that must be told apart without colour."""

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


def chart_of(curves: Curves, series: Mapping[str, Sequence[tuple[int, float]]]) -> Chart | None:
    """The chart of curves; None if the run recorded none of them.

    Args:
        curves: What it shows.
        series: (step, value) pairs by metric.
    """
    colours = cycle([*curves.colours, *PALETTE] if len(curves.colours) < len(curves.metrics) else curves.colours)
    lines: list[Line] = []
    for number, (label, metric) in enumerate([*curves.metrics.items(), *curves.right.items()]):
        if points := series.get(metric):
            on_right = number >= len(curves.metrics)
            colour = RIGHT_COLOUR if on_right else next(colours)
            pattern = DASHES.get(label, "")
            lines.append(
                Line([(float(step), value) for step, value in points], colour, label, dashed=pattern, on_right=on_right)
            )
    if not lines:
        return None
    lowest = min((value for line in lines for _, value in line.points), default=0.0)
    y = Axis()
    if curves.low is not None and lowest < curves.low:
        y = Axis(domain=(curves.low, max(1.0, *(value for line in lines for _, value in line.points))))
        lines = [line._replace(fitted=False) for line in lines]
    right = Axis() if any(line.on_right for line in lines) and not all(line.on_right for line in lines) else None
    return Chart(
        curves.title,
        lines,
        Axis("step", exact=True, whole=True, ticks=6, domain=_steps(lines)),
        y,
        right=right,
        legend=len(curves.metrics) + len(curves.right) > 1,
        description="; ".join(_describe(line) for line in lines),
    )


def charts_of_run(series: Mapping[str, Sequence[tuple[int, float]]]) -> tuple[list[Chart], list[str]]:
    """The charts of a run, and in words those that would be flat: `Copied 0`.

    Args:
        series: (step, value) pairs by metric.
    """
    charts: list[Chart] = []
    constant: list[str] = []
    for curves in pictures_of(series):
        shown = {
            metric: series[metric] for metric in (*curves.metrics.values(), *curves.right.values()) if metric in series
        }
        steps = max((len(points) for points in shown.values()), default=0)
        if steps > 1 and all(len({value for _, value in points}) == 1 for points in shown.values()):
            constant.append(f"{curves.title[:1].lower()}{curves.title[1:]} {_constants(curves, shown)}")
        elif chart := chart_of(curves, series):
            charts.append(chart)
    return charts, constant


def _constants(curves: Curves, shown: Mapping[str, Sequence[tuple[int, float]]]) -> str:
    """The values of metrics that stay the same: one if all have it, else by their labels."""
    labels = {metric: label for label, metric in {**curves.metrics, **curves.right}.items()}
    values = {labels[metric]: points[0][1] for metric, points in shown.items()}
    if len(set(values.values())) == 1:
        return f"{next(iter(values.values())):.3g}"
    return f"({', '.join(f'{label} {value:.3g}' for label, value in values.items())})"


def _steps(lines: Sequence[Line]) -> tuple[float, float] | None:
    steps = [step for line in lines for step, _ in line.points]
    return (min(steps), max(steps)) if min(steps) < max(steps) else None


def _describe(line: Line) -> str:
    (first, start), (last, end) = line.points[0], line.points[-1]
    return f"{line.label}: {start:.3g} at step {first:.0f}, {end:.3g} at step {last:.0f}"
