"""Pictures are drawn without a browser, are not blank, and speak to screen readers."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest

from benchmark.errors import ConfigError
from benchmark.report.charts import completed
from benchmark.report.document import Chart
from benchmark.report.render.images import png, svg
from tests.report.render import sample

SVG = "{http://www.w3.org/2000/svg}"


def drawn_texts(picture):
    return {one.text for one in ET.fromstring(picture).iter(f"{SVG}text")}  # noqa: S314 - ours


def test_an_svg_says_what_it_shows():
    chart = sample.costs()
    root = ET.fromstring(svg(chart))  # noqa: S314 - ours
    assert root.get("role") == "img"
    assert root.get("aria-label") == chart.alt
    assert root.find(f"{SVG}title").text == chart.title
    assert root.find(f"{SVG}desc").text == chart.alt
    assert {"inf1.2xlarge", "US$ per million inferences", "published, hollow"} <= drawn_texts(svg(chart))


def test_a_hostile_name_is_text_in_an_svg():
    rows = [{"x": 1, "y": 1.0, "model": sample.SCRIPT}]
    vega = {
        "mark": "point",
        "encoding": {"x": {"field": "x"}, "y": {"field": "y"}, "color": {"field": "model"}},
    }
    picture = svg(completed("hostile", sample.SCRIPT, f'"{sample.SCRIPT}"', vega, rows))
    assert sample.SCRIPT in drawn_texts(picture)
    assert b"<script" not in picture


def test_a_png_has_two_pixels_for_one():
    picture = png(sample.slope())
    width, height = (int.from_bytes(picture[at : at + 4], "big") for at in (16, 20))
    stated = re.search(rb'width="(\d+)" height="(\d+)"', svg(sample.slope()))
    assert (width, height) == (2 * int(stated[1]), 2 * int(stated[2]))


def test_a_blank_picture_is_refused():
    nothing = {"mark": "point", "data": {"values": []}, "config": {"view": {"stroke": None}}}
    with pytest.raises(ConfigError, match="chart empty: the picture is blank"):
        png(Chart(name="empty", title="t", alt="a", spec=nothing))


def test_an_expression_that_vega_refuses_names_the_chart():
    vega = {"mark": "point", "transform": [{"filter": "datum.x >"}], "encoding": {"x": {"field": "x"}}}
    with pytest.raises(ConfigError, match="chart odd: Vega can't draw it"):
        png(completed("odd", "t", "a", vega, [{"x": 1}]))
