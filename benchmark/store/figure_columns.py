"""Columns of a row with figures that have intervals: latencies, and answers to labelled data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa

_TEXT, _INT, _REAL = pa.string(), pa.int64(), pa.float64()
_REALS = pa.list_(pa.float64())
_REAL_MAP = pa.map_(pa.string(), pa.float64())

_STATISTICS = {
    "min": "lowest",
    "mean": "mean",
    "std": "standard deviation of the",
    "p50": "median",
    "p90": "90th percentile of the",
    "p95": "95th percentile of the",
    "p99": "99th percentile of the",
    "max": "highest",
}
_BOUNDED = ("mean", "p50", "p90", "p95", "p99")
"""Latency statistics that come with a confidence interval."""

Described = tuple[str, pa.DataType, str, str]
"""Name, type, unit and meaning of a column."""


def bounds(name: str, unit: str) -> Iterator[Described]:
    """The two columns of a confidence interval."""
    yield f"{name}_lo", _REAL, unit, f"lower bound of the confidence interval of `{name}`"
    yield f"{name}_hi", _REAL, unit, f"upper bound of the confidence interval of `{name}`"


def latencies() -> Iterator[Described]:
    """Columns of the latency of a call."""
    for statistic, words in _STATISTICS.items():
        name = f"latency_{statistic}_ms"
        yield name, _REAL, "ms", f"{words} latency of one call"
        if statistic in _BOUNDED:
            yield from bounds(name, "ms")


def generations() -> Sequence[Described]:
    """Columns of a generation's tokens. All count from the start of the call.

    Under `scenario=server` the first token counts from the scheduled time of its request.
    """
    return (
        (
            "first_token_mean_ms",
            _REAL,
            "ms",
            (
                "mean time from the start of a generation, of `scenario=server` from the schedule of its "
                "request, to its first token (TTFT)"
            ),
        ),
        ("first_token_p50_ms", _REAL, "ms", "median of that time"),
        ("first_token_p95_ms", _REAL, "ms", "95th percentile of that time"),
        ("first_token_p99_ms", _REAL, "ms", "99th percentile of that time"),
        (
            "tpot_mean_ms",
            _REAL,
            "ms",
            (
                "time per output token (TPOT): (time of the last token - time of the first) / "
                "(`output_length` - 1), mean over the generations; `first_token_mean_ms` + `tpot_mean_ms` x "
                "(`output_length` - 1) is `latency_mean_ms`"
            ),
        ),
        ("tpot_p50_ms", _REAL, "ms", "median of that time over the generations"),
        ("tpot_p95_ms", _REAL, "ms", "95th percentile, under `scenario=server`"),
        ("tpot_p99_ms", _REAL, "ms", "99th percentile, under `scenario=server`"),
        (
            "token_latency_p50_ms",
            _REAL,
            "ms",
            "median time from one token to the next (ITL), over all such pairs of all generations",
        ),
        ("token_latency_p95_ms", _REAL, "ms", "95th percentile of that time"),
        ("token_latency_p99_ms", _REAL, "ms", "99th percentile of that time"),
        (
            "prefill_tokens_per_s",
            _REAL,
            "tokens/s",
            "`batch_size` x `input_length` / `first_token_mean_ms`: prompt tokens read in a second",
        ),
        (
            "decode_tokens_per_s",
            _REAL,
            "tokens/s",
            "`batch_size` / `tpot_mean_ms`: tokens made in a second after the first",
        ),
        (
            "kv_bytes_per_token",
            _REAL,
            "bytes",
            (
                "keys and values of one token of one item, all layers, in the type in which they are kept: "
                "2 x layers x heads of keys and values x their width x bytes of a number"
            ),
        ),
        (
            "decode_roofline_fraction",
            _REAL,
            "0…1",
            (
                "shortest time that memory bandwidth allows for a step of decoding, divided by "
                "`tpot_mean_ms`: a step reads each weight once, and the keys and values of the prompt and of "
                "half the output"
            ),
        ),
    )


def loads() -> Sequence[Described]:
    """Columns of `scenario=server`; its latency is from a request's scheduled time to its answer."""
    return (
        (
            "arrivals",
            _TEXT,
            "",
            "how requests arrive: `poisson`, `constant`, `gamma` or as those of a `trace`",
        ),
        ("slo_percentile", _REAL, "%", "percent of the requests that have to keep the limits"),
        ("ttft_slo_ms", _REAL, "ms", "limit of the time from a request's schedule to its first token"),
        ("tpot_slo_ms", _REAL, "ms", "limit of a request's time per token after the first"),
        ("offered_per_s", _REAL, "calls/s", "requests that the schedule asks for in a second"),
        ("achieved_per_s", _REAL, "calls/s", "requests that were issued in a second"),
        ("goodput_per_s", _REAL, "calls/s", "requests answered within all limits in a second"),
        (
            "attainment",
            _REAL,
            "0…1",
            "share of the requests that were answered within `slo_ms`, `ttft_slo_ms` and `tpot_slo_ms`",
        ),
        *bounds("attainment", "0…1"),
        ("queueing_p50_ms", _REAL, "ms", "median time from the schedule to the start of the call"),
        ("queueing_p99_ms", _REAL, "ms", "99th percentile of that time"),
        ("service_p50_ms", _REAL, "ms", "median time of the calls"),
        ("service_p99_ms", _REAL, "ms", "99th percentile of that time"),
        ("lateness_p50_ms", _REAL, "ms", "median delay of the generator behind its schedule"),
        ("lateness_p99_ms", _REAL, "ms", "99th percentile of that delay"),
        ("lateness_max_ms", _REAL, "ms", "greatest delay"),
        ("outstanding_mean", _REAL, "calls", "requests without an answer, mean over the time"),
        ("outstanding_max", _REAL, "calls", "most requests without an answer at one moment"),
        ("growing_per_s", _REAL, "calls/s", "requests by which the queue grew in a second; null: it didn't"),
        (
            "transport_ms",
            _REAL,
            "ms",
            "median time from a request's issue to an idle copy's call, part of latency",
        ),
        ("requests_per_call", _REAL, "", "requests that a call answered together, mean"),
        (
            "lengths",
            _TEXT,
            "",
            (
                "how many tokens requests have: `fixed`, `uniform` or `lognormal` up to `input_length` and "
                "`output_length`, or as those of a `trace`"
            ),
        ),
        ("prompt_tokens_mean", _REAL, "tokens", "tokens of a prompt, mean; without padding"),
        ("output_tokens_mean", _REAL, "tokens", "tokens of an answer, mean"),
        ("load_points", _INT, "", "rates that were tried"),
        (
            "curve_per_s",
            _REALS,
            "calls/s",
            "rates that were tried, ascending; the lists below have an entry for each",
        ),
        (
            "curve_p50_ms",
            _REALS,
            "ms",
            "median latency at each; null where the queue grew or requests were late",
        ),
        ("curve_p99_ms", _REALS, "ms", "99th percentile of the latency at each"),
        ("curve_attainment", _REALS, "0…1", "share of the requests within the limits at each"),
    )


def accuracies() -> Sequence[Described]:
    """Columns of the section `quality`, behind those of the comparison with the reference's outputs."""
    return (
        ("accuracy", _REAL, "0…1", "share of right answers on `dataset`"),
        ("accuracy_lo", _REAL, "0…1", "lower bound of the confidence interval of `accuracy`"),
        ("accuracy_hi", _REAL, "0…1", "upper bound of the confidence interval of `accuracy`"),
        ("accuracy_n", _INT, "items", "items of `dataset` that `accuracy` is based on"),
        ("accuracy_s", _REAL, "s", "time to answer them"),
        ("dataset", _TEXT, "", "name of the labelled data"),
        ("head", _TEXT, "", "`linear_probe`: logistic regression on features; null: the model's own head"),
        ("items_hash", _TEXT, "", "hash of the items of `dataset` and their order"),
        ("items_skipped", _INT, "items", "items that could not be read and were left out on request"),
        ("metric", _TEXT, "", "the figure that counts on `dataset`, such as `accuracy` or `f1`"),
        ("metric_value", _REAL, "", "value of `metric`"),
        *bounds("metric_value", ""),
        ("metrics", _REAL_MAP, "", "every figure of the answers, by name"),
        ("reference_value", _REAL, "", "value of `metric` of the fp32 reference on the same items"),
        ("metric_difference", _REAL, "", "`metric_value` minus `reference_value`"),
        *bounds("metric_difference", ""),
        ("accuracy_lost", _INT, "items", "items that the fp32 reference alone answers rightly"),
        ("accuracy_won", _INT, "items", "items that it alone answers wrongly"),
        ("accuracy_p", _REAL, "0…1", "p of McNemar's exact test of both, for this run alone"),
        (
            "accuracy_verdict",
            _TEXT,
            "",
            "`worse` or `better` than the fp32 reference, `no measurable difference`, `too few to tell`",
        ),
        (
            "smallest_difference",
            _REAL,
            "0…1",
            "smallest difference of accuracies that so many items would show",
        ),
        ("reference_agreement", _REAL, "0…1", "share of items with the same answer as the fp32 reference's"),
        (
            "flip_margin_p50",
            _REAL,
            "",
            "median over items with another answer: the reference's lead over its second answer, in logits",
        ),
        ("relative_floor", _REAL, "0…1", "least share of `reference_value` that was asked for"),
        (
            "reference_ratio",
            _REAL,
            "",
            "`metric_value` over `reference_value`; where less is better the reverse",
        ),
        *bounds("reference_ratio", ""),
        ("floor_verdict", _TEXT, "", "`kept`, `missed` or `inconclusive`: by the interval of the ratio"),
        ("floor_items", _INT, "items", "items that would decide about the floor"),
    )
