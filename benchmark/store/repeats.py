"""One line for the processes of a cell: rows that differ only in `repeat` are combined.

Percentiles, means and throughputs become geometric means over processes, with a t interval of their
logarithms, since processes differ many times more than calls within one. Samples are added. The line is
unsteady, or has a flag of noise, if half of the processes or more are so or have it: what disturbs a few of
them shows in the interval. If a process failed, its row replaces the line.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from benchmark.frames import with_columns
from benchmark.stats.intervals import of_groups, quantile, samples_needed

if TYPE_CHECKING:
    import pandas as pd

KEYS: Final = ("campaign", "cell_id", "environment_id")
"""Columns with equal values in all processes of a cell."""
_BOUNDED: Final = (
    "latency_mean_ms",
    "latency_p50_ms",
    "latency_p90_ms",
    "latency_p95_ms",
    "latency_p99_ms",
    "throughput_per_s",
    "qps_under_slo",
    "attainment",
)
SAMPLES: Final = "latency_ns"
"""Column with the latency of each call. Where rows have it, a percentile for which single processes made too
few calls is that of all their calls together, without an interval."""
_PERCENTILES: Final = {"latency_p90_ms": 0.9, "latency_p95_ms": 0.95, "latency_p99_ms": 0.99}
_SUMMED: Final = ("samples", "effective_samples")
_GREATEST: Final = (
    "latency_max_ms",
    "peak_host_bytes",
    "peak_device_bytes",
    "max_abs_error",
    "relative_error",
)
_LEAST: Final = ("latency_min_ms", "cosine", "top1_agreement", "on_cpu")

_HALF: Final = 0.5
PROCESSES: Final = "processes"
"""Column that `combined` adds: how many processes a line is of."""
COMBINED: Final = (
    *(name + bound for name in _BOUNDED for bound in ("", "_lo", "_hi")),
    *_SUMMED,
    *_GREATEST,
    *_LEAST,
    "noise_flags",
    "steady",
)
"""Columns whose values are combined; the others are those of the first process."""


def combined(rows: pd.DataFrame) -> pd.DataFrame:
    """Combine the processes of each cell into one line, in the place of the first.

    `processes` is their number. Absent columns stay absent. Rows without `repeat` or without
    KEYS are unchanged: one process each.
    """
    import pandas as pd

    if not {*KEYS, "repeat"} <= {*rows.columns}:
        return with_columns(rows, **{PROCESSES: 1})
    several = rows["repeat"].notna() & rows.duplicated([*KEYS], keep=False)
    single = with_columns(rows[~several], **{PROCESSES: 1})
    if not several.any():
        return single
    return pd.concat([single, _lines(rows[several])[[*single]].astype(single.dtypes.to_dict())]).sort_index()


def _lines(rows: pd.DataFrame) -> pd.DataFrame:
    """A line for each cell, at the index of its first process."""
    import pandas as pd

    group = rows.groupby([*KEYS], sort=False).ngroup()
    failed = rows["status"] != "ok" if "status" in rows else pd.Series(data=False, index=rows.index)
    shown = pd.concat([group[failed], group[~failed]]).drop_duplicates().sort_values().index
    places = group.drop_duplicates().sort_values().index
    lines = rows.loc[shown].set_axis(places, axis=0)
    lines[PROCESSES] = group.value_counts().sort_index().array
    measured = rows[~group.isin(group[failed])]
    if measured.empty:
        return lines
    of_line = places.delete(group[failed].unique())
    for name, values in _statistics(measured, group[measured.index]).items():
        lines[name] = lines[name].astype(object)
        lines.loc[of_line, name] = pd.Series(values, index=of_line, dtype=object)
    return lines


def _statistics(rows: pd.DataFrame, group: pd.Series[int]) -> dict[str, Any]:
    """Combined values by column, for each group in the order of its number."""
    made: dict[str, Any] = {}
    codes = group.rank(method="dense").astype(int).to_numpy() - 1
    for name in {*_BOUNDED} & {*rows}:
        found = of_groups(rows[name].astype(float).to_numpy(), codes)
        bounds = zip(("", "_lo", "_hi"), found, strict=True)
        made |= {name + bound: values for bound, values in bounds if name + bound in rows}
    if SAMPLES in rows:
        for name, q in _PERCENTILES.items():
            for code in np.flatnonzero(np.isnan(made.get(name, ()))):
                made[name][code] = _pooled([*rows[SAMPLES][codes == code]], q)
    for names, rule in ((_SUMMED, "sum"), (_GREATEST, "max"), (_LEAST, "min")):
        for name in {*names} & {*rows}:
            made[name] = rows[name].groupby(codes).agg(rule).to_numpy()
    if "steady" in rows:
        known = rows["steady"].notna()
        steady = np.bincount(codes[known], rows["steady"][known].astype(bool), minlength=codes.max() + 1)
        counts = np.bincount(codes[known], minlength=codes.max() + 1)
        made["steady"] = [
            bool(one > _HALF * count) if count else None for one, count in zip(steady, counts, strict=True)
        ]
    if "noise_flags" in rows:
        made["noise_flags"] = _usual_flags(rows["noise_flags"], codes)
    return made


def _pooled(groups: Sequence[Any], q: float) -> float:
    """Percentile in ms of the calls of all processes together; NaN where they are too few or unknown."""
    known = [np.asarray(samples, float) for samples in groups if isinstance(samples, (list, np.ndarray))]
    calls = np.concatenate([*known, np.empty(0)])
    complete = len(known) == len(groups) and len(calls) >= samples_needed(q)
    return quantile(calls, q) / 1e6 if complete else math.nan


def _usual_flags(flags: pd.Series[Any], codes: np.ndarray) -> list[list[str]]:
    """Flags that half of the rows of each group have."""
    counts = [Counter[str]() for _ in range(codes.max() + 1)]
    for code, found in zip(codes, flags, strict=True):
        counts[code].update(() if found is None else found)
    sizes = np.bincount(codes)
    return [
        [flag for flag, n in each.items() if n >= _HALF * size]
        for each, size in zip(counts, sizes, strict=True)
    ]
