"""Charts of single calls, and fronts of the best trade-offs."""

from __future__ import annotations

import numpy as np

from tests.report.rows import made, store_of

CHART = {
    "name": "samples",
    "title": "T",
    "alt": "A",
    "panel": "model",
    "samples": 20,
    "select": {"model": "model", "place": "compiler"},
    "vega": {"mark": "tick", "encoding": {"x": {"field": "ms"}, "y": {"field": "process"}}},
}
FRONT = {
    "name": "front",
    "title": "T",
    "alt": "A",
    "select": {"p95": "latency_p95_ms", "per_s": "throughput_per_s", "model": "model"},
    "front": {"less": "p95", "against": "per_s", "best": "greatest", "among": ["model"]},
    "vega": {
        "transform": [{"filter": "datum.front"}],
        "mark": "line",
        "encoding": {"x": {"field": "p95"}, "y": {"field": "per_s"}},
    },
}


def drawn(store, chart):
    (one,) = made(store, {"sections": [{"title": "T", "charts": [chart]}]}).sections[0].charts
    return one.spec["datasets"]["rows"], one.spec["title"].get("subtitle", "")


def test_every_process_shows_calls_at_even_quantiles(tmp_path):
    calls = [[*range(10**6, 101 * 10**6, 10**6)], [*range(2 * 10**6, 202 * 10**6, 2 * 10**6)]]
    processes = [{"cell_id": "one", "repeat": n, "latency_ns": one} for n, one in enumerate(calls)]
    rows, subtitle = drawn(store_of(tmp_path, *processes), CHART)
    by_process = {n: [row["ms"] for row in rows if row["process"] == n] for n in (1, 2)}
    assert by_process[1] == [6, 16, 26, 36, 46, 56, 66, 76, 86, 96]
    assert by_process[2] == [2 * ms for ms in by_process[1]]
    assert "20 calls of each configuration at most" in subtitle


def test_few_calls_are_all_shown(tmp_path):
    rows, _ = drawn(store_of(tmp_path, {"latency_ns": [3_000_000, 1_000_000]}), CHART)
    assert [row["ms"] for row in rows] == [1.0, 3.0]


def test_of_many_configurations_some_are_drawn_and_the_others_counted(tmp_path):
    many = [{"latency_ns": [1_000_000, 2_000_000], "model": f"m{n % 12}"} for n in range(60)]
    rows, subtitle = drawn(store_of(tmp_path, *many), CHART)
    assert len(rows) == 36 * 2
    assert "9 of 12 panels: those with the most rows" in subtitle
    assert "36 of 45 configurations" in subtitle


def test_the_front_is_what_no_rival_beats_in_both(tmp_path):
    figures = [(1.0, 10.0), (2.0, 20.0), (3.0, 15.0), (4.0, np.nan)]
    changes = [{"latency_p95_ms": p95, "throughput_per_s": per_s} for p95, per_s in figures]
    other = {"latency_p95_ms": 9.0, "throughput_per_s": 1.0, "model": "beit"}
    rows, _ = drawn(store_of(tmp_path, *changes, other), FRONT)
    front = {row["p95"]: row["front"] for row in rows}
    assert front == {1.0: True, 2.0: True, 3.0: False, 4.0: False, 9.0: True}


def test_a_front_is_whole_however_many_others_there_are(tmp_path):
    beaten = [{"latency_p95_ms": 5.0 + n, "throughput_per_s": 1.0} for n in range(2500)]
    best = [
        {"latency_p95_ms": 1.0, "throughput_per_s": 5.0},
        {"latency_p95_ms": 2.0, "throughput_per_s": 6.0},
    ]
    rows, subtitle = drawn(store_of(tmp_path, *beaten, *best), FRONT)
    assert sorted(row["p95"] for row in rows if row["front"]) == [1.0, 2.0]
    assert len(rows) == 2 + 2500 // 3 + 1
    assert "one in 3 is drawn" in subtitle
