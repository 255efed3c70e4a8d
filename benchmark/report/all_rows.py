"""The table of all rows, for people: what all rows share is said once, the rest has short names."""

from __future__ import annotations

import re
from typing import Any, Final

import numpy as np
import pandas as pd

from benchmark import axes
from benchmark.formatting import significant
from benchmark.records import Names, frozen
from benchmark.report.display.computed import half_width

_FIRST: Final = (
    *("model", "compiler", "fast_math", "batch_size", "sequence_length", "image_size"),
    *("latency_p50_ms", "±", "latency_p95_ms", "doubt", "status", "throughput_per_s"),
)
_SOURCES: Final = ("latency_p50_ms_lo", "latency_p50_ms_hi", "steady", "noise_flags")
"""Columns that `±` and `doubt` replace."""
_NAMES: Final = {
    "throughput_per_s": "per s",
    "throughput_unit": "unit",
    "usd_per_1m": "USD per 1M",
    "instance_type": "instance",
    "run_id": "run",
    "±": "± %",
}
_LATENCY: Final = re.compile(r"latency_(\w+)_ms")


@frozen
class AllRows:
    """Rows as a page shows them."""

    frame: Any
    """Columns that differ, by short names, the most important first."""
    shared: Names
    """Name and value of each column that is the same in all rows."""


def of(rows: pd.DataFrame) -> AllRows:
    """Choose, order and name the columns of some rows."""
    frame = rows.drop(columns=[name for name in _SOURCES if name in rows])
    if {*_SOURCES[:2]} <= {*rows}:
        frame["±"] = (100 * half_width(rows)).round().clip(lower=1)
    doubts = _doubts(rows)
    if (doubts != "").any():
        frame["doubt"] = doubts.astype(object).where(doubts != "", None)
    if "cosine" in frame:
        frame["cosine"] = np.floor(frame["cosine"].astype(float) * 1e6) / 1e6
    constant = [
        name for name in frame if len(frame) > 1 and _same(frame[name]) and _may_go(name, frame[name])
    ]
    shared = [f"{_name(name)} {_text(frame[name].iloc[0])}" for name in constant if name != "run_id"]
    kept = [name for name in frame if name not in constant]
    ordered = [*(name for name in _FIRST if name in kept), *(name for name in kept if name not in _FIRST)]
    return AllRows(frame=frame[ordered].rename(columns=_name), shared=tuple(shared))


def _same(column: pd.Series[Any]) -> bool:
    return bool(column.notna().all() and (column == column.iloc[0]).all())


def _may_go(name: Any, column: pd.Series[Any]) -> bool:
    """Models stay as the title of each row, and simulated rows are marked one by one."""
    return name != "model" and not (name == "origin" and column.iloc[0] == "simulated")


def _doubts(rows: pd.DataFrame) -> pd.Series[Any]:
    steady = rows.get("steady", pd.Series(data=True, index=rows.index)).astype("boolean").fillna(value=True)
    flags = rows.get("noise_flags", pd.Series("", index=rows.index)).fillna("").ne("")
    words = zip(~steady, flags, strict=True)
    return pd.Series(
        [", ".join(["unsteady"] * bool(drifts) + ["noisy"] * bool(noise)) for drifts, noise in words],
        rows.index,
    )


def _name(column: Any) -> str:
    if column in axes.BY_COLUMN:
        return axes.BY_COLUMN[column].header
    if match := _LATENCY.fullmatch(column):
        return f"{match[1]} ms"
    return _NAMES.get(column, str(column).replace("_", " "))


def _text(value: Any) -> str:
    return significant(float(value)) if isinstance(value, float) else str(value)
