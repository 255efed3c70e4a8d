"""The choice of `best`: among the cells that do the same work, the cheapest or the fastest within limits.

The same work is a model's task on items of one size: lengths, pixels, steps. Machine, compiler, arithmetic,
batch, replicas and workers can be chosen. Dollars per million are compared within one work only, so never
between inferences, images and tokens. `best_wording` describes an answer, `best_table` lists its cells.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, Literal

import pandas as pd

from benchmark import axes
from benchmark.frames import with_columns
from benchmark.records import frozen
from benchmark.stats.pareto import unbeaten
from benchmark.store import accuracies
from benchmark.store.repeats import KEYS, combined
from benchmark.store.selection import Origin

Aim = Literal["cheapest", "fastest"]

_SIZES: Final = tuple(name for name in axes.SIZES if name != "batch_size")
WORK: Final = ("model", "task", *_SIZES, "throughput_unit")
"""Columns that say which work is done."""
_SETUP: Final = (*axes.without(*WORK), "device_name")
"""Columns that say how it was configured; known for failed cells too."""
HOW: Final = (
    *_SETUP,
    "model_dtype",
    "matmul_dtype",
    "other_dtype",
    "autocast",
    "compiler_flags",
    *("slo_ms", "ttft_slo_ms", "tpot_slo_ms", "slo_percentile", "arrivals", "lengths"),
    "source",
    "document",
)
"""Columns that say how it was done; among cells with equal values the newest counts."""
NEEDED: Final = (
    *dict.fromkeys(
        (
            *WORK,
            *HOW,
            *KEYS,
            *(
                "repeat",
                "run_id",
                "status",
                "simulated",
                "sequence",
                "finished_at",
                "hostname",
                "samples",
                "steady",
                "noise_flags",
                "outlier",
            ),
            "latency_p50_ms",
            *(
                "latency_p95_ms",
                "latency_p95_ms_lo",
                "latency_p95_ms_hi",
                "latency_p99_ms",
                "latency_p99_ms_hi",
            ),
            *("throughput_per_s", "output_tokens_per_s", "cosine", "accuracy", "accuracy_lo"),
            "qps_under_slo",
            *accuracies.NEEDED,
        )
    ),
)
"""Columns that rows must have; `cost.priced` adds `usd_per_hour` and `usd_per_1m`."""
_OUTPUT_TOKENS: Final = "output tokens"
"""Unit of a throughput that counts generated tokens only."""
HOURS_A_MONTH: Final = 730
"""A twelfth of the 8,760 hours of a year, as in the cloud's own calculator."""


@frozen
class SloLimits:
    """Limits that a cell must keep; null is no limit."""

    p95_ms: float | None = None
    p99_ms: float | None = None
    accuracy_floor: float | None = None
    cosine_floor: float | None = None
    usd_per_1m: float | None = None

    @property
    def words(self) -> str:
        """The limits in words; empty without any."""
        limits = {
            "p95 <= {} ms": self.p95_ms,
            "p99 <= {} ms": self.p99_ms,
            "accuracy >= {}": self.accuracy_floor,
            "cosine >= {}": self.cosine_floor,
            "cost <= ${} per 1M": self.usd_per_1m,
        }
        return ", ".join(text.format(f"{value:g}") for text, value in limits.items() if value is not None)


@frozen
class Wanted:
    """The question: limits, aim and fleet."""

    limits: SloLimits
    aim: Aim
    requests_per_s: float | None = None
    """Rate of the fleet; a request is one item."""
    utilisation: float = 0.7
    """Load of each machine of the fleet, as a share of its measured throughput."""


@frozen
class Cells:
    """Cells with a measurement, and failed ones."""

    done: pd.DataFrame
    """Newest cell of each setup; the processes of a cell are one line."""
    failed: pd.DataFrame
    """Newest cell of each setup without any `ok` row."""


@frozen
class Answer:
    """The best cell for one work."""

    work: Mapping[str, Any]
    """Values by column; columns that the work lacks are absent."""
    aim: Aim
    """Effective aim: `fastest` where no cell within the limits has a cost."""
    cells: pd.DataFrame
    """Every cell of the work: columns as in NEEDED, the price's, and `machines`, `usd_per_month` (NaN
    without a fleet), `within` (yes, uncertain, no), `front` (not beaten), `origin` and `doubt`."""
    chosen: int | None
    """Index of the best cell in `cells`; null where none is within the limits."""
    by: str
    """Column that the front compares with p95: `usd_per_1m`, `usd_per_month` or `throughput_per_s`."""

    @property
    def best(self) -> Any:
        """The chosen cell, a line of `cells`."""
        return None if self.chosen is None else self.cells.iloc[self.chosen]

    @property
    def front(self) -> pd.DataFrame:
        """Cells that no other cell beats in both columns, sorted by p95."""
        return self.cells[self.cells["front"]].sort_values(["latency_p95_ms", self.by])


def cells(rows: pd.DataFrame) -> Cells:
    """Newest line of each setup: processes combined, failures separate.

    What was timed in one scenario has the accuracy that the same compiled model reached in another. Trainings
    answer nothing, so they aren't among them.
    """
    lines = combined(rows[rows["scenario"] != "training"].reset_index(drop=True))
    lines = lines.sort_values(["sequence", "finished_at"], kind="stable", na_position="first")
    lines = lines.sort_values("qps_under_slo", key=pd.notna, kind="stable")  # a search counts before one load
    lines = accuracies.lent(lines)
    lines = _with_output_tokens(lines)
    lines["throughput_unit"] = _units(lines)
    # As text, since lists and missing values equal nothing.
    lines = with_columns(
        lines, setup=_hashed(lines, (*WORK[:-1], *_SETUP)), exact=_hashed(lines, (*WORK, *HOW))
    )
    done = lines[lines["status"] == "ok"].drop_duplicates("exact", keep="last")
    failed = lines[(lines["status"] != "ok") & ~lines["setup"].isin(done["setup"])]
    failed = failed.drop_duplicates("setup", keep="last")
    kept = [name for name in lines if name not in {"setup", "exact"}]
    return Cells(done=done[kept].reset_index(drop=True), failed=failed[kept].reset_index(drop=True))


def _with_output_tokens(lines: pd.DataFrame) -> pd.DataFrame:
    """Take the rate of generated tokens where a line has no other throughput, as in many documents."""
    alone = lines["throughput_per_s"].isna() & lines["output_tokens_per_s"].notna()
    return with_columns(
        lines,
        throughput_per_s=lines["throughput_per_s"].where(~alone, lines["output_tokens_per_s"]),
        throughput_unit=lines["throughput_unit"].astype(object).where(~alone, _OUTPUT_TOKENS),
    )


def _units(lines: pd.DataFrame) -> pd.Series[Any]:
    """Unit of the throughput; lines with a latency only get the unit of other lines of their work."""
    work = _hashed(lines, WORK[:-1])
    known = lines[lines["throughput_unit"].notna()].groupby(work)["throughput_unit"].agg(["first", "nunique"])
    one = known.loc[known["nunique"] == 1, "first"]
    return lines["throughput_unit"].astype(object).where(lines["throughput_unit"].notna(), work.map(one))


def _hashed(rows: pd.DataFrame, names: tuple[str, ...]) -> pd.Series[Any]:
    return pd.util.hash_pandas_object(rows[[*names]].astype(str), index=False)


def answers(done: pd.DataFrame, wanted: Wanted) -> list[Answer]:
    """Best cell for each work, sorted by the names of the works."""
    groups = done.groupby([*WORK], dropna=False, sort=True)
    return [_answer(group.reset_index(drop=True), wanted) for _, group in groups]


def _answer(group: pd.DataFrame, wanted: Wanted) -> Answer:
    group = _with_fleet(group, wanted)
    priced = bool(group["usd_per_1m"].notna().any())
    aim: Aim = wanted.aim if priced else "fastest"
    fleet = wanted.requests_per_s is not None and bool(group["usd_per_month"].notna().any())
    by = ("usd_per_month" if fleet else "usd_per_1m") if priced else "throughput_per_s"
    fit, within = _fit(group, wanted.limits, by)
    group = with_columns(
        group,
        within=[_within(*one) for one in zip(within, _certain(group, wanted.limits), strict=True)],
        origin=[_origin(*one) for one in zip(group["simulated"], group["source"], strict=True)],
        doubt=[
            _doubt(*one) for one in zip(group["outlier"], group["steady"], group["noise_flags"], strict=True)
        ],
    )
    # Unknown counts as worst, so that a cell can be on the front by its other figure.
    objectives = pd.DataFrame(
        {
            "p95": group["latency_p95_ms"].astype(float).fillna(math.inf),
            "value": group[by].astype(float).mul(-1 if by == "throughput_per_s" else 1).fillna(math.inf),
        }
    )
    rivals = objectives[fit]
    front = unbeaten(rivals["p95"], rivals["value"])
    group["front"] = front.reindex(group.index, fill_value=False)
    if not (objectives.loc[within, "value"] < math.inf).any() and within.any():
        aim = "fastest"
    order = ["p95", "value", "slowness"] if aim == "fastest" else ["value", "p95", "slowness"]
    objectives = objectives.assign(slowness=-group["throughput_per_s"].astype(float))
    known = objectives[within & objectives[order].lt(math.inf).any(axis=1)].sort_values(order, kind="stable")
    first = group.iloc[0]
    return Answer(
        work={name: _plain(first[name]) for name in WORK if not pd.isna(first[name])},
        aim=aim,
        cells=group,
        chosen=int(known.index[0]) if len(known) else None,
        by=by,
    )


def _with_fleet(group: pd.DataFrame, wanted: Wanted) -> pd.DataFrame:
    """Machines that the requested rate needs, and their cost a month.

    A rate that was found to keep a limit under load is served as it is, a throughput in part: in a closed
    loop no call waits in a queue. One load of a server doesn't say what it answers at most.
    """
    machines = pd.Series(math.nan, index=group.index)
    if wanted.requests_per_s is not None:
        served = group["throughput_per_s"].astype(float) / units_per_item(group) * wanted.utilisation
        under_load = group["qps_under_slo"].astype(float) * group["batch_size"].astype(float)
        served = under_load.where(group["scenario"] == "server", served)
        needed = wanted.requests_per_s / served.where(served > 0)
        machines = needed.map(math.ceil, na_action="ignore").astype(float)
    monthly = machines * group["usd_per_hour"].astype(float) * HOURS_A_MONTH
    return with_columns(group, machines=machines, usd_per_month=monthly)


def units_per_item(group: pd.DataFrame) -> pd.Series[Any]:
    """Units of one item in a throughput: 1, or its tokens, prompt and generated together; NaN if unknown."""
    lengths = group[["input_length", "output_length"]].astype(float)
    tokens = lengths.sum(axis=1, min_count=1).fillna(group["sequence_length"].astype(float))
    units = tokens.where(group["throughput_unit"] == "tokens", 1.0)
    return units.where(group["throughput_unit"] != _OUTPUT_TOKENS, lengths["output_length"])


def _fit(group: pd.DataFrame, limits: SloLimits, by: str) -> tuple[pd.Series[Any], pd.Series[Any]]:
    """Cells that keep the limits outside the front's columns, and cells that keep all.

    Unknown figures keep none, nor do those of an outlier.
    """
    fit = group["outlier"].isna()
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


def _certain(group: pd.DataFrame, limits: SloLimits) -> pd.Series[Any]:
    """Cells whose whole interval keeps the limits, for figures with an interval."""
    sure = pd.Series(data=True, index=group.index)
    if limits.p95_ms is not None:
        sure &= group["latency_p95_ms_hi"].astype(float) <= limits.p95_ms
    if limits.p99_ms is not None:
        sure &= group["latency_p99_ms_hi"].astype(float) <= limits.p99_ms
    if limits.accuracy_floor is not None:
        sure &= group["accuracy_lo"].astype(float) >= limits.accuracy_floor
    return sure


def _within(keeps: bool, certain: bool) -> str:
    return ("yes" if certain else "uncertain") if keeps else "no"


def _doubt(outlier: Any, steady: Any, flags: Any) -> str:
    if not pd.isna(outlier):
        return str(outlier)
    if not pd.isna(steady) and not steady:
        return "unsteady"
    return "noisy" if flags is not None and not pd.api.types.is_scalar(flags) and len(flags) else ""


def _origin(simulated: Any, source: Any) -> Origin:
    if not pd.isna(simulated) and simulated:
        return "simulated"
    return "measured" if pd.isna(source) else "published"


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value
