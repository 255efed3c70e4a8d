"""scenario=server from end to end, in real time on a device that only waits."""

from __future__ import annotations

import pytest

from benchmark.store.results import ResultsStore

SERVER = ("compiler=simulated", "scenario=server", "compiler.item_ms=0", "sampling.warmup_s=0")


@pytest.fixture
def loaded(simulated, run_cells):
    """Row and requests of one cell."""

    def ran(*overrides):
        experiment = simulated(*SERVER, *overrides)
        (row,) = run_cells(experiment)
        requests = ResultsStore(experiment.store_root).loads(row["run_id"]) if row["offered_per_s"] else None
        return row, requests

    return ran


def test_a_stall_is_seen_from_the_schedule_with_every_request_kept(loaded):
    row, requests = loaded(
        "scenario.rate=150",
        "scenario.duration_s=2",
        "scenario.slo_ms=2000",
        *("compiler.call_ms=1", "compiler.stall_calls=120", "compiler.stall_ms=400"),
    )
    assert row["status"] == "ok"
    assert row["noise_flags"] == []
    assert row["latency_p99_ms"] is None or row["latency_p99_ms"] >= 300
    assert row["latency_max_ms"] >= 400
    assert row["outstanding_max"] >= 0.4 * 150 / 2
    assert (row["attainment"], row["slo_ms"], row["arrivals"]) == (1, 2000, "poisson")
    assert row["samples"] == len(requests["scheduled_ns"][0])
    assert row["outstanding_mean"] == pytest.approx(
        row["achieved_per_s"] * row["latency_mean_ms"] / 1e3, rel=0.03
    )
    assert row["goodput_per_s"] == pytest.approx(row["achieved_per_s"])
    assert 0 < row["transport_ms"] < 50


def test_more_than_the_capacity_is_saturated_and_has_no_percentile(loaded):
    row, requests = loaded("scenario.rate=300", "scenario.duration_s=20", "compiler.call_ms=10")
    assert row["status"] == "saturated"
    assert "300 requests/s are more than it answers: the queue grew by" in row["error"]
    assert row["growing_per_s"] == pytest.approx(200, rel=0.4)
    assert row["latency_p99_ms"] is None
    assert requests["issued_ns"][0][-1].as_py() < 10e9  # it stopped early


def test_copies_and_batches_answer_what_one_alone_does_not(loaded):
    row, _ = loaded(
        "scenario.rate=300",
        "scenario.duration_s=2",
        "scenario.slo_ms=4000",
        "compiler.call_ms=10",
        *("scenario.replicas=2", "scenario.max_batch=4", "scenario.max_delay_ms=5"),
    )
    assert row["status"] == "ok"
    assert row["requests_per_call"] > 1.5
    assert row["replicas"] == 2


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ((), "scenario=server: give scenario.rate= for one load, or scenario.slo_ms="),
        (
            ("scenario.rate=0.1",),
            "scenario.rate=0.1 gives 3 requests in scenario.duration_s=30: use at least 200 s",
        ),
        (("scenario.rate=9", "scenario.burstiness=2"), "has no effect with scenario.arrivals=poisson"),
        (("scenario.rate=9", "scenario.max_batch=6"), "scenario.max_batch=6 is no power of two: use 4 or 8"),
        (("scenario.rate=9", "scenario.max_delay_ms=6"), "has no effect with scenario.max_batch=1"),
    ],
)
def test_options_that_say_too_little_or_contradict_each_other_are_refused(simulated, overrides, sentence):
    e = simulated(*SERVER, *overrides)
    assert sentence in e.scenario.refuse(e.task, e.compiler, e.hardware, None)


def test_a_preset_is_a_limit_of_mlperf_unless_another_is_given(simulated):
    assert simulated(*SERVER, "scenario.preset=bert").scenario.slo_ms == 130
    mine = simulated(*SERVER, "scenario.preset=resnet50", "scenario.slo_ms=20", "scenario.percentile=90")
    assert (mine.scenario.slo_ms, mine.scenario.percentile) == (20, 90)
