"""What earlier rows say of a cell that is not compiled yet: the nearest thing that was measured."""

from __future__ import annotations

import pytest

from benchmark.pipeline.prior import Arithmetic, Prior, Setup

EXACT = Arithmetic("cpu", "none", "none")


def row(**values):
    sizes = dict.fromkeys(("sequence_length", "image_size", "input_length", "output_length"))
    how = {
        "scenario": "latency",
        "qps_under_slo": None,
        "hardware": "cpu",
        "fast_math": "none",
        "quantization": None,
        "compiler": "eager",
        "threads": 1,
    }
    figures = {"latency_p50_ms": 10.0, "throughput_per_s": 100.0, "roofline_fraction": None}
    usual = {"cell_id": "a", "model": "bert", "batch_size": 1, **sizes, **how, **figures}
    return {**usual, **values}


def cell(**values):
    usual = Setup("new", ("bert", "latency", None, None, None, None), EXACT, "eager", 1, 1)
    return usual._replace(**values)


def expected(*rows, **values):
    found = Prior(rows).expected(cell(**values))
    return found and (found["latency_p50_ms"], found["throughput_per_s"])


def test_the_newest_row_of_the_cell_itself_counts_first():
    rows = row(latency_p50_ms=9.0), row(latency_p50_ms=8.0), row(cell_id="b", latency_p50_ms=1.0)
    assert expected(*rows, cell_id="a") == (8, 100)


def test_another_batch_is_scaled_and_the_nearest_counts():
    rows = row(), row(cell_id="b", batch_size=8, latency_p50_ms=40.0, throughput_per_s=200.0)
    assert expected(*rows, batch_size=4) == (20, 200)
    assert expected(*rows, batch_size=2) == (20, 100)


def test_a_row_with_as_many_threads_counts_before_one_of_a_nearer_batch():
    rows = row(threads=2, batch_size=8, latency_p50_ms=40.0), row(cell_id="b")
    assert expected(*rows, threads=2)[0] == 5
    assert expected(*rows, threads=4)[0] == 10


def test_arithmetic_and_sizes_are_never_taken_for_another():
    assert expected(row(quantization="int8")) is None
    assert expected(row(sequence_length=512)) is None


def test_an_unknown_compiler_reaches_the_share_of_the_roofline_that_it_has_on_other_models():
    eager = row(roofline_fraction=0.5)  # the machine allows 5 ms
    elsewhere = row(cell_id="b", model="vit", compiler="openvino", roofline_fraction=0.8)
    assert expected(eager, elsewhere, compiler="openvino", batch_size=2) == pytest.approx((12.5, 160))


def test_a_compiler_of_which_nothing_is_known_is_expected_to_do_as_well_as_the_best():
    slow = row(latency_p50_ms=20.0, throughput_per_s=50.0, roofline_fraction=0.25)
    rows = row(cell_id="b", compiler="inductor", roofline_fraction=0.5), slow
    assert expected(*rows, compiler="openvino") == pytest.approx((10, 100))
    assert expected(*rows, compiler="openvino", threads=2) is None  # the roofline of two threads is unknown
