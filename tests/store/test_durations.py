"""What earlier runs say about the time of the next ones: those with the same sampling, then the others."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from datetime import datetime, timedelta, timezone

import pytest

from benchmark.records import Row, Sampling
from benchmark.store.durations import Case, durations
from benchmark.store.results import ResultsStore

SAMPLING = {"warmup_calls": 1, "warmup_s": 0.1, "min_calls": 20, "max_calls": 999, "min_s": 0.5, "max_s": 2.0}
QUICK = Sampling(**SAMPLING, noise_retries=0)
THOROUGH = replace(QUICK, min_s=2.0)
STAGES = {"plan": 0.1, "build": 9.0, "compile": 9.0, "wait": 9.0, "peak": 9.0, "measure": 2.0, "verify": 0.2}
PARTS = {"measure.start": 0.4, "measure.warmup": 0.3, "measure.calls": 0.7, "measure.retries": 0.1}
BERT = Case("b1", "bert", "cpu", "eager")
OTHER = {"model": "vit", "cell_id": "v1", "compiler": "openvino"}


def config(sampling):
    return json.dumps({"batch": 1, "sampling": asdict(sampling), "model": {"x": {"y": 1}}}, sort_keys=True)


@pytest.fixture
def store(tmp_path):
    opened = ResultsStore(tmp_path / "results")
    opened.prepare()
    return opened


@pytest.fixture
def add(store):
    moment = datetime(2026, 1, 1, tzinfo=timezone.utc)

    def added(run_id, sampling=QUICK, stages=STAGES | PARTS, **values):
        nonlocal moment
        moment += timedelta(minutes=1)
        cell = {"cell_id": "b1", "model": "bert", "hardware": "cpu", "compiler": "eager", "status": "ok"}
        where = {"campaign": "a", "environment_id": "e", "started_at": moment, "finished_at": moment}
        what = {"config": config(sampling), "stage_seconds": stages, "simulated": False}
        store.append(Row(values={"run_id": run_id, **cell, **where, **what, **values}))

    return added


def test_a_process_takes_what_it_took_with_the_same_sampling_without_what_is_made_once(store, add):
    add("r1")
    add("r2", stages=STAGES | PARTS | {"measure": 3.0})
    add("r3", THOROUGH, STAGES | PARTS | {"measure": 60.0})
    store.compact()
    add("r4", status="timeout", stages={"measure": 3600.0})
    known = durations(store, {"bert"}, {"cpu"}).process(BERT, QUICK)
    assert known.rows == 2
    assert known.value == pytest.approx(0.1 + 2.5 - 0.4 + 0.2), "the start of the process is apart"
    assert durations(store, {"bert"}, {"cpu"}).process(BERT, replace(QUICK, max_s=3.0)) is None


def test_another_shape_of_the_model_under_the_compiler_is_next(store, add):
    add("r1", cell_id="b8", stages={"measure": 8.0})
    add("r2", cell_id="b1o", compiler="openvino", stages={"measure": 99.0})
    found = durations(store, {"bert"}, {"cpu"})
    assert found.process(BERT, QUICK).value == 8.0
    assert found.process(BERT._replace(model="vit", cell_id="v1"), QUICK) is None


def test_the_first_start_of_a_command_is_not_typical(store, add):
    for number, start in enumerate((9.0, 0.4, 0.2)):
        add(f"r{number}", stages=STAGES | PARTS | {"measure": 1.6 + start, "measure.start": start})
    found = durations(store, {"bert"}, {"cpu"})
    assert found.start(BERT) == 0.4
    assert found.process(BERT, QUICK).value == pytest.approx(1.9)


def test_other_samplings_say_what_a_process_takes_beside_its_calls(store, add):
    add("r1", THOROUGH, latency_p50_ms=20.0)
    found = durations(store, {"bert"}, {"cpu"})
    assert found.overhead(BERT) == pytest.approx(0.1 + 2.0 + 0.2 - 0.4 - 0.3 - 0.7 - 0.1)
    assert found.call(BERT) == 0.02
    assert found.call(BERT._replace(cell_id="b2")) == 0.02
    assert found.call(BERT._replace(cell_id="b2", compiler="openvino")) is None


def test_the_calls_of_a_simulated_clock_took_no_time(store, add):
    add("r1", simulated=True, stages={"measure": 0.01, "measure.calls": 60.0})
    assert durations(store, {"bert"}, {"cpu"}).overhead(BERT) == 0.01


def test_models_without_rows_are_judged_by_others_on_the_hardware(store, add):
    add("r1", **OTHER, compile_s=7.0)
    add("r2", **OTHER | {"compiler": "eager"}, hardware="cuda")
    found = durations(store, {"bert"}, {"cpu"})
    assert found.overhead(BERT) > 0
    assert found.making(BERT, "compile") is None
    assert found.making(BERT._replace(compiler="openvino"), "compile") == 7.0
    assert found.start(BERT._replace(hardware="cuda")) is None


def test_what_a_compiler_takes_is_what_it_took_when_it_made_the_artefact(store, add):
    add("r1", stages=STAGES | {"compile": 61.0, "build": 4.0}, compile_s=60.0)
    add("r2", stages=STAGES | {"compile": 0.01, "build": 0.01}, compile_s=60.0)  # the cache answered
    add("r3", stages=STAGES | {"build": 0.01}, compile_s=None)  # nothing to compile
    found = durations(store, {"bert"}, {"cpu"})
    assert found.making(BERT, "compile") == 60.0
    assert found.making(BERT, "build") == 4.0


def test_the_number_of_processes_is_that_of_the_last_campaign_of_each_cell(store, add):
    five = replace(QUICK, repeats=5)
    for campaign, cell, count in (("a", "b1", 5), ("b", "b1", 3), ("b", "b2", 5), ("b", "b4", 4)):
        for number in range(count):
            add(f"{campaign}{cell}{number}", five, campaign=campaign, cell_id=cell)
    found = durations(store, {"bert"}, {"cpu"})
    assert found.processes(BERT, five) == 3
    assert found.processes(BERT._replace(cell_id="b9"), five) == 4
    assert found.processes(BERT, replace(five, repeats=8)) is None


def test_rows_without_configuration_or_times_say_nothing(store, add):
    add("r1", config=None, stages={})
    found = durations(store, {"bert"}, {"cpu"})
    assert found.process(BERT, QUICK) is None
    assert found.start(BERT) is None
    assert found.overhead(BERT) is None


def test_without_a_store_nothing_is_known(tmp_path):
    found = durations(ResultsStore(tmp_path / "none"), {"bert"}, {"cpu"})
    assert found.process(BERT, QUICK) is None
    assert found.overhead(BERT) is None
    assert found.processes(BERT, QUICK) is None
