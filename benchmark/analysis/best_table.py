"""Tables of `best`: the unbeaten cells of one work, or one line for each work; figures stay numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import pandas as pd

from benchmark import axes
from benchmark.analysis import best_wording
from benchmark.analysis.best import WORK, Answer, Wanted
from benchmark.report.sanitize import one_line

_SHOWN_BESIDE: Final = ("model", "task", "compiler", "instance_type", *axes.SIZES)
_DISTINCT: Final = {
    **{axis.column: axis.header for axis in axes.AXES if axis.column not in _SHOWN_BESIDE},
    "matmul_dtype": "matmul",
    "model_dtype": "dtype",
    "other_dtype": "others",
    "autocast": "autocast",
    "document": "document",
    "device_name": "device",
    "compiler_flags": "flags",
}
"""Columns that a table has only where its lines would look equal without them."""


def front(answer: Answer, wanted: Wanted, limit: int) -> pd.DataFrame:
    """Cells of the front by p95, at most `limit`; the chosen cell is always among them."""
    cells = answer.front
    if limit:
        first = cells.head(limit)
        cells = cells[cells.index.isin(first.index) | (cells.index == answer.chosen)]
    marks = [">" if index == answer.chosen else "" for index in cells.index]
    return _lines(cells.reset_index(drop=True), wanted, [(" ", marks)])


def summary(found: Sequence[Answer], wanted: Wanted, limit: int) -> pd.DataFrame:
    """One line for each work, narrow enough for a terminal."""
    some = found[: limit or None]
    chosen = pd.concat([one.cells.iloc[[one.chosen or 0]] for one in some], ignore_index=True)
    known = pd.Series([one.chosen is not None for one in some])
    chosen = chosen.assign(**{str(name): chosen[name].where(known) for name in chosen if name not in WORK})
    labels = pd.Series([best_wording.work_label(one) for one in some])
    tasks = chosen["task"].astype(object).fillna("").where(labels.duplicated(keep=False), "")
    lines = _lines(chosen, wanted, [("work", (labels + " " + tasks).str.strip())])
    if "within" in lines and not (chosen["within"] == "uncertain").any():
        lines = lines.drop(columns="within")
    if "fleet" in lines:  # it follows from the throughput
        lines = lines.drop(columns=["per s"], errors="ignore")
    if len(chosen["throughput_unit"].drop_duplicates()) > 1 and "per s" in lines:
        lines.insert([*lines].index("per s") + 1, "of", chosen["throughput_unit"])
    return lines


def _lines(chosen: pd.DataFrame, wanted: Wanted, first: Sequence[tuple[str, Any]]) -> pd.DataFrame:
    """Cells as a table, figures as numbers; empty columns are left out."""
    shown: dict[str, Any] = dict(first)
    shown["machine"] = [
        "none" if pd.isna(cell["status"]) else one_line(best_wording.machine(cell))
        for _, cell in chosen.iterrows()
    ]
    lines = pd.DataFrame(shown | {"compiler": chosen["compiler"].map(word), "batch": chosen["batch_size"]})
    for name, head in _DISTINCT.items():
        wider = lines.assign(**{head: [word(value) for value in chosen[name]]})
        if _kinds(wider) > _kinds(lines):
            lines = wider
    typical = "p95" if chosen["latency_p95_ms"].notna().any() else "p50"
    figures = {f"{typical}\nms": f"latency_{typical}_ms", "per s": "throughput_per_s"}
    if wanted.requests_per_s is None:
        figures |= {"$ per\n1M": "usd_per_1m"}
    else:  # both costs are too wide for a terminal
        figures |= {"fleet": "machines", "$ a\nmonth": "usd_per_month"}
    for head, name in figures.items():
        values = chosen[name].astype("Int64" if name == "machines" else "float64")
        if values.notna().any():
            lines[head] = values
    if wanted.limits.words:
        lines["within"] = chosen["within"].fillna("")
    remarks = [_remark(*one) for one in zip(chosen["origin"], chosen["doubt"], strict=True)]
    return lines.assign(remark=remarks) if any(remarks) else lines


def _remark(origin: Any, doubt: Any) -> str:
    """Reasons not to rely on a cell."""
    remarks = (one for one in (origin, doubt) if not pd.isna(one) and one not in {"measured", ""})
    return " ".join(remarks)


def word(value: Any) -> str:
    """A value of a row in plain text; empty where there is none."""
    if pd.api.types.is_scalar(value):
        return "" if pd.isna(value) else one_line(str(value))
    return one_line(" ".join(map(str, value)))


def _kinds(lines: pd.DataFrame) -> int:
    return len(set(zip(*(map(str, lines[name]) for name in lines), strict=True)))
