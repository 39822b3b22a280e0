"""Charts: values land on the pixels that the margins say, ticks are round, and no text gets out of its element."""

import math
import re
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longform.report.axes import Axis, Ticks, fit_axis, round_ticks
from longform.report.svg import (
    BLUE,
    GREEN,
    GREY,
    INK,
    LEGEND_ROW,
    PALETTE,
    RED,
    Band,
    Bars,
    Chart,
    Dots,
    Line,
    Sizes,
    draw,
    lay_out,
    stack,
)

SVG = "{http://www.w3.org/2000/svg}"
NUMBERS = st.floats(-1e6, 1e6).map(lambda value: round(value, 3))
HOSTILE = '</title><script>alert("1")</script>&\'\x1b\ud800'
LIGHT, DARK = "#fdfcf9", "#15171c"
"""The backgrounds of the pages."""


def _root(chart):
    return ET.fromstring(draw(chart))


def _all(chart, tag):
    return list(_root(chart).iter(f"{SVG}{tag}"))


def _path(chart):
    (path,) = _all(chart, "path")
    return path.get("d", "")


def _values(*elements, names):
    return [tuple(float(element.get(name, "nan")) for name in names) for element in elements]


def test_known_values_land_on_known_pixels():
    # 390 x 230: the plot goes from x = 52 to 390 - 14 = 376, and from y = 30 down to 230 - 20 = 210.
    chart = Chart("", [Line([(0, 0), (5, 0.25), (10, 1)])], Axis(domain=(0, 10)), Axis(domain=(0, 1)))
    assert _path(chart) == "M52 210L214 165L376 30"
    assert _values(*_all(chart, "circle"), names=("cx", "cy")) == [(52, 210), (214, 165), (376, 30)]


def test_titles_of_axes_take_room_on_their_sides():
    chart = Chart("", [Line([(0, 0), (10, 1)])], Axis("step", domain=(0, 10)), Axis("grade", domain=(0, 1)))
    assert _path(chart) == "M70 192L376 30"
    assert {"step", "grade"} <= {element.text for element in _all(chart, "text")}


def test_an_axis_without_a_domain_ends_on_the_ticks_around_its_data():
    chart = Chart("", [Line([(1, 0.52), (7, 0.78)])], Axis(whole=True))
    layout = lay_out(chart)
    assert (layout.x.low, layout.x.high, layout.x_ticks.step) == (0, 8, 2)
    assert (layout.y.low, layout.y.high, layout.y_ticks.step) == (0.5, 0.8, 0.1)
    # 52 + 324 / 8, 210 - 180 * .02 / .3; 52 + 324 * 7 / 8, 210 - 180 * .28 / .3
    assert _path(chart) == "M92.5 198L335.5 42"
    labels = [element.text for element in _all(chart, "text")]
    assert labels == [None, "0.5", "0.6", "0.7", "0.8", "0", "2", "4", "6", "8"]


def test_an_exact_axis_ends_with_its_data():
    low, high, ticks = fit_axis(Axis(exact=True, whole=True), [1, 120])
    assert (low, high) == (1, 120)
    assert ticks.between(low, high) == [50, 100]


@pytest.mark.parametrize(
    ("low", "high", "whole", "expected"),
    [
        (0, 1, False, (2, -1)),
        (0, 10, False, (2, 0)),
        (0, 3, True, (1, 0)),
        (0, 3, False, (1, 0)),
        (0, 2, False, (5, -1)),
        (0, 2, True, (1, 0)),
        (-50, 0, False, (1, 1)),
        (0.0001, 0.0009, False, (2, -4)),
        (0, 26_000, True, (1, 4)),
    ],
)
def test_ticks_are_round(low, high, whole, expected):
    assert round_ticks(low, high, whole=whole) == expected


@given(NUMBERS, NUMBERS, st.integers(2, 8), st.booleans())
def test_an_axis_covers_its_data_with_few_round_ticks(one, other, about, whole):
    low, high, ticks = fit_axis(Axis(ticks=about, whole=whole), [one, other])
    assert low < high
    assert low <= min(one, other) + 1e-6
    assert high >= max(one, other) - 1e-6
    inside = ticks.between(low, high)
    assert inside[0] == low
    assert inside[-1] == high
    assert 2 <= len(inside) <= about + 3
    assert ticks.digit in (1, 2, 5)
    assert not whole or all(tick == int(tick) for tick in inside)
    assert len({ticks.label(tick) for tick in inside}) == len(inside)


@pytest.mark.parametrize(
    ("ticks", "value", "label"),
    [
        (Ticks(2, -1), 0.6000000000000001, "0.6"),
        (Ticks(5, -2), -0.25, "-0.25"),
        (Ticks(5, 3), 15_000, "15,000"),
        (Ticks(1, 0), 0.0, "0"),
        (Ticks(2, -6), 0.000004, "4e-06"),
        (Ticks(5, 7), 5e7, "5e+07"),
    ],
)
def test_a_tick_has_as_many_digits_as_its_step(ticks, value, label):
    assert ticks.label(value) == label


@pytest.mark.parametrize(
    ("values", "whole", "ends"),
    [
        ([0, 0], False, (0, 1)),
        ([0.5], False, (0.4, 0.6)),
        ([-2], False, (-2.4, -1.6)),
        ([3], True, (2, 4)),
        ([], False, (0, 1)),
    ],
)
def test_a_single_value_has_an_axis_around_it(values, whole, ends):
    low, high, _ = fit_axis(Axis(whole=whole), [*values, math.nan, math.inf])
    assert (low, high) == pytest.approx(ends)


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=30))
def test_scales_are_monotone_and_everything_lies_in_the_plot(points):
    chart = Chart("", [Line(points), Dots([(x, y, 20.0) for x, y in points])])
    x, y = lay_out(chart)[:2]
    across, up = sorted({it[0] for it in points}), sorted({it[1] for it in points})
    assert all(x(one) <= x(other) for one, other in pairwise(across))
    assert all(y(one) >= y(other) for one, other in pairwise(up))
    for left, top in _values(*_all(chart, "circle"), names=("cx", "cy")):
        assert x.start - 0.01 <= left <= x.end + 0.01
        assert y.end - 0.01 <= top <= y.start + 0.01


def test_bars_stand_on_the_axis_and_on_each_other():
    bars = stack([0, 1, 2], {"top": [1, 0], "below": [2, 4]}, {"top": RED, "below": BLUE})
    assert bars == [Bars([(0, 1, 2, 3)], RED, "top"), Bars([(0, 1, 0, 2), (1, 2, 0, 4)], BLUE, "below")]
    chart = Chart("", bars, Axis(domain=(0, 2)), Axis(domain=(0, 4)), legend=False)
    rects = _values(*_all(chart, "rect"), names=("x", "y", "width", "height"))
    # 162 pixels a bar, of which one parts neighbours; 45 pixels a unit.
    assert rects == [(52.5, 75, 161, 45), (52.5, 120, 161, 90), (214.5, 30, 161, 180)]


def test_a_band_goes_there_along_its_upper_edge_and_back_along_its_lower_one():
    band = Band([(0, 0.25, 0.5), (10, 0.5, 1), (11, math.nan, 1)])
    chart = Chart("", [band], Axis(domain=(0, 10)), Axis(domain=(0, 1)))
    assert _path(chart) == "M52 120L376 30L376 120L52 165Z"


def test_the_area_of_a_dot_is_the_area_that_is_asked_for():
    chart = Chart("", [Dots([(0, 0, 16 * math.pi)])], Axis(domain=(0, 1)), Axis(domain=(0, 1)))
    assert _values(*_all(chart, "circle"), names=("cx", "cy", "r")) == [(52, 210, 4)]


def test_a_value_that_is_not_finite_leaves_a_gap():
    chart = Chart("", [Line([(0, 0), (1, 0), (2, math.nan), (3, 1), (4, math.inf), (5, 1), (6, 1)], markers=False)])
    assert _path(chart).count("M") == 2
    (alone,) = _all(chart, "circle")  # a point that no line reaches would not be seen
    assert float(alone.get("cx", "nan")) == lay_out(chart).x(3)


def test_a_guide_line_changes_no_axis_and_ends_at_the_edge_of_the_plot():
    dots = Dots([(0, 0, 9), (10, 10, 9)])
    guide = Line([(-10, 15), (30, -25)], markers=False, fitted=False)
    outside = Line([(0, 50), (10, 60)], markers=False, fitted=False)
    chart = Chart("", [dots, guide, outside], Axis(domain=(0, 10)), Axis(domain=(0, 10)))
    assert lay_out(chart)[:2] == lay_out(Chart("", [dots], Axis(domain=(0, 10)), Axis(domain=(0, 10))))[:2]
    assert _path(chart) == "M52 120L214 210"  # from (0, 5) to (5, 0)


def test_a_chart_names_itself_to_a_screen_reader():
    root = _root(Chart("Mean reward", [Line([(0, 1)])]))
    assert root.get("role") == "img"
    first = root[0]
    assert (first.tag, first.text) == (f"{SVG}title", "Mean reward")


def test_the_legend_names_the_marks_that_have_a_label_and_adds_rows_as_needed():
    marks = [
        Line([(0, 1)], GREEN, "win"),
        Line([(0, 2)], GREY),
        Dots([(0, 1, 4)], RED, "dots"),
        Band([(0, 0, 1)], BLUE, "band"),
    ]
    chart = Chart("", marks)
    assert {"win", "dots", "band"} <= {element.text for element in _all(chart, "text")}
    assert _root(chart).get("height") == str(230 + LEGEND_ROW)
    assert "win" not in draw(Chart("", marks, legend=False))
    many = Chart("", [Line([(0, 1)], label=f"the curve number {i}") for i in range(7)])
    rows = {element.get("y") for element in _all(many, "text") if (element.text or "").startswith("the curve")}
    assert len(rows) == 4
    assert _root(many).get("height") == str(230 + 4 * LEGEND_ROW)


def test_sizes_of_dots_have_a_legend_of_their_own():
    chart = Chart(
        "", [Dots([(0, 0, 16)], BLUE, "all")], sizes=Sizes("prompts", [(16 * math.pi, "1"), (64 * math.pi, "20")])
    )
    assert {"all", "prompts:", "1", "20"} <= {element.text for element in _all(chart, "text")}
    assert [radius for (radius,) in _values(*_all(chart, "circle"), names=("r",))][-2:] == [4, 8]


def test_hostile_texts_stay_texts():
    marks = [Line([(0, 1), (1, 2)], label=HOSTILE)]
    chart = Chart(HOSTILE, marks, Axis(HOSTILE), Axis(HOSTILE), width=2000, sizes=Sizes(HOSTILE, [(9.0, HOSTILE)]))
    drawn = draw(chart)
    assert "<script" not in drawn
    root = ET.fromstring(drawn)
    shown = HOSTILE.replace("\x1b", "\N{REPLACEMENT CHARACTER}").replace("\ud800", "\N{REPLACEMENT CHARACTER}")
    assert sum(text.startswith(shown) for text in root.itertext()) == 7
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {
        "svg",
        "title",
        "text",
        "g",
        "line",
        "path",
        "circle",
    }


def test_a_chart_has_no_address_no_script_and_no_id():
    marks = [Line([(0, 1), (1, 2)], label="a"), Band([(0, 1, 2)]), Bars([(0, 1, 0, 1)]), Dots([(0, 0, 3)])]
    for element in _root(Chart("t", marks)).iter():
        assert not [name for name in element.attrib if "href" in name or name[:2] == "on" or name == "id"]
        assert "url(" not in "".join(element.attrib.values())


def test_a_long_title_is_cut_where_it_is_drawn_and_whole_where_it_is_read():
    title = "写作" * 100
    root = _root(Chart(title, [Line([(0, 1)])]))
    (drawn,) = [element.text for element in root.iter(f"{SVG}text") if "写" in (element.text or "")]
    assert root[0].text == title
    assert drawn == f"{title[:29]}…"  # 390 pixels hold 30 characters of 13


def test_equal_data_give_equal_strings():
    chart = Chart("t", [Line([(0, 0.1), (1, 0.2)], label="a"), Bars([(0, 1, 0, 1)])], sizes=Sizes("n", [(4.0, "1")]))
    assert draw(chart) == draw(chart)


def _luminance(colour):
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [it / 12.92 if it <= 0.04045 else ((it + 0.055) / 1.055) ** 2.4 for it in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("colour", [*PALETTE, GREY])
@pytest.mark.parametrize("paper", [LIGHT, DARK])
def test_every_colour_is_readable_on_both_backgrounds(colour, paper):
    """WCAG 1.4.11: at least 3 to 1."""
    low, high = sorted([_luminance(colour), _luminance(paper)])
    assert (high + 0.05) / (low + 0.05) >= 3


def test_texts_and_axes_take_the_colour_of_the_page():
    drawn = draw(Chart("t", [Line([(0, 1), (1, 2)])], Axis("x")))
    colours = {colour for _, colour in re.findall(r'(fill|stroke)="([^"]+)"', drawn)}
    assert colours == {INK, BLUE, "none"}
