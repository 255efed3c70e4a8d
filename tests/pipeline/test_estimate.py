"""The estimate of a grid: by rows with the same sampling, else by what the sampling takes at least."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmark.cache.lookup import ReadOnlyCache
from benchmark.pipeline.estimate import expected_processes, forecast
from benchmark.stages.plan import plan
from benchmark.store.durations import Case, Durations

SAMPLING = {
    "warmup_s": 0.3,
    "warmup_calls": 3,
    "min_s": 0.5,
    "min_calls": 30,
    "max_s": 5.0,
    "max_calls": 20_000,
}
PRECISE = {**SAMPLING, "precision": 0.05}
STAGES = {"measure": 2.5, "measure.start": 0.5, "measure.warmup": 0.4, "measure.calls": 0.6, "verify": 0.2}


@pytest.fixture
def on_cpu(compose):
    """An experiment on a device that computes, with a sampling of its own."""

    def composed(*overrides, **sampling):
        e = compose("compiler=eager", *overrides)
        defaults = {"precision": None, "noise_retries": 0, "repeats": 1, "repeat_precision": None}
        return replace(e, sampling=replace(e.sampling, **{**SAMPLING, **defaults, **sampling}))

    return composed


@pytest.fixture
def ahead(tmp_path):
    def estimated(*experiments, past=None, workers=2):
        cache = ReadOnlyCache(tmp_path / "none")
        return forecast(plan(experiments, lambda _: {}), cache, past or Durations(), workers)

    return estimated


def measured(e, sampling=None, **values):
    """What one row of the cell of an experiment says."""
    past = Durations()
    (run,) = plan([replace(e, sampling=replace(e.sampling, repeats=1))], lambda _: {}).runs
    case = Case(run.cell.cell_id, e.model.name, e.hardware.name, e.compiler.name)
    row = {**case._asdict(), "simulated": False, "compile_s": None, "latency_p50_ms": None}
    past.add({**row, "stage_seconds": STAGES, **values}, vars(sampling or e.sampling))
    return past


def test_without_history_a_process_takes_its_minima_and_its_overhead(on_cpu, ahead):
    few, many = ahead(on_cpu()), ahead(on_cpu(repeats=5))
    assert few.measure_s == pytest.approx(0.3 + 0.5, abs=0.5)
    assert few.measure_s > 0.3 + 0.5
    assert many.measure_s == pytest.approx(5 * few.measure_s)
    assert few.basis == "estimated from the minimum times of this sampling, compile time is a guess"
    assert few.at_least


def test_minima_that_a_precision_may_exceed_are_said_to_be_the_least(on_cpu, ahead):
    assert ahead(on_cpu(**PRECISE)).at_least
    past = measured(on_cpu(**PRECISE))
    assert not ahead(on_cpu(**PRECISE), past=past).at_least


def test_a_known_median_says_what_the_fewest_calls_take(on_cpu, ahead):
    e = on_cpu()
    past = measured(e, replace(e.sampling, min_s=4.0), latency_p50_ms=100.0)
    assert ahead(e, past=past).measure_s == pytest.approx(0.3 + 30 * 0.1 + (2.7 - 1.0), abs=1e-6)
    slow = measured(e, replace(e.sampling, min_s=4.0), latency_p50_ms=1000.0)
    assert ahead(e, past=slow).measure_s == pytest.approx(3 * 1.0 + 5.0 + 1.7), "max_s ends it"


def test_rows_with_the_same_sampling_decide_alone(on_cpu, ahead):
    e = on_cpu(repeats=3)
    found = ahead(e, past=measured(e))
    assert found.measure_s == pytest.approx(3 * 2.7)
    assert found.basis == "estimated from 1 earlier run with this sampling, compile time is a guess"
    assert found.by_minima == 0


def test_cells_by_rows_and_cells_by_minima_are_said_apart(on_cpu, ahead):
    found = ahead(on_cpu(), on_cpu("model=vit_tiny"), past=measured(on_cpu()))
    assert found.basis.startswith(
        "estimated from 1 earlier run with this sampling, 1 of 2 processes from its minimum times"
    )


def test_what_is_shared_is_made_once_by_so_many_workers(on_cpu, ahead):
    one = ahead(on_cpu(), workers=1)
    assert one.compile_s > 0, "the reference"
    assert ahead(on_cpu(), on_cpu("batch=4"), workers=1).compile_s == 2 * one.compile_s
    assert ahead(on_cpu(), on_cpu("batch=4"), workers=2).compile_s == one.compile_s
    first = on_cpu()
    both = ahead(first, replace(first, compiler=on_cpu("compiler=onnxruntime").compiler), workers=1)
    assert len(both.making) == 2
    assert one.compile_s < both.compile_s < 5 * one.compile_s, "one reference, one artefact"


def test_a_device_that_computes_nothing_takes_no_time(simulated, ahead):
    found = ahead(*(simulated(f"batch={n}", "sampling=thorough") for n in range(1, 11)))
    assert found.compile_s == 0
    assert found.measure_s < 1.0


def test_a_load_takes_as_long_as_its_options_say(simulated, ahead):
    asked = "scenario=server", "sampling.warmup_s=0.5"
    load = simulated(*asked, "scenario.rate=9", "scenario.duration_s=40")
    search = simulated(*asked, "scenario.slo_ms=9", "scenario.search_s=20")
    assert ahead(load).measure_s == pytest.approx(40.5, abs=0.3)
    assert ahead(search).measure_s == pytest.approx(20.5, abs=0.3)
    assert 20.5 <= ahead(search, past=measured(load, search.sampling)).measure_s < 23


def test_dollars_are_those_of_all_seconds(on_cpu, ahead):
    found = ahead(on_cpu("budget.usd_per_hour=3600"), on_cpu("budget.usd_per_hour=3600", "batch=2"))
    assert found.usd == pytest.approx(found.seconds)
    assert found.seconds == found.compile_s + found.measure_s


@pytest.mark.parametrize(("processes", "expected"), [(3, 3.83), (24**0.5, 24**0.5), (8, 6.26)])
def test_the_number_of_processes_lies_between_the_middle_and_that_of_earlier_rows(
    on_cpu, processes, expected
):
    e = on_cpu()
    sampling = replace(e.sampling, repeats=8, min_repeats=3, repeat_precision=0.05)
    run, *_ = plan([replace(e, sampling=sampling)], lambda _: {}).runs
    past = Durations()
    assert expected_processes(run, past) == pytest.approx(24**0.5)
    past.add_cell(Case("x", e.model.name, "cpu", "eager"), vars(sampling), processes)
    assert expected_processes(run, past) == pytest.approx(expected, abs=0.01)
    always = replace(sampling, repeat_precision=None)
    run, *_ = plan([replace(e, sampling=always)], lambda _: {}).runs
    assert expected_processes(run, past) == 8
