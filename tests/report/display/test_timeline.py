"""The chart of a series' nights: what is in it, and what its words say."""

from __future__ import annotations

import pandas as pd
import pytest

from benchmark.report.display.timeline import Change, Panel, builds, multiples, timeline

NIGHTS = 10
CHANGE = Change(campaign="n8", ratio=1.06, low=1.05, high=1.07)


def rows(*, torch="2.9", until=NIGHTS, commit="a" * 40, simulated=None):
    """Two processes a night; the last two nights are 6 % slower, under another torch."""
    made = []
    for night in range(until):
        slower = night >= NIGHTS - 2
        for process in range(2):
            p50 = (1.06 if slower else 1.0) * (10 + 0.1 * (night % 3) + 0.01 * process)
            made.append(
                {
                    "campaign": f"n{night}",
                    "night": pd.Timestamp("2026-01-01", tz="UTC") + pd.Timedelta(days=night),
                    "latency_p50_ms": p50,
                    "latency_p95_ms": None if process else p50 * 1.1,
                    "simulated": simulated,
                    "git_commit": commit,
                    "framework_versions": {"torch": "2.10" if slower else torch, "numpy": "2.0"},
                }
            )
    return pd.DataFrame(made).astype({"simulated": "boolean"})


def panel(*changes, label="bert cpu b1", **more):
    return Panel(stem="bert", label=label, rows=rows(**more), changes=changes)


def data(chart, kind):
    return [row for row in chart.spec["datasets"]["rows"] if row["kind"] == kind]


def test_every_process_is_a_point_and_every_night_has_a_median():
    chart = timeline(panel(CHANGE))
    points = data(chart, "process")
    assert [sum(point["percentile"] == one for point in points) for one in ("p50", "p95")] == [20, 10]
    assert [round(one["ms"], 3) for one in data(chart, "median")][:2] == [10.005, 10.105]


def test_the_band_is_what_the_nights_before_the_change_make_usual():
    low, high = ((one["low"], one["high"]) for one in data(timeline(panel(CHANGE)), "usual"))
    assert low == high
    assert 9.8 < low[0] < 10.0
    assert 10.2 < low[1] < 10.4
    assert data(timeline(panel(until=1)), "usual") == []


def test_a_rule_stands_at_the_night_of_a_confirmed_change_with_ratio_and_interval():
    (mark,) = data(timeline(panel(CHANGE)), "text left of rule")
    assert mark["night"] == "2026-01-09T00:00:00"
    assert mark["text"] == "+6.0% (95 %: +5.0% … +7.0%)"
    (early,) = data(
        timeline(panel(Change(campaign="n1", ratio=1.1, low=0.0, high=float("inf")))), "text right of rule"
    )
    assert early["text"] == "+10.0%"


def test_the_words_say_what_the_picture_shows():
    chart = timeline(panel(CHANGE, simulated=True))
    assert chart.title == "bert cpu b1 (simulated): latency by night"
    assert chart.alt.startswith(
        "bert cpu b1 (simulated): p50 and p95 of 20 processes in 10 nights from 2026-01-01 to 2026-01-10; "
        "the median p50 was 10.0 ms in the first night and 10.6 ms in the last."
    )
    assert "Confirmed in the night of 2026-01-09 by runs in turns: +6.0% (95 %: +5.0% … +7.0%)." in chart.alt


def test_a_build_is_named_by_what_changes():
    assert [*dict.fromkeys(builds(rows()))] == ["torch 2.9", "torch 2.10"]
    assert [*dict.fromkeys(builds(rows(torch="2.10")))] == [""]
    two = pd.concat([rows(torch="2.10", commit=None), rows(torch="2.10", commit="b" * 40)])
    assert [*dict.fromkeys(builds(two))] == ["commit ?", "commit bbbbbbbb"]


def test_of_many_builds_the_newest_have_colours_of_their_own():
    several = rows(torch="2.10").assign(git_commit=[f"{place:08}" for place in range(20)])
    named = [*dict.fromkeys(builds(several))]
    assert (len(named), named[0], named[-1]) == (7, "earlier builds", "commit 00000019")


def test_one_build_needs_no_colours():
    def colours(chart):
        return [layer["encoding"].get("color") for layer in chart.spec["layer"]]

    assert not any(colours(timeline(panel(torch="2.10"))))
    assert any(colours(timeline(panel())))


def test_small_multiples_have_a_scale_each_and_the_order_they_are_given():
    chart = multiples("all", [panel(label="b"), panel(label="a")])
    assert chart.spec["resolve"]["scale"]["y"] == "independent"
    assert chart.spec["facet"]["sort"] == ["b", "a"]
    assert {row["panel"] for row in chart.spec["datasets"]["rows"]} == {"a", "b"}
    assert chart.alt.startswith("2 series, each as a chart. b: p50 and p95 of 20")


@pytest.mark.parametrize("label", ["<script>alert(1)</script>", "two\nlines", "\x1b[31mred"])
def test_a_label_stays_a_label(label):
    from benchmark.report.render import images

    drawing = images.svg(timeline(panel(CHANGE, label=label))).decode()
    assert "<script" not in drawing
    assert "\x1b" not in drawing
