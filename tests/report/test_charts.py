"""Fragments of Vega-Lite become whole charts, and mistakes in them name chart and key."""

from __future__ import annotations

import json
from datetime import date, timedelta

import pytest

from benchmark.errors import ConfigError
from benchmark.report.charts import MOST_POINTS, completed
from tests.report.render import sample

ROWS = [
    {"x": n, "y": 10.0 * n, "model": model, "origin": origin, "unused": "u"}
    for n in range(1, 5)
    for model, origin in (("a", "measured"), ("b", "published"))
]
XY = {"x": {"field": "x"}, "y": {"field": "y"}}


def made(vega, rows=ROWS):
    return completed("c", "Title", "What it shows.", vega, rows)


def line(**more):
    return {"mark": "line", "encoding": {**XY, **more}}


def log(field):
    return {"field": field, "scale": {"type": "log"}}


@pytest.mark.parametrize(
    ("vega", "message"),
    [
        ({"mark": "lin", "encoding": XY}, "chart c: mark: unknown mark 'lin'"),
        ({"mark": {"type": "line", "widht": 3}, "encoding": XY}, "chart c: mark"),
        (line(colour={"field": "model"}), "chart c: encoding: .*'colour' was unexpected"),
        (line(y={"field": "y", "scale": {"type": "logg"}}), "chart c: encoding.y.scale.type: 'logg'"),
        ({"layer": [line(), line(y={"fild": "y"})]}, "chart c: layer.1.encoding.y: .*'fild'"),
        (
            line(color={"field": "modle"}),
            "chart c: encoding.color.field: no row has 'modle': use one of model",
        ),
        ({"encoding": XY}, "chart c: add a mark"),
        ({**line(), "data": {"url": "https://x"}}, "chart c: remove data: "),
        (line(href={"value": "https://x"}), "chart c: remove encoding.href: "),
        ({**line(), "widht": 3}, "chart c: at the top: .*'widht'"),
    ],
)
def test_a_mistake_names_chart_and_key(vega, message):
    with pytest.raises(ConfigError, match=message):
        made(vega)


def test_only_the_fields_that_are_spoken_of_travel():
    (row, *_) = made(line()).spec["datasets"]["rows"]
    assert {*row} == {"x", "y", "origin"}
    filtered = {**line(), "transform": [{"filter": "datum.model == 'a'"}]}
    assert "model" in made(filtered).spec["datasets"]["rows"][0]


def test_a_field_that_a_transform_makes_is_known():
    vega = {"transform": [{"calculate": "datum.y * 2", "as": "twice"}], **line(y={"field": "twice"})}
    assert made(vega).spec["encoding"]["y"]["field"] == "twice"


def test_types_follow_the_values():
    rows = [{"x": date(2026, 1, n), "y": 1.5, "model": "a"} for n in (1, 2)]
    encoding = made(line(color={"field": "model"}), rows).spec["encoding"]
    assert [encoding[one]["type"] for one in ("x", "y", "color")] == ["temporal", "quantitative", "nominal"]


def test_colour_is_never_alone_on_points():
    encoding = made({"mark": "point", "encoding": {**XY, "color": {"field": "model"}}}).spec["encoding"]
    assert encoding["shape"]["field"] == "model"
    assert encoding["shape"]["scale"] == encoding["color"]["scale"] == {"domain": ["a", "b"]}


def test_origins_look_the_same_in_every_chart():
    dash = made(line(strokeDash={"field": "origin"})).spec["encoding"]["strokeDash"]
    assert dash["scale"]["domain"] == ["measured", "published"]
    assert dash["scale"]["range"] == [[1, 0], [6, 4]]
    published = [row for row in ROWS if row["origin"] == "published"]
    alone = made(line(strokeDash={"field": "origin"}), published).spec["encoding"]["strokeDash"]
    assert alone["scale"] == {"type": "ordinal", "domain": ["published"], "range": [[6, 4]]}


def test_hollow_points_keep_their_outline_and_a_legend_says_why():
    vega = {
        "mark": "point",
        "encoding": {**XY, "color": {"field": "model"}, "fillOpacity": {"field": "origin"}},
    }
    encoding = made(vega).spec["encoding"]
    assert encoding["color"] is None
    assert encoding["stroke"]["field"] == encoding["fill"]["field"] == "model"
    assert "hollow" in encoding["strokeDash"]["legend"]["labelExpr"]


def test_a_logarithmic_axis_gets_no_zeros_and_alt_says_how_many_rows_went():
    rows = [*ROWS, {"x": 9, "y": 0.0}, {"x": 9, "y": None}, {"x": 9, "y": float("nan")}, {"x": 0, "y": -1.0}]
    chart = made(line(y=log("y")), rows)
    assert len(chart.spec["datasets"]["rows"]) == len(ROWS)
    assert "4 rows are left out" in chart.alt
    assert chart.spec["description"] == chart.alt


def test_a_row_that_one_layer_can_show_stays_for_it():
    rows = [{"x": 1, "low": 2.0, "high": 0.0}, {"x": 2, "low": 0.0, "high": 0.0}]
    layers = [{"mark": "line", "encoding": {"x": {"field": "x"}, "y": log(one)}} for one in ("low", "high")]
    chart = made({"layer": layers}, rows)
    assert chart.spec["datasets"]["rows"] == [{"x": 1, "low": 2.0, "high": None}]


def test_of_many_points_each_series_keeps_its_share_and_the_subtitle_says_so():
    rows = [{"x": n, "y": 1.0, "model": "ab"[n % 2]} for n in range(2 * MOST_POINTS)]
    chart = made(line(color={"field": "model"}), rows)
    kept = [row["model"] for row in chart.spec["datasets"]["rows"]]
    assert kept.count("a") == kept.count("b") == MOST_POINTS / 2
    assert chart.spec["title"]["subtitle"] == "5000 of 10000 points: one in 2 of each series"


def test_of_many_nights_the_newest_are_kept():
    rows = [{"x": date(2000, 1, 1) + timedelta(days=n), "y": 1.0} for n in range(MOST_POINTS + 10)]
    chart = made(line(), rows)
    assert chart.spec["datasets"]["rows"][0]["x"] == "2000-01-11"
    assert chart.spec["title"]["subtitle"].startswith("The newest 5000")


def test_texts_are_harmless_json():
    chart = made(line(color={"field": "model"}), [{"x": 1, "y": 2.0, "model": sample.ANSI_ERROR}])
    assert "\x1b" not in json.dumps(chart.spec)
    assert "\\u001b" not in json.dumps(chart.spec)


def test_no_rows_make_an_empty_chart_instead_of_an_error():
    assert made(line(), []).spec["datasets"]["rows"] == []


def test_a_fragment_is_left_as_it_was():
    vega = line(color={"field": "model"})
    before = json.dumps(vega)
    made(vega)
    assert json.dumps(vega) == before
