"""Columns of a generation, from the times of its tokens. Formulas stand in `store.figure_columns`, too.

The time to the first token (TTFT) counts from the start of the call, and tokens are counted by their ids. All
tokens of one step come at once, so a gap is the time of one step, whatever the batch.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmark.measurement import Measurement
from benchmark.records import Shape, Workload
from benchmark.timing import roofline
from benchmark.timing.roofline import Peak

_DECODE = "decode"
"""The part that makes a token a call, in `models.generator`."""


def columns(measured: Measurement, shape: Shape) -> dict[str, Any]:
    """Times and rates of the tokens; empty for tasks without tokens."""
    if not measured.timing.token_nanoseconds:
        return {}
    ms = np.asarray(measured.timing.token_nanoseconds) / 1e6
    first, between = ms[:, 0], np.diff(ms, axis=1)
    found = {
        "first_token_mean_ms": float(first.mean()),
        "first_token_p50_ms": float(np.median(first)),
        "first_token_p95_ms": float(np.percentile(first, 95)),
        "prefill_tokens_per_s": shape.input_length
        and 1e3 * shape.batch_size * shape.input_length / float(first.mean()),
        "kv_bytes_per_token": measured.kv_bytes_per_token,
    }
    if not between.size:  # one token: there is no other to wait for
        return found
    per_token = between.mean(axis=1)
    p50, p95, p99 = np.percentile(between, (50, 95, 99))
    return found | {
        "token_latency_p50_ms": float(p50),
        "token_latency_p95_ms": float(p95),
        "token_latency_p99_ms": float(p99),
        "tpot_mean_ms": float(per_token.mean()),
        "tpot_p50_ms": float(np.median(per_token)),
        "decode_tokens_per_s": 1e3 * shape.batch_size / float(per_token.mean()),
    }


def decode_roofline(
    workload: Workload, measured: Measurement, tpot_mean_ms: float | None, peak: Peak
) -> float | None:
    """Least time of a step of decoding over `tpot_mean_ms`; None where the bytes that it reads aren't known.

    A step reads each weight once, and of every item the keys and values so far. On average of all steps these
    are those of the prompt and of half the output; of an encoder-decoder, which keeps them apart, of half the
    output alone.
    """
    decode = next((part for part in workload.parts if part.name == _DECODE), None)
    kv_bytes, shape = measured.kv_bytes_per_token, workload.shape
    if decode is None or decode.weight_bytes is None or kv_bytes is None or not tpot_mean_ms:
        return None
    is_encoder_decoder = "decoder_input_ids" in workload.input_names
    prompt = 0 if is_encoder_decoder else shape.input_length or 0
    length = prompt + (shape.output_length or 0) / 2
    needed = roofline.bytes_in(decode.weight_bytes, measured.arithmetic.model_dtype)
    needed += shape.batch_size * length * kv_bytes
    return needed / peak.bandwidth(needed) * 1e3 / tpot_mean_ms
