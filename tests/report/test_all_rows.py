from __future__ import annotations

import pandas as pd

from benchmark.report import all_rows

ROWS = pd.DataFrame(
    {
        "origin": "measured",
        "hardware": "cpu",
        "run_id": ["r1", "r2"],
        "cosine": [0.9999996, 1.0],
        "latency_p95_ms": [1.5, 2.5],
        "latency_p50_ms": [1.0, 2.0],
        "latency_p50_ms_lo": [0.9, 1.9],
        "latency_p50_ms_hi": [1.2, 2.1],
        "steady": pd.array([False, None], dtype="boolean"),
        "noise_flags": ["load", None],
        "batch_size": [1, 4],
        "model": "bert",
    }
)


def test_what_people_look_for_comes_first_under_short_names():
    frame = all_rows.of(ROWS).frame
    assert [*frame] == ["model", "batch", "p50 ms", "± %", "p95 ms", "doubt", "run", "cosine"]
    assert frame["± %"].tolist() == [20, 5]
    assert frame["doubt"].tolist() == ["unsteady, noisy", None]


def test_what_all_rows_share_is_said_once():
    assert all_rows.of(ROWS).shared == ("origin measured", "hardware cpu")


def test_simulated_rows_keep_their_mark():
    assert "origin" in all_rows.of(ROWS.assign(origin="simulated")).frame


def test_a_cosine_is_rounded_down():
    assert all_rows.of(ROWS).frame["cosine"].tolist() == [0.999999, 1.0]


def test_a_single_row_keeps_all_columns():
    assert "hardware" in all_rows.of(ROWS.head(1)).frame
