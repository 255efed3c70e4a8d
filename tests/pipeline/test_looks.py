"""What a row says about its candidate in a race."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from benchmark.pipeline.looks import Wanted, look
from benchmark.serving_records import ServingOptions

ROW = {
    **dict.fromkeys(("error", "cosine", "latency_p95_ms", "stage", "qps_under_slo")),
    "status": "ok",
    "latency_p50_ms": 10.0,
    "throughput_per_s": 90.0,
    "noise_flags": [],
}


def run(serving=None):
    scenario = SimpleNamespace(serving=serving)
    return SimpleNamespace(cell=SimpleNamespace(experiment=SimpleNamespace(scenario=scenario, batch=2)))


def found(objective, serving=None, **changes):
    return look({**ROW, **changes}, run(serving), Wanted(objectives=(objective,)))


def test_less_of_each_objective_is_better():
    assert found("latency").values == (10,)
    assert found("throughput").values == pytest.approx((1 / 90,))


def test_a_search_under_load_counts_by_the_rate_that_it_found():
    searching = ServingOptions(slo_ms=50.0)
    assert found("throughput", searching, qps_under_slo=40.0).values == pytest.approx((1 / 80,))


def test_a_late_generator_and_a_short_search_may_be_chance_and_a_wrong_answer_is_none():
    late = found("throughput", ServingOptions(slo_ms=50.0), noise_flags=["generator_late"])
    assert (late.refused, late.perhaps) == ("its row has no throughput, generator_late", True)
    short = found("throughput", status="incompatible", stage="measure", error="too short")
    assert (short.refused, short.perhaps) == ("incompatible at measure: too short", True)
    wrong = found("latency", status="accuracy_fail", stage="verify", error="the error is large")
    assert (wrong.refused, wrong.perhaps) == ("accuracy_fail at verify: the error is large", False)
