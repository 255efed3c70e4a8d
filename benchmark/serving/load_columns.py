"""What a load found, in columns of the store; `store.figure_columns` says what each means."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmark.serving_records import Served, ServingOptions, TokenFigures


def columns(served: Served | None, options: ServingOptions | None) -> dict[str, Any]:
    """Columns of a run that served requests; none for other scenarios."""
    if served is None or options is None:
        return {}
    load, curve = served.load, served.curve
    attainment = load.attainment or (None, None, None)
    found = served.found or (None, None, None)
    p50s, p99s = (
        [point.latency_ms[place] if point.latency_ms else None for point in curve] for place in (0, 2)
    )
    return {
        "arrivals": "trace" if options.replays else options.arrivals,
        "slo_ms": options.slo_ms,
        "slo_percentile": options.percentile if np.isfinite(options.limits).any() else None,
        **dict(zip(("qps_under_slo", "qps_under_slo_lo", "qps_under_slo_hi"), found, strict=True)),
        "offered_per_s": load.offered_per_s,
        "achieved_per_s": load.achieved_per_s,
        "goodput_per_s": None if attainment[0] is None else attainment[0] * load.achieved_per_s,
        **dict(zip(("attainment", "attainment_lo", "attainment_hi"), attainment, strict=True)),
        **dict(zip(("queueing_p50_ms", "queueing_p99_ms"), load.queueing_ms, strict=True)),
        **dict(zip(("service_p50_ms", "service_p99_ms"), load.service_ms, strict=True)),
        **dict(zip(("lateness_p50_ms", "lateness_p99_ms", "lateness_max_ms"), load.lateness_ms, strict=True)),
        **dict(zip(("outstanding_mean", "outstanding_max"), load.outstanding, strict=True)),
        "growing_per_s": load.growing,
        "transport_ms": served.transport_ms,
        "requests_per_call": load.batch,
        "load_points": len(curve),
        "curve_per_s": [point.offered_per_s for point in curve],
        "curve_p50_ms": p50s,
        "curve_p99_ms": p99s,
        "curve_attainment": [point.attainment[0] if point.attainment else None for point in curve],
        **(_tokens(load.tokens, options) if load.tokens else {}),
    }


def _tokens(found: TokenFigures, options: ServingOptions) -> dict[str, Any]:
    """Columns of a load of generations."""
    statistics = ("mean", "p50", "p95", "p99")
    first, per_token = (
        dict(zip(statistics, values, strict=False)) for values in (found.first_token_ms, found.per_token_ms)
    )
    return {
        "lengths": "trace" if options.trace else options.lengths,
        "prompt_tokens_mean": found.prompt,
        "output_tokens_mean": found.output,
        "padding_share": found.padding_share,
        "ttft_slo_ms": options.ttft_ms,
        "tpot_slo_ms": options.tpot_ms,
        **{f"first_token_{name}_ms": value for name, value in first.items()},
        **{f"tpot_{name}_ms": value for name, value in per_token.items()},
    }
