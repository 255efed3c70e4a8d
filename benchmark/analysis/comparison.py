"""Compare two sets of stored rows, cell by cell: which is slower, and whether the rows suffice for a verdict.

The cells of one campaign with several processes each ran in rounds, so round i of one side is compared with
round i of the other. Other rows were measured apart: the earlier times of the baseline's cell show how much a
figure differs from time to time, and a verdict is only a suspicion.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import numpy as np

from benchmark import axes
from benchmark.errors import ConfigError
from benchmark.frames import with_columns
from benchmark.stats.ratio_test import RatioTest, apart, ratio_test
from benchmark.store.results import nulls

if TYPE_CHECKING:
    import pandas as pd

NEEDED: Final = (
    *("run_id", "campaign", "cell_id", "environment_id", "repeat", "started_at", "status"),
    *axes.COLUMNS,
)
"""Columns that a comparison reads, beside the figure compared."""

Evidence = Literal["rounds", "apart"]


class Compared(NamedTuple):
    """One cell of both sides."""

    cell: Mapping[str, Any]
    """Axes with equal values on both sides."""
    base: float
    candidate: float
    """Geometric means over processes, in the unit of the figure."""
    ratio_test: RatioTest
    evidence: Evidence

    @property
    def confirmed(self) -> bool:
        """Whether the verdict is reliable: both sides ran in the same rounds."""
        return self.evidence == "rounds"


def compare_rows(
    base: pd.DataFrame, candidate: pd.DataFrame, everything: pd.DataFrame, figure: str, threshold: float
) -> list[Compared]:
    """Match the cells of two sets of rows that are ok, and compare a figure of which less is better.

    `everything` holds the rows of the store: earlier ones show how much a cell differs from time to time.

    Raises:
        ConfigError: nothing matches, one run is on both sides, or several cells of a side match one.
    """
    if both := {*base["run_id"]} & {*candidate["run_id"]}:
        raise ConfigError(f"run {min(both)} is on both sides: narrow one of them")
    base, candidate = (with_columns(side, **nulls(side[[*axes.COLUMNS]])) for side in (base, candidate))
    keys = _keys(base, candidate)
    sides = [_cells(side, keys) for side in (base, candidate)]
    shared = [key for key in sides[0] if key in sides[1]]
    if not shared:
        raise ConfigError(
            f"nothing to compare: the sides have no cell in common: {_difference(base, candidate, keys)}"
        )
    return [_compared(sides[0][key], sides[1][key], everything, figure, threshold) for key in shared]


def _keys(base: pd.DataFrame, candidate: pd.DataFrame) -> list[str]:
    """Columns by which cells are matched: their identity, else the axes that are not compared."""
    if {*base["cell_id"]} & {*candidate["cell_id"]}:
        return ["cell_id"]
    keys = [name for name in axes.COLUMNS if not _swapped(base[name], candidate[name])]
    for name, side in (("baseline", base), ("candidate", candidate)):
        for rows in _cells(side, keys).values():
            ids = sorted({*rows["cell_id"]})
            if len(ids) > 1:
                raise ConfigError(
                    f"the {name} has {len(ids)} cells of equal axes ({_label(rows.iloc[0])}), so they differ "
                    f"in an option, such as the compiler's: choose one, such as cell_id={ids[0]}"
                )
    return keys


def _cells(rows: pd.DataFrame, keys: list[str]) -> dict[tuple[Any, ...], pd.DataFrame]:
    """Rows by the values of these columns; None is a value too, which pandas would treat as NaN."""
    places: dict[tuple[Any, ...], list[int]] = {}
    for place, key in enumerate(rows[keys].itertuples(index=False, name=None)):
        places.setdefault(key, []).append(place)
    return {key: rows.iloc[some] for key, some in places.items()}


def _swapped(base: pd.Series[Any], candidate: pd.Series[Any]) -> bool:
    """Whether each side has a single value and they differ: then this axis is compared."""
    values = [{*base}, {*candidate}]
    return len(values[0]) == len(values[1]) == 1 and values[0] != values[1]


def _difference(base: pd.DataFrame, candidate: pd.DataFrame, keys: list[str]) -> str:
    """Why no cells match, and what to do."""
    apart = [name for name in keys if not {*base[name]} & {*candidate[name]}]
    words = [f"{name} is {_values(base[name])} and {_values(candidate[name])}" for name in apart]
    advice = "a column that has several values on a side needs one that both have"
    return f"{'; '.join(words) or 'their axes are combined differently'}: {advice}"


def _values(column: pd.Series[Any]) -> str:
    return ",".join(str("null" if value is None else value) for value in dict.fromkeys(column))


def _label(row: pd.Series[Any]) -> str:
    return axes.label({name: row[name] for name in axes.COLUMNS})


def _compared(
    base: pd.DataFrame, candidate: pd.DataFrame, everything: pd.DataFrame, figure: str, threshold: float
) -> Compared:
    first, second = base.iloc[0], candidate.iloc[0]
    cell = {name: first[name] for name in axes.COLUMNS if first[name] == second[name]}
    before, after = (math.exp(np.log(side[figure].astype(float)).mean()) for side in (base, candidate))
    ratios = list(_rounds(base, candidate, figure))
    if len(ratios) > 1:
        return Compared(cell, before, after, ratio_test(ratios, threshold), "rounds")
    earlier = everything[~everything["run_id"].isin(candidate["run_id"])]
    history = [value for _, value in _times(earlier, first, figure)]
    return Compared(cell, before, after, apart(after / before, history, threshold), "apart")


def _rounds(base: pd.DataFrame, candidate: pd.DataFrame, figure: str) -> Iterator[float]:
    """Ratios of processes that ran in the same round of one campaign."""
    keys = ["campaign", "repeat"]
    before = base.dropna(subset=["repeat"]).set_index(keys)[figure].astype(float)
    after = candidate.dropna(subset=["repeat"]).set_index(keys)[figure].astype(float)
    for key in before.index.intersection(after.index):
        yield float(after.loc[key] / before.loc[key])


def _times(everything: pd.DataFrame, like: pd.Series[Any], figure: str) -> Iterator[tuple[str, float]]:
    """Mean figure of each campaign that measured this cell in this environment."""
    same = everything[
        (everything["cell_id"] == like["cell_id"]) & (everything["environment_id"] == like["environment_id"])
    ]
    for campaign, rows in same.groupby("campaign"):
        yield str(campaign), math.exp(np.log(rows[figure].astype(float)).mean())
