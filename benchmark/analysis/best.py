"""What `best` chooses: of the cells that do the same work, the cheapest or the fastest within the limits.

The same work is a model's task on items of one size: lengths, pixels, steps. How it is done (machine,
compiler, arithmetic, batch, copies, callers) is what there is to choose. Dollars per million are compared
within one work alone, so never between inferences, images and tokens. `advice` makes sentences of an answer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, Literal

import pandas as pd

from benchmark import axes
from benchmark.records import frozen
from benchmark.store.repeats import KEYS, combined
from benchmark.store.selection import Origin

Aim = Literal["cheapest", "fastest"]

_SIZES: Final = tuple(name for name in axes.SIZES if name != "batch_size")
WORK: Final = ("model", "task", *_SIZES, "throughput_unit")
"""What is to be done."""
_SETUP: Final = (*axes.without(*WORK), "device_name")
"""How it was requested to be done: known of cells that failed, too."""
HOW: Final = (
    *_SETUP,
    "model_dtype",
    "matmul_dtype",
    "other_dtype",
    "autocast",
    "compiler_flags",
    "source",
    "document",
)
"""How it was done; of cells alike in this the newest counts."""
NEEDED: Final = (
    *WORK,
    *HOW,
    *KEYS,
    *(
        "repeat",
        "run_id",
        "status",
        "simulated",
        "finished_at",
        "hostname",
        "samples",
        "steady",
        "noise_flags",
    ),
    *("latency_p95_ms", "latency_p95_ms_lo", "latency_p95_ms_hi", "latency_p99_ms", "latency_p99_ms_hi"),
    *("throughput_per_s", "cosine", "accuracy", "accuracy_lo"),
)
"""Columns that rows must have; after `cost.priced` there are `usd_per_hour` and `usd_per_1m`, too."""
HOURS_A_MONTH: Final = 730
"""Of 8,760 hours a year, as the cloud's own calculator counts."""


@frozen
class SloLimits:
    """What a cell must keep; null asks nothing."""

    p95_ms: float | None = None
    p99_ms: float | None = None
    accuracy_floor: float | None = None
    cosine_floor: float | None = None
    usd_per_1m: float | None = None

    @property
    def words(self) -> str:
        """As a reader would write them; empty without any."""
        told = {
            "p95 <= {} ms": self.p95_ms,
            "p99 <= {} ms": self.p99_ms,
            "accuracy >= {}": self.accuracy_floor,
            "cosine >= {}": self.cosine_floor,
            "cost <= ${} per 1M": self.usd_per_1m,
        }
        return ", ".join(text.format(f"{value:g}") for text, value in told.items() if value is not None)


@frozen
class Wanted:
    """What is asked."""

    limits: SloLimits
    aim: Aim
    requests_per_s: float | None = None
    """Rate that a fleet has to answer; a request is one item."""
    utilisation: float = 0.7
    """Share of its measured throughput that a machine of the fleet is given."""


@frozen
class Cells:
    """Cells with a measurement, and those without."""

    done: pd.DataFrame
    """The newest of each setup; the processes of a cell are one line."""
    failed: pd.DataFrame
    """The newest of each setup that never became `ok`."""


@frozen
class Answer:
    """What is best for one work."""

    work: Mapping[str, Any]
    """By column, without those that the work doesn't have."""
    aim: Aim
    """In effect: where no cell within the limits has a cost, the fastest is chosen, whatever was asked."""
    cells: pd.DataFrame
    """Every cell of the work: columns as in NEEDED, the price's, and `machines`, `usd_per_month` (NaN where
    no fleet was asked for), `within` (yes, not surely, no), `front` (not beaten), `origin` and `doubt`."""
    chosen: int | None
    """Place of the best in `cells`; null where none is within the limits."""
    by: str
    """Column that the front weighs against p95: `usd_per_1m`, `usd_per_month` or `throughput_per_s`."""

    @property
    def best(self) -> Any:
        """The chosen cell, a line of `cells`."""
        return None if self.chosen is None else self.cells.iloc[self.chosen]

    @property
    def front(self) -> pd.DataFrame:
        """Cells that no other beats in both, by p95."""
        return self.cells[self.cells["front"]].sort_values(["latency_p95_ms", self.by])


def cells(rows: pd.DataFrame) -> Cells:
    """The newest line of each setup: processes combined, failures apart."""
    lines = combined(rows.reset_index(drop=True)).sort_values("finished_at", kind="stable")
    lines["throughput_unit"] = _units(lines)
    # Only as text have lists and missing values an equal.
    lines = lines.assign(setup=_hashed(lines, (*WORK[:-1], *_SETUP)), exact=_hashed(lines, (*WORK, *HOW)))
    done = lines[lines["status"] == "ok"].drop_duplicates("exact", keep="last")
    failed = lines[(lines["status"] != "ok") & ~lines["setup"].isin(done["setup"])]
    failed = failed.drop_duplicates("setup", keep="last")
    kept = [name for name in lines if name not in {"setup", "exact"}]
    return Cells(done=done[kept].reset_index(drop=True), failed=failed[kept].reset_index(drop=True))


def _units(lines: pd.DataFrame) -> pd.Series[Any]:
    """What is counted; of lines that have a latency alone what is counted in others of their work."""
    work = _hashed(lines, WORK[:-1])
    known = lines[lines["throughput_unit"].notna()].groupby(work)["throughput_unit"].agg(["first", "nunique"])
    one = known.loc[known["nunique"] == 1, "first"]
    return lines["throughput_unit"].astype(object).where(lines["throughput_unit"].notna(), work.map(one))


def _hashed(rows: pd.DataFrame, names: tuple[str, ...]) -> pd.Series[Any]:
    return pd.util.hash_pandas_object(rows[[*names]].astype(str), index=False)


def answers(done: pd.DataFrame, wanted: Wanted) -> list[Answer]:
    """What is best for each work, in the order of their names."""
    groups = done.groupby([*WORK], dropna=False, sort=True)
    return [_answer(group.reset_index(drop=True), wanted) for _, group in groups]


def _answer(group: pd.DataFrame, wanted: Wanted) -> Answer:
    group = _with_fleet(group, wanted)
    priced = bool(group["usd_per_1m"].notna().any())
    aim: Aim = wanted.aim if priced else "fastest"
    fleet = wanted.requests_per_s is not None and bool(group["usd_per_month"].notna().any())
    by = ("usd_per_month" if fleet else "usd_per_1m") if priced else "throughput_per_s"
    fit, within = _fit(group, wanted.limits, by)
    group = group.assign(
        within=[_within(*one) for one in zip(within, _surely(group, wanted.limits), strict=True)],
        origin=[_origin(*one) for one in zip(group["simulated"], group["source"], strict=True)],
        doubt=[_doubt(*one) for one in zip(group["steady"], group["noise_flags"], strict=True)],
    )
    # Unknown is worse than any figure, so that a cell is on the front for what is known of it.
    objectives = pd.DataFrame(
        {
            "p95": group["latency_p95_ms"].astype(float).fillna(math.inf),
            "value": group[by].astype(float).mul(-1 if by == "throughput_per_s" else 1).fillna(math.inf),
        }
    )
    group["front"] = _unbeaten(objectives[fit]).reindex(group.index, fill_value=False)
    if not (objectives.loc[within, "value"] < math.inf).any() and within.any():
        aim = "fastest"
    order = ["p95", "value", "slowness"] if aim == "fastest" else ["value", "p95", "slowness"]
    objectives = objectives.assign(slowness=-group["throughput_per_s"].astype(float))
    known = objectives[within & (objectives[order[0]] < math.inf)].sort_values(order, kind="stable")
    first = group.iloc[0]
    return Answer(
        work={name: _plain(first[name]) for name in WORK if not pd.isna(first[name])},
        aim=aim,
        cells=group,
        chosen=int(known.index[0]) if len(known) else None,
        by=by,
    )


def _with_fleet(group: pd.DataFrame, wanted: Wanted) -> pd.DataFrame:
    """How many machines the asked rate needs, and what they cost a month."""
    machines = pd.Series(math.nan, index=group.index)
    if wanted.requests_per_s is not None:
        served = group["throughput_per_s"].astype(float) / units_per_item(group) * wanted.utilisation
        needed = wanted.requests_per_s / served.where(served > 0)
        machines = needed.map(math.ceil, na_action="ignore").astype(float)
    monthly = machines * group["usd_per_hour"].astype(float) * HOURS_A_MONTH
    return group.assign(machines=machines, usd_per_month=monthly)


def units_per_item(group: pd.DataFrame) -> pd.Series[Any]:
    """What one item counts for in a throughput: 1, or its tokens, given and made together; NaN if unknown."""
    lengths = group[["input_length", "output_length"]].astype(float)
    tokens = lengths.sum(axis=1, min_count=1).fillna(group["sequence_length"].astype(float))
    return tokens.where(group["throughput_unit"] == "tokens", 1.0)


def _fit(group: pd.DataFrame, limits: SloLimits, by: str) -> tuple[pd.Series[Any], pd.Series[Any]]:
    """Which cells keep the limits of what the front doesn't weigh, and which keep all; unknown keeps none."""
    fit = pd.Series(data=True, index=group.index)
    for floor, name in ((limits.accuracy_floor, "accuracy"), (limits.cosine_floor, "cosine")):
        if floor is not None:
            fit &= group[name].astype(float) >= floor
    if limits.p99_ms is not None:
        fit &= group["latency_p99_ms"].astype(float) <= limits.p99_ms
    if limits.usd_per_1m is not None and by != "usd_per_1m":
        fit &= group["usd_per_1m"].astype(float) <= limits.usd_per_1m
    within = fit.copy()
    for most, name in ((limits.p95_ms, "latency_p95_ms"), (limits.usd_per_1m, "usd_per_1m")):
        if most is not None:
            within &= group[name].astype(float) <= most
    return fit, within


def _surely(group: pd.DataFrame, limits: SloLimits) -> pd.Series[Any]:
    """Where the whole interval keeps the limit, for figures that come with one."""
    sure = pd.Series(data=True, index=group.index)
    if limits.p95_ms is not None:
        sure &= group["latency_p95_ms_hi"].astype(float) <= limits.p95_ms
    if limits.p99_ms is not None:
        sure &= group["latency_p99_ms_hi"].astype(float) <= limits.p99_ms
    if limits.accuracy_floor is not None:
        sure &= group["accuracy_lo"].astype(float) >= limits.accuracy_floor
    return sure


def _within(keeps: bool, surely: bool) -> str:
    return ("yes" if surely else "not surely") if keeps else "no"


def _doubt(steady: Any, flags: Any) -> str:
    if not pd.isna(steady) and not steady:
        return "unsteady"
    return "noisy" if flags is not None and not pd.api.types.is_scalar(flags) and len(flags) else ""


def _origin(simulated: Any, source: Any) -> Origin:
    if not pd.isna(simulated) and simulated:
        return "simulated"
    return "measured" if pd.isna(source) else "published"


def _unbeaten(objectives: pd.DataFrame) -> pd.Series[Any]:
    """Which rows no other is better than in one axis without being worse in the other; less is better."""
    least = objectives.groupby("p95")["value"].min()
    faster = least.cummin().shift()
    beaten = (objectives["value"] >= objectives["p95"].map(faster)) | (
        objectives["value"] > objectives["p95"].map(least)
    )
    return ~beaten & (objectives.min(axis=1) < math.inf)


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value
