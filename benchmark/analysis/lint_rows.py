"""Rules of `lint` that look at one row at a time: figures that contradict each other, or the row around them.

They take the frame that `lint` makes: every column there, numbers as float64, texts and lists empty where
null. Each yields the run_ids and the reason of what it finds.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Final

import numpy as np
import pandas as pd

from benchmark.cloud import prices
from benchmark.store.schema import SCHEMA

Told = tuple[list[str], str]
"""The run_ids of a finding, and its reason."""

LATENCIES: Final = tuple(f"latency_{name}_ms" for name in ("min", "p50", "p90", "p95", "p99", "max"))
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
    "cosine": (-1 - _SLACK, 1 + _SLACK),
    **dict.fromkeys(("top1_agreement", "accuracy", "ops_on_device_fraction"), (0.0, 1 + _SLACK)),
    "roofline_fraction": (0.0, 1.05),
    "cpu_percent": (0.0, 102.0),
}
"""Least and greatest value that a figure can have; what a device can do at best is known to some percent."""

_CLOSED_LOOP = ("", "latency", "throughput")
"""Scenarios whose callers wait for an answer before they ask again: elsewhere calls queue, and are more."""
_CALLED = ("items", "images", "inferences", "sequences")
"""Units of which a call has `batch_size`."""
_HYPER_THREADS = 2.1
"""A core has two at most; the rest is what clocks are off by."""


def percentiles_of_few_samples(rows: pd.DataFrame) -> Iterator[Told]:
    """Rows whose samples are unknown say nothing."""
    for percentile, needed in _SAMPLES.items():
        short = rows[rows[f"latency_{percentile}_ms"].notna() & (rows["samples"] < needed)]
        if len(short):
            counts = dict.fromkeys(
                f"{count:.0f}" for count in (short["samples"].min(), short["samples"].max())
            )
            reason = (
                f"{percentile} of {' to '.join(counts)} samples: with fewer than {needed} nobody can tell "
                f"how far it is off, so set sampling.min_calls={needed}, or don't publish it"
            )
            yield run_ids(short), reason


def figures_out_of_order(rows: pd.DataFrame) -> Iterator[Told]:
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


def impossible_figures(rows: pd.DataFrame) -> Iterator[Told]:
    """Latencies and throughputs above 0 and finite; shares and similarities within their range."""
    for name, (least, most) in _RANGES.items():
        for at in np.flatnonzero(rows[name].notna() & ~rows[name].between(least, most)):
            row = rows.iloc[at]
            reason = (
                f"{label(row)}: {name} is {row[name]:.6g}, which nothing can be: find out what wrote it, "
                "then run the cell again"
            )
            yield [row["run_id"]], reason


def more_than_its_callers_ask(rows: pd.DataFrame) -> Iterator[Told]:
    """Little's law: calls in flight = rate x latency, and there are only replicas x workers callers.

    Exact for the mean; a median may lie above it where latencies have two modes, so it gets more room.
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
            f"is {callers[at]:g}: correct whichever of the four is wrong"
        )
        yield [row["run_id"]], reason


def no_result(rows: pd.DataFrame) -> Iterator[Told]:
    """An ok row has a latency, a throughput or an accuracy."""
    empty = rows[(rows["status"] == "ok") & rows[list(_RESULTS)].isna().all(axis=1)]
    if len(empty):
        reason = (
            "status is ok, but there is neither latency nor throughput nor accuracy: run the cell again, or "
            "store the status that it deserves"
        )
        yield run_ids(empty), reason


def simulated_passed_off(rows: pd.DataFrame) -> Iterator[Told]:
    """What the simulated device or compiler made says simulated=true."""
    made_up = (rows["hardware"] == "simulated") | (rows["compiler"] == "simulated")
    unmarked = rows[made_up & ~simulated(rows)]
    if len(unmarked):
        reason = (
            "hardware or compiler is `simulated`, but simulated=true is missing, so reports take it for a "
            "measurement: remove it"
        )
        yield run_ids(unmarked), reason


def unknown_instance_type(rows: pd.DataFrame) -> Iterator[Told]:
    """The price book has an on-demand price of the type, else nothing can say what its rows cost."""
    named = rows[(rows["instance_type"] != "") & ~simulated(rows)]
    for name, found in named.groupby("instance_type"):
        if prices.price(str(name)) is None:
            reason = (
                f"the price book has no on-demand price of {name}, so nothing can say what its rows cost: "
                "correct the name if there is no such type, or add its price to benchmark/cloud/prices.csv"
            )
            yield run_ids(found), reason


def busier_than_its_cores(rows: pd.DataFrame) -> Iterator[Told]:
    """CPU seconds in a second; only where the device is the CPU does `cores` count those of the host."""
    on_cpu = (rows["device_name"] == rows["cpu_model"]) & (rows["device_name"] != "")
    for _, row in rows[on_cpu & (rows["cpu_share"] > _HYPER_THREADS * rows["cores"])].iterrows():
        reason = (
            f"{label(row)}: {row['cpu_share']:.3g} CPU seconds in a second (cpu_share) on {row['cores']:g} "
            "cores: a clock is wrong or the cores were counted wrongly, so look at hardware.affinity and "
            "run again"
        )
        yield [row["run_id"]], reason


def first_call_too_fast(rows: pd.DataFrame) -> Iterator[Told]:
    """The first call does what every call does, and more."""
    for _, row in rows[rows["first_call_ms"] < rows["latency_min_ms"] / 2].iterrows():
        reason = (
            f"{label(row)}: the first call took {row['first_call_ms']:.3g} ms, no later one less than "
            f"{row['latency_min_ms']:.3g} ms: nobody waited for it to finish, or something slowed all the "
            "others, so look at the host and run the cell again"
        )
        yield [row["run_id"]], reason


def noisy(rows: pd.DataFrame) -> Iterator[Told]:
    """Rows that themselves say so."""
    ok = rows["status"] == "ok"
    moving = rows[ok & unsteady(rows)]
    if len(moving):
        reason = (
            "the samples have a trend or a step, so their median depends on when one looked: run again with "
            "more warm-up (sampling.warmup_s=), or on a quieter host (`doctor --quiet`)"
        )
        yield run_ids(moving), reason
    disturbed = rows[ok & flagged(rows)]
    if len(disturbed):
        often = disturbed["noise_flags"].explode().value_counts().index[:3]
        reason = (
            f"something disturbed the samples ({'; '.join(map(str, often))}): run again on a quieter host "
            "(`doctor --quiet` says how)"
        )
        yield run_ids(disturbed), reason


def label(row: pd.Series) -> str:
    """A row in a few words."""
    fast = f"fast_math={row['fast_math']}" if row["fast_math"] not in {"", "none"} else ""
    return " ".join(word for word in (row["model"], row["hardware"], row["compiler"], fast) if word)


def run_ids(rows: pd.DataFrame) -> list[str]:
    """Identities of the rows, in their order."""
    return [str(run_id) for run_id in rows["run_id"]]


def simulated(rows: pd.DataFrame) -> pd.Series[bool]:
    """Which rows say that nothing was measured."""
    return rows["simulated"].isin([True])


def unsteady(rows: pd.DataFrame) -> pd.Series[bool]:
    """Which rows say that their samples have a trend or a step; null says nothing."""
    return rows["steady"].isin([False])


def flagged(rows: pd.DataFrame) -> pd.Series[bool]:
    """Which rows have reasons to doubt their samples."""
    return rows["noise_flags"].map(len) > 0


def digits(figure: float) -> int:
    """Significant digits of a figure as it is written."""
    return len(Decimal(repr(float(figure))).normalize().as_tuple().digits)


def _half_step(figure: float) -> float:
    """By how much a figure may be off for having been rounded: half a unit of its last digit."""
    exponent = Decimal(repr(float(figure))).as_tuple().exponent
    return 0.5 * 10.0**exponent if isinstance(exponent, int) else 0.0
