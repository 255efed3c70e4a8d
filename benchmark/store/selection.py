"""Which rows may be judged together: one's own measurements, and never simulated ones among them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from benchmark.store.query import Condition

COLUMNS: Final = ("source", "simulated")
"""Columns that tell where a row comes from."""
SIMULATED: Final = "Judge simulated rows, and those only."


def chosen(rows: pa.Table, asked: Sequence[Condition], *, simulated: bool) -> pa.Table:
    """Leave out what a verdict must not rest on, unless the conditions speak of it.

    Published figures are in only where a condition names `source` or `document`. Of simulated and measured
    rows the measured ones stay, or the simulated ones where they are asked for or there are no others;
    conditions on `simulated` decide for themselves.

    Args:
        rows: Those that the conditions chose, with COLUMNS.
        asked: The conditions.
        simulated: Whether simulated rows are asked for.
    """
    named = {one.column for one in asked}
    if not named & {"source", "document"}:
        rows = rows.filter(pc.is_null(rows["source"]))
    if "simulated" in named:
        return rows
    pretended = pc.fill_null(rows["simulated"], False)  # noqa: FBT003
    if simulated:
        return rows.filter(pretended)
    measured = rows.filter(pc.invert(pretended))
    return measured if len(measured) else rows


def is_simulated(simulated: pa.ChunkedArray) -> bool:
    """Whether any of these rows is, by their column `simulated`."""
    return bool(pc.any(pc.fill_null(simulated, False)).as_py())  # noqa: FBT003
