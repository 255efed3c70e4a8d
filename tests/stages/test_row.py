"""What a run found, spelled in the columns of the store."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest

from benchmark.cell import PlannedRun, cell_of, environment_of, run_id
from benchmark.errors import FAILURES
from benchmark.measurement import DeviceState, Harness, Measurement, Noise, Timing
from benchmark.records import Arithmetic, Artifact, CompileReport, DeviceFacts, Failure, Quality, Workload
from benchmark.stages.row import Attempt, row
from benchmark.stats.intervals import summary
from benchmark.store.results import ResultsStore
from benchmark.store.schema import REQUIRED, SCHEMA
from benchmark.timing.roofline import Peak

MS = 1_000_000
START = datetime(2026, 11, 22, 9, 30, tzinfo=timezone.utc)
LATENCIES = ("min", "mean", "std", "p50", "p90", "p95", "p99", "max")


@pytest.fixture
def attempt(simulated, tmp_path):
    """A finished run of a batch of 4 whose calls took these milliseconds."""

    def attempted(
        *latencies_ms, overrides=("batch=4",), weights="random", hub_id=None, revision=None, **changes
    ):
        experiment = simulated(*overrides)
        model = replace(experiment.model, hub_id=hub_id, revision=revision)
        cell = cell_of(replace(experiment, weights=weights, model=model))
        facts = DeviceFacts(device_name="core", cores=2, threads=2, driver_version="5.1")
        environment = environment_of(facts, {"torch": "2.9"}, {"OMP_NUM_THREADS": "2"})
        planned = PlannedRun(
            cell=cell, environment=environment, run_id=run_id("test", cell, environment), fate="run"
        )
        finished = Attempt(
            planned=planned,
            started_at=START,
            finished_at=START + timedelta(seconds=3),
            stage_seconds={"plan": 0.001, "build": 0.2, "compile": 1.0, "measure": 1.5, "verify": 0.1},
            workload=workload(cell),
            artifact=artifact(tmp_path),
            measured=measured(latencies_ms) if latencies_ms else None,
            quality=Quality(cosine=0.9999, max_abs_error=0.01, top1_agreement=1.0),
        )
        return replace(finished, **changes)

    return attempted


def workload(cell):
    return Workload(
        load_module=int,
        input_names=("pixel_values",),
        input_shapes={"pixel_values": (4, 3, 32, 32)},
        input_dtypes={"pixel_values": "float32"},
        reference=None,
        weights_digest="0",
        parameters=42,
        flops_per_call=3 * 10**9,
        weight_bytes=168,
        padding_share=0.25,
        shape=cell.shape,
        threads=2,
        torch_device="cpu",
    )


def artifact(folder):
    return Artifact(
        folder=folder,
        key="0" * 32,
        report=CompileReport(flags=("--auto-cast", "none"), subgraphs=1, unsupported_ops=()),
        cache_hit=True,
        compile_s=12.5,
        artifact_bytes=1000,
    )


def measured(latencies_ms):
    nanoseconds = tuple(round(latency * MS) for latency in latencies_ms)
    wall_s = sum(nanoseconds) / 1e9
    return Measurement(
        timing=Timing(
            nanoseconds=nanoseconds,
            warmup_calls=3,
            warmup_s=0.5,
            wall_s=wall_s,
            cpu_s=2 * wall_s,
            steady=True,
            stop_reason="precision",
            device_nanoseconds=(MS, 3 * MS, 2 * MS),
        ),
        summary=summary(np.array(latencies_ms, float)),
        noise=Noise(on_cpu=0.5, host_cpu=0.75, device=DeviceState(temperature_c=60.0), flags=("contended",)),
        attempts=3,
        retries_s=0.4,
        harness=Harness(timer_ns=60, affinity=(0, 1), allocator="glibc 2.36", denormals="kept"),
        first_call_ns=7 * MS,
        answers=(),
        arithmetic=Arithmetic(
            model_dtype="fp32",
            matmul_dtype="bf16",
            other_dtype="fp32",
            autocast="matmult",
            matmul_precision="medium",
        ),
        load_s=0.25,
        process_s=1.25,
        peak_host_bytes=10**9,
    )


def test_every_column_is_known_to_the_schema_and_nothing_required_is_missing(attempt):
    values = row(attempt(1, 2, 3)).values
    assert set(values) <= set(SCHEMA.names)
    assert all(values[name] is not None for name in REQUIRED)


def test_the_store_takes_the_row_as_it_is(attempt, tmp_path):
    store = ResultsStore(tmp_path / "results")
    store.prepare()
    stored = row(attempt(1, 2, 3))
    store.append(stored)
    (found,) = store.table().to_pylist()
    assert found["run_id"] == stored.run_id
    assert found["latency_ns"] == [MS, 2 * MS, 3 * MS]
    assert json.loads(found["config"])["batch"] == 4
    assert dict(found["framework_versions"])["torch"] == "2.9"
    assert found["started_at"] == START


def test_the_latencies_are_those_of_the_samples(attempt):
    values = row(attempt(1, 2, 3, 6)).values
    assert values["status"] == "ok"
    assert values["samples"] == 4
    assert values["latency_min_ms"] == 1
    assert values["latency_mean_ms"] == 3
    assert values["latency_std_ms"] == pytest.approx((14 / 3) ** 0.5)
    assert values["latency_p50_ms"] == 2.5
    assert values["latency_max_ms"] == 6
    assert values["first_call_ms"] == 7
    assert values["warmup_calls"] == 3


def test_throughput_counts_items_over_the_wall_time_of_all_calls(attempt):
    values = row(attempt(*[2] * 10)).values
    assert values["throughput_per_s"] == pytest.approx(10 * 4 / 0.02)
    assert values["throughput_unit"] == "items"
    assert values["cpu_share"] == pytest.approx(2)


@pytest.mark.parametrize(
    ("samples", "known"),
    [
        (1, {"p50"}),
        (35, {"p50"}),
        (36, {"p50", "p90"}),
        (72, {"p50", "p90", "p95"}),
        (368, {"p50", "p90", "p95", "p99"}),
    ],
)
def test_a_percentile_of_too_few_samples_stays_null(attempt, samples, known):
    values = row(attempt(*[2] * samples)).values
    message = {name for name in ("p50", "p90", "p95", "p99") if values[f"latency_{name}_ms"] is not None}
    assert message == known


def test_bounds_come_with_enough_independent_samples(attempt):
    values = row(attempt(*[2, 4] * 20)).values
    assert (values["latency_p50_ms"], values["latency_p95_ms"], values["effective_samples"]) == (
        3,
        None,
        None,
    )
    values = row(attempt(*[2] * 100)).values
    assert (values["latency_p95_ms_lo"], values["latency_p95_ms_hi"]) == (2, 2)
    assert values["effective_samples"] == 100
    assert values["throughput_per_s_lo"] == values["throughput_per_s"] == values["throughput_per_s_hi"]


def test_how_it_was_measured_and_what_disturbed_stands_in_the_row(attempt):
    values = row(attempt(1, 2, 3)).values
    assert (values["steady"], values["stop_reason"], values["attempts"]) == (True, "precision", 3)
    assert (values["noise_flags"], values["on_cpu"], values["cpu_percent"]) == (("contended",), 0.5, 75)
    assert (values["timer_ns"], values["affinity"], values["denormals"]) == (60, (0, 1), "kept")
    assert (values["temperature_c"], values["device_time_p50_ms"], values["inputs"]) == (60, 2, "fixed")


def test_one_sample_has_no_deviation(attempt):
    values = row(attempt(2)).values
    assert values["latency_std_ms"] is None
    assert values["latency_p50_ms"] == values["latency_mean_ms"] == 2


def test_calls_that_take_no_time_at_all_have_no_throughput(attempt):
    values = row(attempt(0, 0)).values
    assert (values["throughput_per_s"], values["cpu_share"]) == (None, None)


def test_a_failed_row_keeps_what_was_found_on_the_way_but_no_latency(attempt):
    failure = Failure(status="accuracy_fail", stage="verify", error="cosine is 0.5")
    values = row(attempt(1, 2, 3, failure=failure)).values
    assert (values["status"], values["stage"], values["error"]) == (
        "accuracy_fail",
        "verify",
        "cosine is 0.5",
    )
    for name in [*(f"latency_{name}_ms" for name in LATENCIES), "latency_ns", "samples", "throughput_per_s"]:
        assert values.get(name) is None, name
    assert values["compile_s"] == 12.5
    assert values["cosine"] == 0.9999
    assert values["matmul_dtype"] == "bf16"


def test_a_cell_that_never_started_still_has_its_axes(attempt):
    failure = Failure(status="unavailable", stage="plan", error="no device")
    bare = attempt(workload=None, artifact=None, quality=None, failure=failure)
    values = row(bare).values
    assert (values["model"], values["hardware"], values["compiler"]) == (
        "bert_tiny",
        "simulated",
        "simulated",
    )
    assert (values["batch_size"], values["sequence_length"], values["fast_math"]) == (4, 128, "none")
    assert values["parameters"] == 4_386_178
    assert values.get("compile_s") is None


@pytest.mark.parametrize("status", [*FAILURES, "interrupted"])
def test_whatever_the_status_the_store_takes_the_row(attempt, tmp_path, status):
    store = ResultsStore(tmp_path / "results")
    store.prepare()
    failed = attempt(
        workload=None, artifact=None, quality=None, failure=Failure(status=status, stage="build", error="x")
    )
    store.append(row(failed))
    assert store.table(["status"])["status"].to_pylist() == [status]


def test_a_good_row_tells_neither_stage_nor_error(attempt):
    values = row(attempt(1)).values
    assert (values["stage"], values["error"]) == (None, None)


def test_the_compile_seconds_are_the_original_ones_beside_the_hit(attempt):
    values = row(attempt(1)).values
    assert (values["cache_hit"], values["compile_s"], values["artifact_bytes"]) == (True, 12.5, 1000)
    assert values["compiler_flags"] == ("--auto-cast", "none")
    assert values["load_s"] == 0.25


def test_stage_seconds_tell_every_stage_and_the_parts_of_measure(attempt):
    seconds = dict(row(attempt(*[2] * 10)).values["stage_seconds"])
    assert seconds == {
        "plan": 0.001,
        "build": 0.2,
        "compile": 1.0,
        "measure": 1.5,
        "verify": 0.1,
        "measure.start": 0.25,
        "measure.load": 0.25,
        "measure.first_call": 0.007,
        "measure.retries": 0.4,
        "measure.warmup": 0.5,
        "measure.calls": pytest.approx(0.02),
        "measure.analysis": 0.0,
    }


def test_the_share_of_the_roofline_is_that_of_the_median(attempt):
    best = Peak(flops_per_s={"fp32": 1e12, "bf16": 2e12}, copy_bytes_per_s=((1 << 20, 1e10),))
    values = row(attempt(*[5] * 100, peak=best)).values  # 3 GFLOP at 2 TFLOP/s: 1.5 ms at least
    assert values["roofline_fraction"] == pytest.approx(0.3)
    assert values["peak_flops_per_s"] == 2e12
    assert (values["flops_per_call"], values["weight_bytes"]) == (3 * 10**9, 168)
    assert row(attempt(1)).values.get("roofline_fraction") is None


def test_the_log_is_named_only_if_there_is_one(attempt):
    quiet = attempt(1)
    assert row(quiet).values["log_path"] is None
    quiet.planned.log.parent.mkdir(parents=True)
    quiet.planned.log.write_text("said something")
    assert row(quiet).values["log_path"] == str(quiet.planned.log)


def test_the_arithmetic_in_the_row_is_the_effective_one(attempt):
    values = row(attempt(1)).values
    assert values["fast_math"] == "none"
    message = {field.name: values[field.name] for field in fields(Arithmetic)}
    assert message == {
        "model_dtype": "fp32",
        "matmul_dtype": "bf16",
        "other_dtype": "fp32",
        "autocast": "matmult",
        "matmul_precision": "medium",
    }


def test_an_image_model_tells_its_image_size_and_no_sequence_length(attempt):
    values = row(attempt(1, overrides=("model=vit_tiny",))).values
    assert (values["image_size"], values["sequence_length"]) == (32, None)


@pytest.mark.parametrize(
    ("weights", "pinned", "revision"),
    [("random", "0123456", None), ("pretrained", "0123456", "0123456"), ("pretrained", None, "main")],
)
def test_the_revision_is_said_of_published_weights_only(attempt, weights, pinned, revision):
    values = row(attempt(1, weights=weights, hub_id="google-bert/bert", revision=pinned)).values
    assert (values["weights"], values["revision"]) == (weights, revision)
    assert values["model_id"] == "google-bert/bert"


def test_a_simulated_row_says_so(attempt):
    assert row(attempt(1)).values["simulated"] is True
