"""Pictures of a selection: every prompt is in them, in whatever order, and they are pictures and nothing else."""

import xml.etree.ElementTree as ET
from collections import Counter
from math import fsum

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longform.report.selection_charts import BARS, CELLS, Point, _edges, draw_potential, draw_spread, gather

SVG = "{http://www.w3.org/2000/svg}"
COLOURS = {"beyond": "#c3c9d4", "chosen": "#2f6690"}
POINTS = [Point(i % 7, (i % 5) / 2 - 0.5, "chosen" if i % 3 else "beyond") for i in range(200)]
SCORES = st.floats(-20, 20).map(lambda score: round(score, 2))
SOME = st.lists(st.builds(Point, SCORES, SCORES, st.sampled_from(list(COLOURS))), min_size=1, max_size=60)


def _text(svg):
    return "".join(ET.fromstring(svg).itertext())


@pytest.mark.parametrize("floor", [float("-inf"), 3.0, -1e6])
def test_pictures_are_svg_without_scripts_or_addresses(floor):
    drawn = [
        draw_potential(POINTS, title="<b>A & B</b>", colours=COLOURS, floor=floor),
        draw_spread(POINTS, title="<b>A & B</b>", colours=COLOURS),
    ]
    for picture in drawn:
        root = ET.fromstring(picture)
        assert root.tag == f"{SVG}svg"
        tags = {element.tag.removeprefix(SVG) for element in root.iter()}
        assert not {"script", "foreignObject", "image", "a", "b"} & tags
        assert not [name for element in root.iter() for name in element.attrib if "href" in name or name[:2] == "on"]
        assert {"<b>A & B</b>", "chosen", "beyond"} <= set(root.itertext())


def test_a_fate_that_no_prompt_has_is_not_in_the_legend():
    points = [point for point in POINTS if point.fate == "chosen"]
    for picture in (draw_potential(points, title="", colours=COLOURS), draw_spread(points, title="", colours=COLOURS)):
        assert "beyond" not in _text(picture)


@given(SOME, st.randoms(use_true_random=False))
def test_dots_hold_every_prompt_once_at_their_mean_and_the_order_does_not_matter(points, randomness):
    dots = gather(points)
    prompts = Counter()
    for dot in dots:
        prompts[dot.fate] += dot.prompts
    assert prompts == Counter(point.fate for point in points)
    assert fsum(dot.score * dot.prompts for dot in dots) == pytest.approx(fsum(it.score for it in points), abs=1e-6)
    assert gather(randomness.sample(points, len(points))) == dots
    assert {(dot.score, dot.potential) for dot in dots if dot.prompts == 1} <= {it[:2] for it in points}


def test_twenty_thousand_prompts_make_a_picture_of_bounded_size():
    rng = np.random.default_rng(0)
    values = rng.normal(5, 2, size=(20_000, 2))
    points = [Point(score, potential, "chosen") for score, potential in values.tolist()]
    assert len(gather(points)) <= CELLS * CELLS
    assert len(draw_potential(points, title="", colours=COLOURS)) < 1_000_000


@given(st.lists(SCORES, min_size=1, max_size=80))
def test_the_bars_cover_every_potential_and_are_not_too_many(values):
    edges = _edges(np.array(values))
    assert np.histogram(values, bins=edges)[0].sum() == len(values)
    assert 1 <= len(edges) - 1 <= BARS + 1


def test_every_bar_holds_equally_many_steps_of_whole_grades():
    edges = _edges(np.arange(-5, 96) / 1.0)
    counts = np.histogram(np.arange(-5, 96), bins=edges)[0]
    assert set(counts[:-1]) == {3}


def test_a_title_with_characters_that_no_picture_may_hold_is_drawn():
    title = "a\x1b[31m b\x00 c\ud800 d\ufffe"
    for picture in (
        draw_potential(POINTS, title=title, colours=COLOURS, floor=0.0),
        draw_spread(POINTS, title=title, colours=COLOURS),
    ):
        assert "a\N{REPLACEMENT CHARACTER}[31m b" in _text(picture)
