"""The processes of a cell in one line."""

from __future__ import annotations

import pandas as pd
import pytest

from benchmark.stats.intervals import of_processes, quantile
from benchmark.store.repeats import combined


def row(repeat, p95=10.0, *, cell="x", status="ok", **values):
    return {
        "campaign": "c",
        "cell_id": cell,
        "environment_id": "e",
        "repeat": repeat,
        "status": status,
        "samples": 100,
        "latency_p95_ms": p95,
        "latency_p95_ms_lo": None,
        "latency_p95_ms_hi": None,
        "cosine": 0.9999,
        "steady": True,
        "noise_flags": None,
        **values,
    }


def lines(*rows):
    return combined(pd.DataFrame(rows)).to_dict("records")


def test_percentiles_of_processes_have_a_geometric_mean_and_a_t_interval():
    (line,) = lines(row(0, 10.0), row(1, 12.0), row(2, 11.0))
    found = of_processes([10.0, 12.0, 11.0])
    message = [line[f"latency_p95_ms{bound}"] for bound in ("", "_lo", "_hi")]
    assert message == pytest.approx(list(found))
    assert (line["processes"], line["samples"]) == (3, 300)


def test_a_flag_of_half_of_the_processes_is_a_flag_of_the_line():
    (line,) = lines(row(0, noise_flags=["contended"]), row(1, steady=False, noise_flags=["stolen"]))
    assert line["noise_flags"] == ["contended", "stolen"]
    assert not line["steady"]
    (line,) = lines(row(0, noise_flags=["contended"]), row(1, steady=False), row(2))
    assert line["noise_flags"] == []
    assert line["steady"]


def test_a_percentile_for_which_each_process_made_too_few_calls_is_that_of_all_calls():
    calls = [[1_000_000 * (n + 1) for n in range(40)], [1_000_000 * (n + 41) for n in range(40)]]
    few = [row(place, None, latency_ns=nanoseconds) for place, nanoseconds in enumerate(calls)]
    (line,) = lines(*few)
    assert line["latency_p95_ms"] == pytest.approx(quantile(range(1, 81), 0.95))
    assert pd.isna(line["latency_p95_ms_hi"])
    (line,) = lines(few[0], few[1] | {"latency_ns": None})
    assert pd.isna(line["latency_p95_ms"])


def test_the_least_agreement_counts():
    (line,) = lines(row(0, cosine=0.9), row(1))
    assert line["cosine"] == 0.9


def test_a_percentile_that_one_process_refuses_is_refused():
    (line,) = lines(row(0, None), row(1))
    assert pd.isna(line["latency_p95_ms"])


def test_a_process_that_failed_stands_for_all():
    (line,) = lines(row(0), row(1, None, status="crashed", samples=None))
    assert (line["status"], line["processes"]) == ("crashed", 2)


def test_cells_keep_their_places_and_single_rows_are_left_alone():
    rows = [row(0, cell="a"), row(0, cell="b"), row(0, cell="c"), row(1, cell="a")]
    assert [(line["cell_id"], line["processes"]) for line in lines(*rows)] == [("a", 2), ("b", 1), ("c", 1)]


def test_rows_that_know_no_repeat_are_left_alone():
    assert len(lines(row(None), row(None))) == 2
    assert len(combined(pd.DataFrame([row(0), row(1)]).drop(columns="repeat"))) == 2
