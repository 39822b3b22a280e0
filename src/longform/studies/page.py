"""A study as curves and as a self-contained HTML page."""

import math
from pathlib import Path

from markupsafe import Markup

from longform.evaluation.tables import format_table
from longform.records.files import write_text
from longform.report.axes import Axis
from longform.report.rendering import render
from longform.report.svg import PALETTE, Band, Chart, Line, Mark, draw
from longform.statistics.seeds import SeedMean
from longform.studies.results import StudyResults
from longform.studies.tables import study_tables

_DASHES = ("", "6 3", "2 3", "8 3 2 3")
"""Patterns that tell more arms apart than there are colours."""


def study_charts(results: StudyResults) -> list[Chart]:
    """The curves of a study: a column over the steps of training, a line with its interval for each arm; an arm that was
    measured at one step only has none.
    """
    return [chart for it in results.plan.study.curves if (chart := _chart(results, it.y)) is not None]


def write_study_page(path: Path, results: StudyResults) -> None:
    """Write charts and tables as one HTML file.

    Raises:
        BadInputError: the file cannot be written.
    """
    study, plan = results.plan.study, results.plan
    measured = len(plan.measurements) - len(results.missing)
    content = {
        "name": study.study,
        "facts": {
            **({"source": study.source} if study.source else {}),
            "arms": ", ".join(study.arms),
            "seeds": ", ".join(map(str, study.seeds)),
            "measured": f"{measured} of {len(plan.measurements)}",
        },
        "charts": [Markup(draw(chart)) for chart in study_charts(results)],
        "tables": [format_table(it) for it in study_tables(results)],
    }
    write_text(path, render("study.html.j2", content, package="longform.studies"))


def _chart(results: StudyResults, column: str) -> Chart | None:
    marks: list[Mark] = []
    described, steps = [], set[int]()
    for number, arm in enumerate(results.plan.study.arms):
        curve = results.curve(column, arm)
        if len(curve) < 2:
            continue
        colour, dashes = PALETTE[number % len(PALETTE)], _DASHES[number // len(PALETTE) % len(_DASHES)]
        bounds = [(float(step), *_bounds(it)) for step, it in curve.items() if _has_bounds(it)]
        if bounds:
            marks.append(Band(bounds, colour))
        points = [(float(step), it.interval.estimate) for step, it in curve.items()]
        marks.append(Line(points, colour, arm, dashed=dashes))
        described.append(
            f"{arm}: {points[0][1]:.3g} at step {points[0][0]:.0f}, {points[-1][1]:.3g} at step {points[-1][0]:.0f}"
        )
        steps |= set(curve)
    if not marks:
        return None
    x = Axis("step", exact=True, whole=True, ticks=6, domain=(min(steps), max(steps)))
    return Chart(column, marks, x, Axis(), legend=True, width=620, height=300, description="; ".join(described))


def _bounds(mean: SeedMean) -> tuple[float, float]:
    return mean.interval.low, mean.interval.high


def _has_bounds(mean: SeedMean) -> bool:
    return math.isfinite(mean.interval.low) and math.isfinite(mean.interval.high)
