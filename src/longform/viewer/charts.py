"""Interactive charts: a script shows values, zooms and smooths; without scripts they are the charts of the report."""

import json
import math
from html import escape

from markupsafe import Markup

from longform.report.svg import Chart, Line, draw, lay_out


def draw_interactive(chart: Chart, *, step_link: str = "") -> Markup:
    """Draw a chart with its values beside it, for the script of the page.

    Args:
        chart: The chart; its lines are redrawn by the script, other marks are not.
        step_link: Address that a step is appended to, which a click leads to; empty: nothing to click.
    """
    layout = lay_out(chart)
    lines = [
        {
            "label": mark.label or chart.title,
            "colour": mark.colour,
            "dashes": mark.dashed if isinstance(mark.dashed, str) else "5 3" if mark.dashed else "",
            "right": bool(layout.right and mark.on_right),
            "points": [[x, y] for x, y in mark.points if math.isfinite(y)],
        }
        for mark in chart.marks
        if isinstance(mark, Line)
    ]
    scales = {"x": layout.x, "y": layout.y} | ({"right": layout.right} if layout.right else {})
    data = {"lines": lines, "scales": {name: list(scale) for name, scale in scales.items()}, "href": step_link}
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    label = escape(f"{chart.title}. {chart.description}", quote=True)
    return Markup(draw(chart, attributes=f'tabindex="0" aria-label="{label}" data-chart="{escape(text, quote=True)}"'))
