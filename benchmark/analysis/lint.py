"""Results that can't be right: rules over stored rows, each a small pure function of a frame of them.

Mistakes that were really published suggested the rules. Honest rows come first: where an honest measurement
could look the same, a rule gives a note instead. Rules that look at one row at a time stand here; those that
compare rows are in `lint_pairs`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa

from benchmark.analysis import lint_pairs
from benchmark.analysis.lint_pairs import LATENCIES, Found, flagged, label, run_ids, simulated, unsteady
from benchmark.cloud import prices
from benchmark.records import Names, frozen
from benchmark.store.schema import SCHEMA

_UNREAD = {"latency_ns", "config", "command", "error", "log_path", "stage_seconds", "overrides"}
COLUMNS: Final = tuple(name for name in SCHEMA.names if name not in _UNREAD)
"""Columns that rules read. Samples are read for the rows of `lint_pairs.lookalikes` only."""

_FIELDS = [SCHEMA.field(name) for name in (*COLUMNS, "latency_ns")]
_NUMBERS = [field.name for field in _FIELDS if field.type in {pa.int64(), pa.float64()}]
_TEXTS = [field.name for field in _FIELDS if field.type == pa.string()]
_LISTS = [field.name for field in _FIELDS if pa.types.is_list(field.type)]
_REST = [field.name for field in _FIELDS if field.name not in {*_NUMBERS, *_TEXTS, *_LISTS}]


Check = Callable[[pd.DataFrame], Iterator[Found]]
Mask = Callable[[pd.DataFrame], "pd.Series[bool]"]


@frozen
class Finding:
    """A finding of one rule."""

    rule: str
    rows: Names
    """Their run_ids."""
    reason: str
    """One sentence: the figures, and the remedy."""


@frozen
class Rule:
    """One rule: `check` yields the run_ids and the reason of each finding."""

    name: str
    meaning: str
    check: Check
    note: bool = False
    """An honest row can look like that: worth knowing before publication, but no mistake."""


def findings(rows: pd.DataFrame) -> list[Finding]:
    """Findings of all rules, in the order of `RULES`.

    The frame is as `results.to_frame` makes it, and may lack any column but run_id.
    """
    known = typed(rows)
    return [
        Finding(rule=rule.name, rows=tuple(ids), reason=reason)
        for rule in RULES
        for ids, reason in rule.check(known)
    ]


def typed(rows: pd.DataFrame) -> pd.DataFrame:
    """The frame that rules take: all columns, numbers as float64, texts and lists empty where null."""
    frame = rows.reindex(columns=[*_NUMBERS, *_TEXTS, *_LISTS, *_REST]).reset_index(drop=True)
    texts = frame[_TEXTS].astype(object)
    lists = frame[_LISTS].astype(object).map(lambda entries: list(entries) if np.ndim(entries) else [])
    kinds = (
        frame[_NUMBERS].astype("float64"),
        texts.where(texts.notna(), ""),
        lists,
        frame[_REST].astype(object),
    )
    return pd.concat(kinds, axis=1)


_BOUNDED = tuple(name for name in SCHEMA.names if f"{name}_lo" in SCHEMA.names)
_CHAINS: tuple[Sequence[str], ...] = (
    LATENCIES,
    ("latency_min_ms", "latency_mean_ms", "latency_max_ms"),
    *((f"{name}_lo", name, f"{name}_hi") for name in _BOUNDED),
)
"""Columns that never fall from left to right."""
_RESULTS = (
    *(*LATENCIES, "latency_mean_ms", "throughput_per_s", "qps_under_slo", "accuracy"),
    *("output_tokens_per_s", "token_latency_p50_ms", "first_token_p50_ms", "speedup_lo", "speedup_hi"),
)

_SAMPLES: Final = {"p90": 36, "p95": 72, "p99": 368}
"""Least n with q ** n <= 0.025: with fewer samples no 95 % interval of that percentile has an upper end."""

_FINITE, _ABOVE_0, _SLACK = sys.float_info.max, sys.float_info.min, 1e-6
_RANGES: Final = {
    **dict.fromkeys((*LATENCIES, "latency_mean_ms", "first_call_ms"), (_ABOVE_0, _FINITE)),
    "latency_std_ms": (0.0, _FINITE),
    "throughput_per_s": (_ABOVE_0, _FINITE),
    **dict.fromkeys(("cosine", "difference_cosine"), (-1 - _SLACK, 1 + _SLACK)),
    "relative_error": (0.0, _FINITE),
    **dict.fromkeys(
        ("top1_agreement", "accuracy", "ops_on_device_fraction", "attainment", "padding_share"),
        (0.0, 1 + _SLACK),
    ),
    **dict.fromkeys(("roofline_fraction", "decode_roofline_fraction"), (0.0, 1.05)),
    "cpu_percent": (0.0, 102.0),
}
"""Least and greatest value that a figure can have; the peak of a device is known to some percent."""

_CLOSED_LOOP = ("", "latency", "throughput")
"""Scenarios whose callers wait for an answer before the next call; in others calls queue."""
_CALLED = ("items", "images", "inferences", "sequences")
"""Units of which a call has `batch_size`."""
_SAME_RATE = 0.01
"""How far a training's rate may be from that of its steps."""
_SAME_TIME, _SAME_TIME_DISTURBED, _TIMER_MS = 1e-3, 0.05, 0.02
"""How far the times of tokens may be from that of their call: a share of it, and the reading of clocks."""
_LITTLE, _LEAST_OUTSTANDING = 0.03, 0.02
"""How far requests without an answer may be from rate x latency: a share, and where they are few a number."""
_HYPER_THREADS = 2.1
"""A core has two at most; the rest allows for inexact clocks."""


def _together(mask: Mask, reason: str) -> Check:
    """Make a rule that reports all rows of a mask in one finding."""

    def check(rows: pd.DataFrame) -> Iterator[Found]:
        if len(found := rows[mask(rows)]):
            yield run_ids(found), reason

    return check


def _singly(mask: Mask, reason: str) -> Check:
    """Make a rule that reports each row of a mask; the reason names columns as {column:format}."""

    def check(rows: pd.DataFrame) -> Iterator[Found]:
        for _, row in rows[mask(rows)].iterrows():
            yield [row["run_id"]], f"{label(row)}: {reason.format_map(row)}"

    return check


def percentiles_of_few_samples(rows: pd.DataFrame) -> Iterator[Found]:
    """Percentiles without an upper bound; rows whose number of samples is unknown are left out."""
    for percentile, needed in _SAMPLES.items():
        short = rows[rows[f"latency_{percentile}_ms"].notna() & (rows["samples"] < needed)]
        if len(short):
            counts = dict.fromkeys(
                f"{count:.0f}" for count in (short["samples"].min(), short["samples"].max())
            )
            reason = (
                f"{percentile} of {' to '.join(counts)} samples: below {needed} samples its 95 % interval "
                f"has no upper bound, so set sampling.min_calls={needed}, or don't publish it"
            )
            yield run_ids(short), reason


def figures_out_of_order(rows: pd.DataFrame) -> Iterator[Found]:
    """Percentiles rise, the mean lies between least and greatest, and every figure within its interval."""
    for chain in _CHAINS:
        values = rows[list(chain)].to_numpy()
        before = np.fmax.accumulate(values, axis=1)[:, :-1]
        for at, column in np.argwhere(values[:, 1:] < before):
            less, more = values[at, column + 1], before[at, column]
            if more - less > _half_step(less) + _half_step(more):
                row = rows.iloc[at]
                reason = (
                    f"{label(row)}: {chain[column + 1]} is {less:.6g}, but a figure that can't be greater is "
                    f"{more:.6g}: one stands in the wrong column or was typed wrongly, so correct it"
                )
                yield [row["run_id"]], reason


def impossible_figures(rows: pd.DataFrame) -> Iterator[Found]:
    """Latencies and throughputs above 0 and finite; shares and similarities within their range."""
    for name, (least, most) in _RANGES.items():
        for at in np.flatnonzero(rows[name].notna() & ~rows[name].between(least, most)):
            row = rows.iloc[at]
            reason = (
                f"{label(row)}: {name} is {row[name]:.6g}, which is impossible: find out what wrote it, "
                "then run the cell again"
            )
            yield [row["run_id"]], reason


def more_than_its_callers_request(rows: pd.DataFrame) -> Iterator[Found]:
    """Little's law: calls in flight = rate x latency, and there are only replicas x workers callers.

    Exact for the mean. A median may lie above it where latencies have two modes, so it gets more room.
    """
    latency = rows["latency_mean_ms"].fillna(rows["latency_p50_ms"])
    room = np.where(rows["latency_mean_ms"].notna(), 1.02, 1.1)
    flying = rows["throughput_per_s"] / rows["batch_size"] * latency / 1000
    callers = rows["replicas"] * rows["workers"]
    fit = rows["scenario"].isin(_CLOSED_LOOP) & rows["throughput_unit"].isin(_CALLED)
    for at in np.flatnonzero(fit & (flying > callers * room)):
        row = rows.iloc[at]
        reason = (
            f"{label(row)}: {row['throughput_per_s']:.6g} {row['throughput_unit']}/s at {latency[at]:.4g} ms "
            f"and batch {row['batch_size']:g} need {flying[at]:.3g} calls at a time, but replicas x workers "
            f"is {callers[at]:g}: correct the wrong one of the four"
        )
        yield [row["run_id"]], reason


def tokens_and_call_differ(rows: pd.DataFrame) -> Iterator[Found]:
    """First token + time per token x the tokens after it = time of the call, to 0.1 %.

    On a disturbed host other processes run between the last token and the end of the call.
    """
    after = (rows["output_length"] - 1) * rows["tpot_mean_ms"]
    made, call = rows["first_token_mean_ms"] + after, rows["latency_mean_ms"]
    fit = rows["scenario"].isin(_CLOSED_LOOP)
    share = np.where(flagged(rows), _SAME_TIME_DISTURBED, _SAME_TIME)
    for at in np.flatnonzero(fit & ((made - call).abs() > share * call + _TIMER_MS)):
        row = rows.iloc[at]
        reason = (
            f"{label(row)}: the first token after {row['first_token_mean_ms']:.6g} ms and "
            f"{row['output_length'] - 1:g} more of {row['tpot_mean_ms']:.6g} ms each end at "
            f"{made[at]:.6g} ms, "
            f"but the call takes {call[at]:.6g} ms: correct the wrong one of the four"
        )
        yield [row["run_id"]], reason


def steps_at_another_rate(rows: pd.DataFrame) -> Iterator[Found]:
    """Of a training, samples/s x time of a step = samples of a step: steps don't overlap."""
    parts = rows["data_parallel"].fillna(1) * rows["accumulation"].fillna(1)
    items = rows["global_batch_size"].fillna(rows["batch_size"] * parts)
    found = rows["throughput_per_s"] * rows["latency_mean_ms"] / 1000
    fit = (rows["scenario"] == "training") & rows["throughput_unit"].isin(_CALLED)
    for at in np.flatnonzero(fit & ((found / items - 1).abs() > _SAME_RATE)):
        row = rows.iloc[at]
        reason = (
            f"{label(row)}: {row['throughput_per_s']:.6g} {row['throughput_unit']}/s x "
            f"{row['latency_mean_ms']:.4g} ms a step are {found[at]:.6g}, but a step has {items[at]:g}: "
            f"{found[at] / items[at]:.4g} times as many, so correct the wrong one of the three"
        )
        yield [row["run_id"]], reason


def outstanding_at_another_rate(rows: pd.DataFrame) -> Iterator[Found]:
    """Little's law: requests without an answer = rate x mean latency, whatever the arrivals and the queue."""
    expected = rows["achieved_per_s"] * rows["latency_mean_ms"] / 1000
    gap = (rows["outstanding_mean"] - expected).abs()
    for at in np.flatnonzero(gap > np.maximum(_LITTLE * expected, _LEAST_OUTSTANDING)):
        row = rows.iloc[at]
        reason = (
            f"{label(row)}: {row['achieved_per_s']:.6g} requests/s x {row['latency_mean_ms']:.4g} ms are "
            f"{expected[at]:.4g} requests without an answer, but the row has {row['outstanding_mean']:.4g}: "
            "measure it again for longer, or correct the wrong one of the three"
        )
        yield [row["run_id"]], reason


def unknown_instance_type(rows: pd.DataFrame) -> Iterator[Found]:
    """Instance types that the price book lacks: their rows get no cost."""
    named = rows[(rows["instance_type"] != "") & ~simulated(rows)]
    for name, found in named.groupby("instance_type"):
        if prices.price(str(name)) is None:
            reason = (
                f"the price book has no on-demand price of {name}, so its rows have no cost: correct the "
                "name if there is no such type, or add its price to benchmark/cloud/prices.csv"
            )
            yield run_ids(found), reason


def noisy(rows: pd.DataFrame) -> Iterator[Found]:
    """Rows whose samples drift; then disturbed rows, with their most frequent flags."""
    yield from _unsteady(rows)
    found = rows[(rows["status"] == "ok") & flagged(rows)]
    if len(found):
        often = found["noise_flags"].explode().value_counts().index[:3]
        reason = (
            f"the samples were disturbed ({'; '.join(map(str, often))}): run again on a quieter host "
            "(`doctor --quiet` says how)"
        )
        yield run_ids(found), reason


_unsteady = _together(
    lambda rows: (rows["status"] == "ok") & unsteady(rows),
    "the samples have a trend or a step, so their median depends on when they were taken: run again with "
    "more warm-up (sampling.warmup_s=), or on a quieter host (`doctor --quiet`)",
)
no_result = _together(
    lambda rows: (rows["status"] == "ok") & rows[list(_RESULTS)].isna().all(axis=1),
    "status is ok, but there is neither latency nor throughput nor accuracy: run the cell again, or correct "
    "the status",
)
simulated_passed_off = _together(
    lambda rows: ((rows["hardware"] == "simulated") | (rows["compiler"] == "simulated")) & ~simulated(rows),
    "hardware or compiler is `simulated`, but simulated=true is missing, so reports take it for a "
    "measurement: remove it",
)
busier_than_its_cores = _singly(  # `cores` counts those of the host only where the device is the CPU
    lambda rows: (
        (rows["device_name"] == rows["cpu_model"])
        & (rows["device_name"] != "")
        & (rows["cpu_share"] > _HYPER_THREADS * rows["cores"])
    ),
    "{cpu_share:.3g} CPU seconds in a second (cpu_share) on {cores:g} cores: a clock is wrong or the cores "
    "were counted wrongly, so look at hardware.affinity and run again",
)
first_call_too_fast = _singly(
    lambda rows: rows["first_call_ms"] < rows["latency_min_ms"] / 2,
    "the first call took {first_call_ms:.3g} ms, no later one less than {latency_min_ms:.3g} ms: the first "
    "was not awaited, or something slowed all the others, so look at the host and run the cell again",
)


def _half_step(figure: float) -> float:
    """By how much a figure may be off for having been rounded: half a unit of its last digit."""
    exponent = Decimal(repr(float(figure))).as_tuple().exponent
    return 0.5 * 10.0**exponent if isinstance(exponent, int) else 0.0


RULES: Final = (
    Rule(
        name="identical series",
        meaning="two different runs have exactly the same figures",
        check=lint_pairs.identical_series,
    ),
    Rule(
        name="latency falls",
        meaning="a greater batch or length of the same cell is clearly faster",
        check=lint_pairs.latency_falls,
    ),
    Rule(
        name="above Little's law",
        meaning="more throughput than replicas x workers callers can request at that latency",
        check=more_than_its_callers_request,
    ),
    Rule(
        name="outstanding at another rate",
        meaning="requests without an answer that aren't rate x mean latency, to 3 %",
        check=outstanding_at_another_rate,
    ),
    Rule(
        name="steps at another rate",
        meaning="a training whose samples/s x time of a step isn't the samples of a step, to 1 %",
        check=steps_at_another_rate,
    ),
    Rule(
        name="tokens and call differ",
        meaning="first token + time per token x further tokens isn't the time of the call, to 0.1 %",
        check=tokens_and_call_differ,
    ),
    Rule(
        name="few samples",
        meaning="too few samples for a percentile: p90 needs 36, p95 72, p99 368",
        check=percentiles_of_few_samples,
    ),
    Rule(
        name="out of order",
        meaning="percentiles that don't rise, or a figure outside its own interval",
        check=figures_out_of_order,
    ),
    Rule(
        name="impossible figure",
        meaning="not above zero, not finite, or out of range",
        check=impossible_figures,
    ),
    Rule(name="no result", meaning="an ok row without any figure", check=no_result),
    Rule(
        name="simulated passed off",
        meaning="made by the simulated device or compiler, but not marked",
        check=simulated_passed_off,
    ),
    Rule(
        name="unknown instance",
        meaning="an instance type without a price",
        check=unknown_instance_type,
    ),
    Rule(
        name="busier than its cores",
        meaning="more CPU time than the cores can provide",
        check=busier_than_its_cores,
    ),
    Rule(
        name="mixed units",
        meaning="one model's throughput counted in several units",
        check=lint_pairs.mixed_units,
    ),
    Rule(name="noisy", meaning="an ok row with unsteady samples, or measured on a noisy host", check=noisy),
    Rule(
        name="first call too fast",
        meaning="the first call took less than half of any later one",
        check=first_call_too_fast,
        note=True,
    ),
    Rule(
        name="no difference",
        meaning="accuracies on the same data that don't differ measurably",
        check=lint_pairs.accuracy_within_noise,
        note=True,
    ),
    Rule(
        name="flag without effect",
        meaning="fast_math computed exactly the numbers of fast_math=none",
        check=lint_pairs.flag_without_effect,
        note=True,
    ),
    Rule(
        name="mixed environments",
        meaning="a campaign has the same cell from several environments",
        check=lint_pairs.mixed_environments,
        note=True,
    ),
    Rule(
        name="one process",
        meaning="an interval within one process, beside others of the model that are over several",
        check=lint_pairs.one_process_beside_several,
        note=True,
    ),
)
