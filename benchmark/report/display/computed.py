"""Columns of a table that are computed from its lines: half width of p50's interval, times faster."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd

from benchmark import axes
from benchmark.frames import with_columns
from benchmark.store.repeats import combined

WIDTH: Final = "p50_half_width"
"""Half width of the 95 % interval of p50, as a share: over processes, or of one process alone."""
FASTER: Final = "times_faster"
"""Latency of the base, divided by that of the line."""
BASE: Final = "base"
"""What `times_faster` compares with: `eager`, or `slowest`."""
NEEDED: Final = ("latency_p50_ms", "latency_p50_ms_lo", "latency_p50_ms_hi", *axes.COLUMNS)
"""Columns that are read; any of them may be absent."""

_MACHINE: Final = ("hardware", "instance_type")
_SAME: Final = axes.without("compiler", "fast_math", "quantization", *_MACHINE, "threads", "pipeline_cores")
"""Axes that a line and its base share."""


def with_computed(lines: pd.DataFrame) -> pd.DataFrame:
    """Add the columns; NaN where a line has no interval, or nothing to be compared with."""
    if "latency_p50_ms" not in lines:
        return lines
    p50 = lines["latency_p50_ms"].astype(float)
    if {"latency_p50_ms_lo", "latency_p50_ms_hi"} <= {*lines}:
        lines = with_columns(lines, **{WIDTH: half_width(lines)})
    return with_columns(lines, **_faster(lines, p50))


def half_width(lines: pd.DataFrame) -> pd.Series[float]:
    """Half width of each line's interval of p50, on its longer side, as a share."""
    p50, lo, hi = (lines[f"latency_p50_ms{bound}"].astype(float) for bound in ("", "_lo", "_hi"))
    return (hi - p50).combine(p50 - lo, np.fmax) / p50


def in_lines_of_cells(rows: pd.DataFrame) -> pd.DataFrame:
    """One line for each cell, with the computed columns."""
    return with_computed(combined(rows.reset_index(drop=True)))


def _faster(lines: pd.DataFrame, p50: pd.Series[float]) -> dict[str, pd.Series[Any]]:
    """How many times as fast as eager on its machine each line is; without it, as the slowest line."""
    known = p50.where(p50 > 0)
    keys = [lines[name] for name in _SAME if name in lines]
    machine = [*keys, *(lines[name] for name in _MACHINE if name in lines)]
    if "compiler" not in lines or not keys:
        return {}
    of_group = known.groupby(keys, sort=False, dropna=False)
    eager = known.where(_is_eager(lines)).groupby(machine, sort=False, dropna=False)
    of_eager = eager.transform("max").where(eager.transform("count") == 1)
    base = of_eager.fillna(of_group.transform("max")).where(of_group.transform("count") > 1)
    names = of_eager.notna().map({True: "eager", False: "slowest"})
    return {FASTER: base / known, BASE: names.where(base.notna() & known.notna(), None)}


def _is_eager(lines: pd.DataFrame) -> pd.Series[bool]:
    exact = lines.get("fast_math", pd.Series("none", index=lines.index)).eq("none")
    whole = lines.get("quantization", pd.Series(None, index=lines.index, dtype=object)).isna()
    return lines["compiler"].eq("eager") & exact & whole
