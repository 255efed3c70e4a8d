"""Labels that would cover a label or a point are left out."""

from __future__ import annotations

from benchmark.report.charts import completed


def labels(rows, **spec):
    vega = {
        "encoding": {"x": {"field": "x"}, "y": {"field": "y"}},
        "layer": [
            {"mark": "point"},
            {"mark": {"type": "text", "dy": -9}, "encoding": {"text": {"field": "label"}}},
        ],
    }
    chart = completed("c", "t", "a", {**vega, **spec} if not spec else {**spec, "spec": vega}, rows)
    return [row["label"] for row in chart.spec["datasets"]["rows"]]


def point(x, y, label="b1", **more):
    return {"x": x, "y": y, "label": label, **more}


def test_of_two_labels_at_one_place_the_first_stays():
    assert labels([point(0, 0), point(50, 50, "b2"), point(50.2, 50.2, "b3"), point(100, 100)]) == [
        *("b1", "b2", None, "b1")
    ]


def test_a_label_over_another_point_goes():
    above = point(50, 53, None)
    assert labels([point(0, 0), point(50, 50, "b2"), above, point(100, 100)]) == ["b1", None, None, "b1"]


def test_panels_do_not_meet():
    rows = [point(x, x, model=model) for model in "ab" for x in (0, 100)]
    facet = {"field": "model", "type": "nominal"}
    assert labels(rows, facet=facet) == ["b1"] * 4


def test_a_crowd_has_no_labels():
    assert {*labels([point(10 * n, 10 * n) for n in range(250)])} == {None}
