"""One line for the processes of a cell: rows that differ only in `repeat` are combined.

Percentiles, means and throughputs become geometric means over processes, with a t interval of their
logarithms, since processes differ many times more than calls within one. Samples are added, and a flag of one
process is a flag of the line. If a process failed, its row replaces the line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from benchmark.stats.intervals import of_processes

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
)
_SUMMED: Final = ("samples", "effective_samples")
_GREATEST: Final = (
    "latency_max_ms",
    "peak_host_bytes",
    "peak_device_bytes",
    "max_abs_error",
    "relative_error",
)
_LEAST: Final = ("latency_min_ms", "cosine", "top1_agreement", "on_cpu")

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
    """Combine the processes of each cell into one line, in the place of the first; `repeat` is their number.

    Absent columns stay absent. Rows without `repeat` or without KEYS are unchanged.
    """
    import pandas as pd

    if not {*KEYS, "repeat"} <= {*rows.columns}:
        return rows
    several = rows["repeat"].notna() & rows.duplicated([*KEYS], keep=False)
    if not several.any():
        return rows
    lines = {group.index[0]: _line(group) for _, group in rows[several].groupby([*KEYS], sort=False)}
    summed = pd.DataFrame.from_dict(lines, orient="index", columns=rows.columns)
    return pd.concat([rows[~several], summed.astype(rows.dtypes.to_dict())]).sort_index()


def _line(group: pd.DataFrame) -> dict[str, Any]:
    """Line for the processes of one cell."""
    failed = group[group["status"] != "ok"] if "status" in group else group[:0]
    first = failed if len(failed) else group
    line: dict[str, Any] = {str(name): first[name].iloc[0] for name in group} | {"repeat": len(group)}
    if len(failed):
        return line
    for name in {*_BOUNDED} & {*group}:
        found = of_processes(group[name].astype(float).tolist())
        for bound, value in zip(("", "_lo", "_hi"), found, strict=True):
            if name + bound in group:
                line[name + bound] = value
    for names, rule in ((_SUMMED, "sum"), (_GREATEST, "max"), (_LEAST, "min")):
        line.update({name: group[name].agg(rule) for name in {*names} & {*group}})
    if "noise_flags" in group:
        flags = [flag for row in group["noise_flags"] if row is not None for flag in row]
        line["noise_flags"] = list(dict.fromkeys(flags))
    if "steady" in group:
        line["steady"] = group["steady"].min()
    return line
