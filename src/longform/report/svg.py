"""Charts as SVG strings.

A chart is a title, two axes and marks (`Line`, `Band`, `Bars`, `Dots`), drawn in order. The same data give the same string.
The result can be embedded in an HTML page or used as a file: it has no scripts, addresses, fonts or ids, so a page can hold
many charts. Text inherits its colour, and the palette is readable on light and dark backgrounds. All text is escaped.

Margins are constant, so the plots of charts of one size line up.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise
from typing import NamedTuple
from unicodedata import east_asian_width

from longform.report.axes import Axis, AxisScale, Ticks, fit_axis
from longform.report.rendering import visible

BLUE, RED, GREEN, PURPLE, OCHRE, TEAL, GREY = (
    "#3a7ab0",
    "#c8553d",
    "#5b8c3a",
    "#8f68a8",
    "#a8782a",
    "#3f8a86",
    "#7d8494",
)
PALETTE = (BLUE, RED, GREEN, PURPLE, OCHRE, TEAL)
INK = "currentColor"

TITLE, AXIS_TITLE, LEGEND_ROW = 30, 18, 18
"""Heights in pixels: title, axis title, row of the legend."""
LEFT, RIGHT, TICKS = 52, 14, 20
"""Margins in pixels: left of the plot without an axis title, right of it, and for the tick labels below it."""

_FONT, _TITLE_FONT = 11, 13
_MAX_MARKERS = 60
"""Maximum number of points of a line with markers."""


class Line(NamedTuple):
    """Points joined in order; a value that is not finite leaves a gap."""

    points: Sequence[tuple[float, float]]
    colour: str = BLUE
    label: str = ""
    """Label in the legend; empty: not listed."""
    dashed: bool | str = False
    """Whether the line is dashed; or the lengths of its dashes and gaps."""
    markers: bool = True
    fitted: bool = True
    """Whether the axes are fitted to it; other lines are clipped to the plot."""
    on_right: bool = False
    """Whether it belongs to the axis on the right."""


class Band(NamedTuple):
    """The area between two curves, such as an interval around a line."""

    points: Sequence[tuple[float, float, float]]
    """(x, low, high)."""
    colour: str = BLUE
    label: str = ""


class Bars(NamedTuple):
    """Rectangles, such as those of a histogram."""

    bars: Sequence[tuple[float, float, float, float]]
    """(left, right, bottom, top)."""
    colour: str = BLUE
    label: str = ""


class Dots(NamedTuple):
    """Circles of a scatter plot."""

    dots: Sequence[tuple[float, float, float]]
    """(x, y, area in square pixels)."""
    colour: str = BLUE
    label: str = ""


Mark = Line | Band | Bars | Dots


class Sizes(NamedTuple):
    """The legend of the areas of dots."""

    title: str
    dots: Sequence[tuple[float, str]]
    """(area in square pixels, its meaning)."""


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart. Sizes are in pixels; the height excludes the legend."""

    title: str
    marks: Sequence[Mark]
    x: Axis = field(default_factory=Axis)
    y: Axis = field(default_factory=Axis)
    width: int = 390
    height: int = 230
    legend: bool = True
    sizes: Sizes | None = None
    description: str = ""
    """What the chart shows, for readers who cannot see it."""
    right: Axis | None = None
    """A second axis along y, for lines with `on_right`."""


def stack(edges: Sequence[float], heights: Mapping[str, Sequence[float]], colours: Mapping[str, str]) -> list[Bars]:
    """Stack bars, the first of `heights` at the top; a height of 0 has no bar.

    Args:
        edges: [bars + 1] edges of the bars along x.
        heights: Label -> [bars] heights.
        colours: Label -> colour.
    """
    layers, base = [], [0.0] * (len(edges) - 1)
    for label, of_label in reversed(list(heights.items())):
        tops = [low + height for low, height in zip(base, of_label, strict=True)]
        bars = [
            (edges[i], edges[i + 1], low, top) for i, (low, top) in enumerate(zip(base, tops, strict=True)) if top > low
        ]
        layers.append(Bars(bars, colours[label], label))
        base = tops
    return layers[::-1]


class Layout(NamedTuple):
    """Position of a chart's plot, in pixels."""

    x: AxisScale
    y: AxisScale
    x_ticks: Ticks
    y_ticks: Ticks
    right: AxisScale | None = None
    right_ticks: Ticks | None = None

    def y_of(self, mark: Mark) -> AxisScale:
        """The scale along y that a mark belongs to."""
        return self.right if self.right and isinstance(mark, Line) and mark.on_right else self.y


def lay_out(chart: Chart) -> Layout:
    """Compute the scales of a chart."""
    fitted = [mark for mark in chart.marks if not isinstance(mark, Line) or mark.fitted]
    on_right = [mark for mark in fitted if chart.right and isinstance(mark, Line) and mark.on_right]
    on_left = [mark for mark in fitted if mark not in on_right]
    low_x, high_x, x_ticks = fit_axis(chart.x, (value for mark in fitted for value in _extent(mark, 0)))
    low_y, high_y, y_ticks = fit_axis(chart.y, (value for mark in on_left for value in _extent(mark, 1)))
    left = LEFT + (AXIS_TITLE if chart.y.title else 0)
    bottom = chart.height - TICKS - (AXIS_TITLE if chart.x.title else 0)
    end = chart.width - RIGHT
    if chart.right:
        end -= LEFT - RIGHT + (AXIS_TITLE if chart.right.title else 0)
    x = AxisScale(low_x, high_x, left, end)
    layout = Layout(x, AxisScale(low_y, high_y, bottom, TITLE), x_ticks, y_ticks)
    if not chart.right:
        return layout
    low, high, ticks = fit_axis(chart.right, (value for mark in on_right for value in _extent(mark, 1)))
    return layout._replace(right=AxisScale(low, high, bottom, TITLE), right_ticks=ticks)


def draw(chart: Chart, *, attributes: str = "") -> str:
    """Draw the chart as an `<svg>` element.

    Args:
        chart: The chart.
        attributes: Further attributes of the element, escaped.
    """
    layout = lay_out(chart)
    rows = _legend_rows(chart)
    height = chart.height + LEGEND_ROW * len(rows)
    title = _escaped(chart.title)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {chart.width} {height}" width="{chart.width}" '
        f'height="{height}" fill="{INK}" font-family="system-ui, sans-serif" '
        f'font-size="{_FONT}"{attributes and f" {attributes}"}>',
        f"<title>{title}</title>",
        *([f"<desc>{_escaped(chart.description)}</desc>"] if chart.description else []),
        _text(0, 15, _shortened(chart.title, chart.width, _TITLE_FONT), f'font-size="{_TITLE_FONT}" font-weight="600"'),
        *_axes(chart, layout),
        *(part for mark in chart.marks for part in _mark(mark, layout)),
    ]
    for number, row in enumerate(rows):
        parts.extend(_legend_row(row, layout.x.start, chart.height + LEGEND_ROW * number + 9))
    return "".join([*parts, "</svg>"])


def _extent(mark: Mark, axis: int) -> Iterator[float]:
    """Yield all coordinates of a mark along x (0) or y (1)."""
    if isinstance(mark, Line):
        yield from (point[axis] for point in mark.points if all(map(math.isfinite, point)))
    elif isinstance(mark, Band):
        yield from (value for x, *ends in mark.points for value in (ends if axis else (x,)))
    elif isinstance(mark, Bars):
        yield from (value for bar in mark.bars for value in bar[2 * axis : 2 * axis + 2])
    else:
        yield from (dot[axis] for dot in mark.dots)


def _axes(chart: Chart, layout: Layout) -> Iterator[str]:
    x, y, x_ticks, y_ticks, right, right_ticks = layout
    yield f'<g stroke="{INK}" stroke-opacity=".15">'
    yield from (_segment(x.start, y(tick), x.end, y(tick)) for tick in y_ticks.between(y.low, y.high))
    yield from (_segment(x(tick), y.start, x(tick), y.end, ' class="x"') for tick in x_ticks.between(x.low, x.high))
    yield f'</g><g stroke="{INK}" stroke-opacity=".5">{_segment(x.start, y.start, x.end, y.start)}</g>'
    yield '<g fill-opacity=".75">'
    for tick in y_ticks.between(y.low, y.high):
        yield _text(x.start - 6, y(tick) + 4, y_ticks.label(tick), 'text-anchor="end"')
    for tick in x_ticks.between(x.low, x.high):
        yield _text(x(tick), y.start + 15, x_ticks.label(tick), 'class="x" text-anchor="middle"')
    if chart.x.title:
        yield _text((x.start + x.end) / 2, y.start + TICKS + 12, chart.x.title, 'text-anchor="middle"')
    if chart.y.title:
        transform = f"translate(11 {_number((y.start + y.end) / 2)}) rotate(-90)"
        yield _text(0, 0, chart.y.title, f'text-anchor="middle" transform="{transform}"')
    if chart.right and right and right_ticks:
        for tick in right_ticks.between(right.low, right.high):
            yield _text(x.end + 6, right(tick) + 4, right_ticks.label(tick))
        if chart.right.title:
            transform = f"translate({chart.width - 11} {_number((y.start + y.end) / 2)}) rotate(90)"
            yield _text(0, 0, chart.right.title, f'text-anchor="middle" transform="{transform}"')
    yield "</g>"


def _mark(mark: Mark, layout: Layout) -> Iterator[str]:
    x, y = layout.x, layout.y_of(mark)
    if isinstance(mark, Line):
        yield from _line(mark, x, y)
    elif isinstance(mark, Band):
        points = [it for it in mark.points if all(map(math.isfinite, it))]
        if points:
            upper = [(x(it), y(high)) for it, _, high in points]
            lower = [(x(it), y(low)) for it, low, _ in reversed(points)]
            yield f'<path d="{_path([*upper, *lower])}Z" fill="{mark.colour}" fill-opacity=".2"/>'
    elif isinstance(mark, Bars):
        yield f'<g fill="{mark.colour}">'
        for left, right, bottom, top in mark.bars:
            start, end = x(left), x(right)
            gap = min(1.0, (end - start) / 4)  # between neighbours
            size = f'width="{_number(end - start - gap)}" height="{_number(y(bottom) - y(top))}"'
            yield f'<rect x="{_number(start + gap / 2)}" y="{_number(y(top))}" {size}/>'
        yield "</g>"
    else:
        yield f'<g fill="{mark.colour}" fill-opacity=".8">'
        yield from (_circle(x(across), y(up), area) for across, up, area in mark.dots)
        yield "</g>"


def _dashes(mark: Line) -> str:
    return f' stroke-dasharray="{mark.dashed if isinstance(mark.dashed, str) else "5 3"}"' if mark.dashed else ""


def _line(mark: Line, x: AxisScale, y: AxisScale) -> Iterator[str]:
    dashes = _dashes(mark)
    runs = _runs(mark.points)
    pixels = [[(x(across), y(up)) for across, up in run] for run in runs]
    if not mark.fitted:
        pixels = [list(piece) for run in pixels for piece in _inside(run, x, y)]
    path = "".join(_path(run) for run in pixels if len(run) > 1)
    if path:
        yield (
            f'<path d="{path}" fill="none" stroke="{mark.colour}" stroke-width="1.75" stroke-linejoin="round"{dashes}/>'
        )
    is_short = mark.markers and sum(map(len, pixels)) <= _MAX_MARKERS
    marked = [point for run in pixels if is_short or len(run) == 1 for point in run]
    if marked:
        yield f'<g fill="{mark.colour}">{"".join(_circle(*point, 12.0) for point in marked)}</g>'


def _runs(points: Sequence[tuple[float, float]]) -> list[list[tuple[float, float]]]:
    """Split the points at values that are not finite."""
    runs: list[list[tuple[float, float]]] = [[]]
    for point in points:
        if all(map(math.isfinite, point)):
            runs[-1].append(point)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _inside(
    run: Sequence[tuple[float, float]], x: AxisScale, y: AxisScale
) -> Iterator[tuple[tuple[float, float], ...]]:
    """Yield the parts of a line's segments inside the plot (Liang and Barsky 1984)."""
    for (x1, y1), (x2, y2) in pairwise(run):
        enter, leave = 0.0, 1.0
        for start, change, low, high in ((x1, x2 - x1, x.start, x.end), (y1, y2 - y1, y.end, y.start)):
            if change:
                first, second = sorted(((low - start) / change, (high - start) / change))
                enter, leave = max(enter, first), min(leave, second)
            elif not low <= start <= high:
                leave = -1.0
        if enter < leave:
            yield tuple((x1 + t * (x2 - x1), y1 + t * (y2 - y1)) for t in (enter, leave))


class _Entry(NamedTuple):
    """An entry of the legend: a mark to draw its symbol from, and a text."""

    symbol: Mark | None
    text: str


def _legend_rows(chart: Chart) -> list[list[_Entry]]:
    """Arrange the legend's entries in rows that fit the width."""
    labelled = [_Entry(mark, mark.label) for mark in chart.marks if mark.label] if chart.legend else []
    room = chart.width - LEFT - AXIS_TITLE
    rows = _wrapped(labelled, room)
    if chart.sizes:
        entries = [_Entry(Dots([(0.0, 0.0, area)], GREY), text) for area, text in chart.sizes.dots]
        rows += _wrapped([_Entry(None, f"{chart.sizes.title}:"), *entries], room)
    return rows


def _wrapped(entries: Sequence[_Entry], room: float) -> list[list[_Entry]]:
    rows: list[list[_Entry]] = []
    used = math.inf
    for entry in entries:
        entry = entry._replace(text=_shortened(entry.text, room - 30, _FONT))
        if used + _entry_width(entry) > room:
            rows.append([])
            used = 0.0
        rows[-1].append(entry)
        used += _entry_width(entry)
    return rows


def _legend_row(row: Sequence[_Entry], left: float, middle: float) -> Iterator[str]:
    for entry in row:
        symbol = _symbol_width(entry)
        yield _symbol(entry.symbol, left, middle)
        yield _text(left + symbol, middle + 4, entry.text)
        left += _entry_width(entry)


def _symbol(mark: Mark | None, left: float, middle: float) -> str:
    if mark is None:
        return ""
    if isinstance(mark, Line):
        dashes = _dashes(mark)
        return f'<g stroke="{mark.colour}" stroke-width="2"{dashes}>{_segment(left, middle, left + 15, middle)}</g>'
    if isinstance(mark, Dots):
        area = 50.0 if mark.label else mark.dots[0][2]
        return f'<g fill="{mark.colour}">{_circle(left + 8, middle, area)}</g>'
    opacity = ' fill-opacity=".2"' if isinstance(mark, Band) else ""
    corner = f'x="{_number(left + 2)}" y="{_number(middle - 5)}"'
    return f'<rect {corner} width="10" height="10" fill="{mark.colour}"{opacity}/>'


def _symbol_width(entry: _Entry) -> float:
    return 0.0 if entry.symbol is None else 20.0


def _entry_width(entry: _Entry) -> float:
    return _symbol_width(entry) + _text_width(entry.text, _FONT) + 12.0


def _text_width(text: str, size: float) -> float:
    """Estimate the width of a text in pixels; a Chinese character is as wide as it is high."""
    return size * sum(1.0 if east_asian_width(sign) in "WF" else 0.56 for sign in text)


def _shortened(text: str, room: float, size: float) -> str:
    if _text_width(text, size) <= room:
        return text
    kept = text
    while kept and _text_width(kept, size) > room - size:
        kept = kept[:-1]
    return f"{kept.rstrip()}…"


def _text(x: float, y: float, text: str, attributes: str = "") -> str:
    return f'<text x="{_number(x)}" y="{_number(y)}"{attributes and f" {attributes}"}>{_escaped(text)}</text>'


def _escaped(text: str) -> str:
    return escape(visible(text))


def _segment(x1: float, y1: float, x2: float, y2: float, attributes: str = "") -> str:
    return f'<line{attributes} x1="{_number(x1)}" y1="{_number(y1)}" x2="{_number(x2)}" y2="{_number(y2)}"/>'


def _circle(x: float, y: float, area: float) -> str:
    return f'<circle cx="{_number(x)}" cy="{_number(y)}" r="{_number(math.sqrt(area / math.pi))}"/>'


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{_number(x)} {_number(y)}" for x, y in points)


def _number(value: float) -> str:
    """Format a coordinate to a hundredth of a pixel."""
    return f"{round(value, 2) + 0.0:.2f}".rstrip("0").rstrip(".")  # + 0.0: no -0
