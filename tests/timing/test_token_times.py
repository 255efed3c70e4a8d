"""Figures of a generation are sums of the times of its tokens."""

from __future__ import annotations

import pytest

from benchmark.measurement import Harness, Measurement, Noise, Timing
from benchmark.records import Arithmetic, Shape, Workload
from benchmark.stats.intervals import summary
from benchmark.timing.roofline import Peak
from benchmark.timing.token_times import columns, decode_roofline

MS = 1_000_000
SHAPE = Shape(batch_size=4, input_length=32, output_length=4)
FIRST = (30 * MS, 35 * MS, 40 * MS, 60 * MS)
SECOND = (50 * MS, 55 * MS, 60 * MS, 65 * MS)
PEAK = Peak(flops_per_s={"fp32": 1e9}, copy_bytes_per_s=((1, 1e9),))


def measured(*tokens, dtype="fp32"):
    import numpy as np

    calls = tuple(call[-1] for call in tokens)
    timing = Timing(
        nanoseconds=calls,
        warmup_calls=1,
        warmup_s=0.0,
        wall_s=sum(calls) / 1e9,
        cpu_s=0.1,
        steady=True,
        stop_reason="enough",
        token_nanoseconds=tokens,
    )
    return Measurement(
        timing=timing,
        summary=summary(np.array(calls) / 1e6),
        first_call_ns=1,
        answers=(),
        arithmetic=Arithmetic(model_dtype=dtype, matmul_dtype="fp32", other_dtype="fp32", autocast="none"),
        noise=Noise(),
        attempts=1,
        retries_s=0.0,
        harness=Harness(timer_ns=1, affinity=(0,), allocator="malloc", denormals="kept"),
        load_s=0.1,
        process_s=0.1,
        peak_host_bytes=1,
        kv_bytes_per_token=1000.0,
    )


def workload(*names):
    parts = {"input_shapes": {}, "input_dtypes": {}, "reference": None, "weights_digest": "", "parameters": 1}
    common = {**parts, "flops_per_call": None, "padding_share": None, "threads": 1, "torch_device": "cpu"}
    decode = Workload(
        name="decode", load_module=int, input_names=("token",), weight_bytes=4_000_000, shape=SHAPE, **common
    )
    return Workload(
        load_module=int, input_names=names, weight_bytes=None, shape=SHAPE, parts=(decode,), **common
    )


def test_the_first_token_and_the_time_per_token_add_up_to_the_call():
    run = measured(FIRST, SECOND)
    found = columns(run, SHAPE)
    assert found["first_token_mean_ms"] == 40
    assert found["tpot_mean_ms"] == pytest.approx(7.5)
    assert found["first_token_mean_ms"] + 3 * found["tpot_mean_ms"] == pytest.approx(run.summary.mean[0])


def test_gaps_are_those_between_tokens_and_not_the_mean_of_a_generation():
    found = columns(measured(FIRST, SECOND), SHAPE)
    assert found["token_latency_p50_ms"] == 5
    assert found["token_latency_p95_ms"] == pytest.approx(16.25)  # of 5, 5, 5, 5, 5 and 20
    assert found["tpot_p50_ms"] == pytest.approx(7.5)


def test_rates_count_the_tokens_of_the_whole_batch():
    found = columns(measured(FIRST, SECOND), SHAPE)
    assert found["prefill_tokens_per_s"] == pytest.approx(4 * 32 / 0.040)
    assert found["decode_tokens_per_s"] == pytest.approx(4 / 0.0075)


def test_one_token_has_a_first_time_and_no_time_per_token():
    found = columns(measured((5 * MS,), (7 * MS,)), Shape(batch_size=1, input_length=32, output_length=1))
    assert found["first_token_p50_ms"] == 6
    assert "tpot_mean_ms" not in found


@pytest.mark.parametrize(
    ("dtype", "names", "needed"),
    [
        ("fp32", ("input_ids",), 4_000_000 + 4 * (32 + 2) * 1000),
        ("bf16", ("input_ids",), 2_000_000 + 4 * (32 + 2) * 1000),
        ("int4", ("input_ids",), 500_000 + 4 * (32 + 2) * 1000),
        ("fp32", ("input_ids", "decoder_input_ids"), 4_000_000 + 4 * 2 * 1000),
    ],
)
def test_a_step_of_decoding_reads_its_weights_and_the_cache_so_far(dtype, names, needed):
    run = measured(FIRST, dtype=dtype)
    assert decode_roofline(workload(*names), run, 10.0, PEAK) == pytest.approx(needed / 1e9 / 0.010)
