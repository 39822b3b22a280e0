"""Curves as SVG: pictures and nothing else."""

import math
import xml.etree.ElementTree as ET

from longform.report.charts import CURVES, Curves, chart_of, pictures_of
from longform.report.svg import draw

SVG = "{http://www.w3.org/2000/svg}"


def draw_curves(curves, series):
    chart = chart_of(curves, series)
    return draw(chart) if chart else None


def test_a_picture_is_svg_without_scripts_or_addresses():
    series = {metric: [(i, i * 0.5) for i in range(20)] for curves in CURVES for metric in curves.metrics.values()}
    for curves in CURVES:
        drawn = draw_curves(curves, series)
        assert drawn is not None
        root = ET.fromstring(drawn)
        assert root.tag == f"{SVG}svg"
        tags = {element.tag.removeprefix(SVG) for element in root.iter()}
        assert not {"script", "foreignObject", "image", "a"} & tags
        assert not [name for element in root.iter() for name in element.attrib if "href" in name or name[:2] == "on"]
        assert curves.title in "".join(root.itertext())


def test_several_curves_in_a_picture_are_named():
    curves = Curves("Outcomes", {"win": "w", "loss": "l"})
    drawn = draw_curves(curves, {"w": [(1, 0.5), (2, 0.75)], "l": [(1, 0.5), (2, 0.25)]})
    assert drawn is not None
    text = list(ET.fromstring(drawn).itertext())
    assert {"win", "loss"} <= set(text)


def test_a_metric_that_was_not_recorded_has_no_picture():
    assert draw_curves(CURVES[0], {}) is None
    assert draw_curves(CURVES[0], {"reward/mean": []}) is None


def test_a_single_step_and_values_that_are_not_finite_can_be_drawn():
    curves = Curves("KL", {"kl": "kl"})
    assert draw_curves(curves, {"kl": [(1, 0.5)]}) is not None
    drawn = draw_curves(curves, {"kl": [(1, 0.5), (2, math.inf), (3, 1.0)]})
    assert drawn is not None
    assert "inf" not in drawn.lower()
    assert "nan" not in drawn.lower()


def test_each_of_several_rewards_has_a_curve_of_its_own():
    names = [f"reward/{kind}/{it}" for kind in ("length", "format", "pointwise") for it in ("mean", "spread", "share")]
    pictures = pictures_of(["reward/mean", "reward/count", "text/words", *names])
    added = [it for it in pictures if it not in CURVES]
    assert [set(it.metrics.values()) for it in added] == [
        {f"reward/{kind}/{measure}" for kind in ("length", "format", "pointwise")}
        for measure in ("mean", "spread", "share")
    ]
    assert pictures[:2] == [CURVES[0], added[0]]
    drawn = draw_curves(added[0], {name: [(1, 0.25), (2, 0.5)] for name in names})
    assert drawn is not None
    assert {"length", "format", "pointwise"} <= set(ET.fromstring(drawn).itertext())


def test_a_run_with_one_reward_has_the_pictures_of_every_run():
    assert pictures_of(["reward/mean", "reward/spread", "reward/count", "text/structure"]) == list(CURVES)
