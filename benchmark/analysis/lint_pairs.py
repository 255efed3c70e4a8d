"""Rules of `lint` that compare rows: copies, latencies that fall, differences that mean nothing.

They take the frame of `lint.typed`: every column there, numbers as float64, texts and lists empty where null.
Each yields the run_ids and the reason of each finding. The selectors and names of rows that rules share are
here, too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Final

import numpy as np
import pandas as pd

from benchmark import axes
from benchmark.formatting import counted
from benchmark.frames import with_columns
from benchmark.store import accuracies

Found = tuple[list[str], str]
"""The run_ids of a finding, and its reason."""

LATENCIES: Final = tuple(f"latency_{name}_ms" for name in ("min", "p50", "p90", "p95", "p99", "max"))
_FIGURES = [*LATENCIES, "latency_mean_ms"]
_STEPS = [*axes.GROWING]
_ARITHMETIC = ["model_dtype", "matmul_dtype", "other_dtype", "autocast"]
_TWINS = {
    "model": ["model"],
    "hardware": ["hardware", "instance_type"],
    "compiler": ["compiler"],
    "fast_math": ["fast_math"],
}
"""Axes along which two series must differ, with the columns that change with them."""

_ENVIRONMENT = [
    "hostname",
    "device_name",
    "cores",
    "driver_version",
    "framework_versions",
    "environment_variables",
]

_FEWEST_SAMPLES = 5
_PROOF = 8
"""Digits beyond the second of each figure: similar figures agree in two, each further one is chance."""
_LONG = 9
"""Significant digits of a throughput that no second measurement repeats."""
_IN_A_ROW = 3
_FALL = 0.1
"""Processes of one cell differ by some percent, which no interval of a single process includes."""
_Z = 1.96


def lookalikes(rows: pd.DataFrame) -> list[str]:
    """Runs that share all latency figures with another. Simulated ones may: a formula makes theirs."""
    real = rows[~simulated(rows) & rows[_FIGURES].notna().any(axis=1)]
    return run_ids(real[real.duplicated(_FIGURES, keep=False)])


def identical_series(rows: pd.DataFrame) -> Iterator[Found]:
    """The same samples; else figures with so many digits, or so many in a row, that it can't be chance."""
    real = rows[~simulated(rows) & (rows["status"] == "ok")]
    # A document may print one measurement in several of its tables.
    cell = ["document_commit", *axes.COLUMNS, *_FIGURES, "throughput_per_s"]
    real = real[(real["source"] == "") | ~real.duplicated(cell)]
    copied: set[str] = set()
    for finding in _copies(real):
        copied.update(finding[0])
        yield finding
    rest = real[~real["run_id"].isin(copied)]
    yield from _copied_throughput(rest)
    known = rest[rest[_FIGURES].notna().any(axis=1)]
    if known.duplicated([*_STEPS, *_FIGURES]).any():  # a look along each axis takes far longer
        for axis, own in _TWINS.items():
            yield from _same_in_a_row(known, axis, own)


def latency_falls(rows: pd.DataFrame) -> Iterator[Found]:
    """Neighbours along batch or length, apart by more than intervals, repeats and processes differ."""
    quiet = rows[(rows["status"] == "ok") & ~unsteady(rows) & ~flagged(rows)]
    for step, word in (("batch_size", "batch"), ("sequence_length", "length")):
        rest = quiet[quiet[step].notna()]
        for statistic in ("p50", "mean", "p90", "p95"):
            column = f"latency_{statistic}_ms"
            if len(known := rest[rest[column].notna()]):
                yield from _falls(known, column, step, word)
            rest = rest[rest[column].isna()]


def accuracy_within_noise(rows: pd.DataFrame) -> Iterator[Found]:
    """Accuracies that differ as chance would have it.

    Of rows that were compared with their reference item by item, by that comparison. Of others, such as
    published ones, by a two-proportion z test along one axis at a time (a model's variants, or models under
    one treatment), which takes the answers as independent.
    """
    answered = rows["items_hash"] != ""
    yield from _as_good_as_the_reference(rows[answered])
    of_data = (rows["status"] == "ok") & (rows["dataset"] != "") & (rows["accuracy_n"] > 0)
    known = rows[of_data & ~answered]
    ranked = known[known["accuracy"].notna()].drop_duplicates(["dataset", "model", "accuracy", "accuracy_n"])
    for same in (["dataset", "model"], ["dataset", *_axes("model", "weights")]):
        for _, group in ranked.sort_values("accuracy").groupby(same, dropna=False):
            if same[1] == "model" or group["model"].nunique() == len(group):
                yield from _no_ranking(group)


def flag_without_effect(rows: pd.DataFrame) -> Iterator[Found]:
    """The same effective types, and the same error against the reference to the last digit."""
    real = rows[(rows["status"] == "ok") & ~simulated(rows) & rows["max_abs_error"].notna()]
    where = ["campaign", "environment_id", *_axes("fast_math"), *_STEPS]
    same = [*where, *_ARITHMETIC, "max_abs_error", "cosine"]
    fast = real[real["fast_math"].isin(["matmult", "all"])]
    plain = real[real["fast_math"] == "none"][[*same, "run_id"]]
    pairs = fast.merge(plain, on=same, suffixes=("", "_plain"))
    for _, group in pairs.groupby(["model", "hardware", "compiler", "fast_math"]):
        first = group.iloc[0]
        reason = (
            f"{label(first)} computed exactly the numbers of fast_math=none in {_cells(len(group))} (matrix "
            f"products in {first['matmul_dtype']}): any difference of their latencies is noise, so report "
            "one of them"
        )
        yield [*dict.fromkeys([*run_ids(group), *group["run_id_plain"]])], reason


def mixed_units(rows: pd.DataFrame) -> Iterator[Found]:
    """Units of the throughputs of one model in one scenario."""
    counted = rows[rows["throughput_per_s"].notna() & (rows["throughput_unit"] != "")]
    for (model, scenario), group in counted.groupby(["model", "scenario"]):
        units = sorted(group["throughput_unit"].unique())
        if len(units) > 1:
            reason = (
                f"throughputs of {model}{f' in scenario {scenario}' if scenario else ''} are counted in "
                f"{' and in '.join(units)}: neither speed nor cost can be compared, so choose rows by "
                "throughput_unit"
            )
            yield run_ids(group), reason


def mixed_environments(rows: pd.DataFrame) -> Iterator[Found]:
    """Environments of one cell in one campaign: they may differ where it was resumed later."""
    ok = rows[(rows["status"] == "ok") & (rows["cell_id"] != "")]
    several = ok.groupby(["campaign", "cell_id"])["environment_id"].transform("nunique") > 1
    texts = ok[several][_ENVIRONMENT].map(str)
    for campaign, group in ok[several].groupby("campaign"):
        counts = texts.loc[group.index].groupby(group["cell_id"]).nunique().max()
        differing = counts[counts > 1].index
        reason = (
            f"campaign {campaign} measured {_cells(group['cell_id'].nunique())} in several environments "
            f"(differing in {', '.join(differing) or 'settings'}): compare rows of one environment_id only"
        )
        yield run_ids(group), reason


def one_process_beside_several(rows: pd.DataFrame) -> Iterator[Found]:
    """Intervals within one process, of a model that has other cells with intervals over processes."""
    own = rows[(rows["status"] == "ok") & (rows["source"] == "") & rows["latency_p50_ms"].notna()]
    processes = own.groupby(["campaign", "cell_id", "environment_id"])["run_id"].transform("size")
    alone = own[(processes == 1) & own["latency_p50_ms_lo"].notna()]
    several = own[processes > 1]
    where = ["model", "hardware", "instance_type", "scenario"]
    for key, group in alone.groupby(where):
        others = several[(several[where] == list(key)).all(axis=1)]
        if len(others):
            model, hardware, *_ = key
            reason = (
                f"{model} on {hardware}: the intervals of {_cells(len(group))} are of one process, those of "
                f"{_cells(others['cell_id'].nunique())} of several: processes differ more than calls within "
                "one, so run the former with the same sampling before comparing"
            )
            yield run_ids(group), reason


def label(row: pd.Series) -> str:
    """A row in a few words."""
    fast = f"fast_math={row['fast_math']}" if row["fast_math"] not in {"", "none"} else ""
    return " ".join(word for word in (row["model"], row["hardware"], row["compiler"], fast) if word)


def run_ids(rows: pd.DataFrame) -> list[str]:
    """Identities of the rows, in their order."""
    return [str(run_id) for run_id in rows["run_id"]]


def simulated(rows: pd.DataFrame) -> pd.Series[bool]:
    """Which rows were not measured."""
    return rows["simulated"].isin([True])


def unsteady(rows: pd.DataFrame) -> pd.Series[bool]:
    """Which rows have samples with a trend or a step, as far as they say so."""
    return rows["steady"].isin([False])


def flagged(rows: pd.DataFrame) -> pd.Series[bool]:
    """Which rows have reasons to doubt their samples."""
    return rows["noise_flags"].map(len) > 0


def digits(figure: float) -> int:
    """Significant digits of a figure as it is written."""
    return len(Decimal(repr(float(figure))).normalize().as_tuple().digits)


def _copies(rows: pd.DataFrame) -> Iterator[Found]:
    """Runs with the same samples, or figures too long to be equal by chance; one finding for all cells."""
    groups: dict[tuple[str, ...], list[pd.DataFrame]] = {}
    for _, group in rows[rows["run_id"].isin(lookalikes(rows))].groupby(_FIGURES, dropna=False, sort=False):
        for proven in _proven(group):
            names = tuple(dict.fromkeys(label(row) for _, row in proven.iterrows()))
            groups.setdefault(names, []).append(proven)
    for names, cells in groups.items():
        figures = [name for name in _FIGURES if pd.notna(cells[0][name].iloc[0])][:3]
        shown = ", ".join(f"{_short(name)} {cells[0][name].iloc[0]:.9g} ms" for name in figures)
        subject = " and ".join(names) if len(names) > 1 else f"{len(cells[0])} runs of {names[0]}"
        reason = (
            f"{subject} agree to the last digit in {_cells(len(cells))} ({shown}), as no two measurements "
            "do: one was copied, so run both again and remove these"
        )
        yield [run_id for cell in cells for run_id in run_ids(cell)], reason


def _proven(group: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """The rows of a group with equal figures that can't be equal by chance."""
    if group["latency_ns"].map(len).all():
        series = group["latency_ns"].map(lambda samples: np.asarray(samples, np.int64).tobytes())
        for _, same in group.groupby(series):
            samples = np.asarray(same["latency_ns"].iloc[0])
            if len(same) > 1 and len(samples) >= _FEWEST_SAMPLES and len(np.unique(samples)) > 1:
                yield same
    elif sum(max(0, digits(figure) - 2) for figure in set(group[_FIGURES].iloc[0].dropna())) >= _PROOF:
        yield group


def _copied_throughput(rows: pd.DataFrame) -> Iterator[Found]:
    """Throughputs of many digits that stand beside several latencies."""
    for _, group in rows[rows.duplicated("throughput_per_s", keep=False)].groupby("throughput_per_s"):
        rate = group["throughput_per_s"].iloc[0]
        latency = group["latency_p50_ms"].fillna(group["latency_mean_ms"])
        if digits(rate) >= _LONG and latency.min() < latency.max():
            names = " and ".join(dict.fromkeys(label(row) for _, row in group.iterrows()))
            reason = (
                f"{names} have the same throughput to {digits(rate)} digits, "
                f"{rate:.10g}/s, at latencies of {latency.min():.3g} to {latency.max():.3g} ms: "
                "one was copied, so correct it or run both again"
            )
            yield run_ids(group), reason


def _same_in_a_row(rows: pd.DataFrame, axis: str, own: Sequence[str]) -> Iterator[Found]:
    """Pairs of series that agree in some neighbouring cells, in every figure they have."""
    place = rows.groupby(["campaign", "source", *_axes(*own)], dropna=False, sort=False).ngroup()
    cells = with_columns(rows, place=place)
    met = ["place", *_STEPS, *_FIGURES]
    pairs: set[tuple[int, str, str]] = set()
    for _, group in cells[cells.duplicated(met, keep=False)].groupby(met, dropna=False, sort=False):
        first, *others = group[axis].unique()
        pairs.update((group["place"].iloc[0], first, other) for other in others)
    for at, one, other in sorted(pairs):
        here = cells[cells["place"] == at].drop_duplicates([axis, *_STEPS], keep="last")
        both = here[here[axis] == one].merge(here[here[axis] == other], on=_STEPS, suffixes=("", "_other"))
        agreeing = _longest_run(both.sort_values(_STEPS, ignore_index=True))
        if agreeing is not None:
            shown = [
                next(figure for figure in row if pd.notna(figure)) for row in agreeing[_FIGURES].to_numpy()
            ]
            reason = (
                f"{label(agreeing.iloc[0])} and {axis} {other} have the same latency in {len(agreeing)} "
                f"cells in a row of {len(both)} ({', '.join(f'{one:g}' for one in shown)} ms): copied, or "
                "rounded to too few digits: measure again, or import more digits"
            )
            yield [*run_ids(agreeing), *agreeing["run_id_other"]], reason


def _longest_run(both: pd.DataFrame) -> pd.DataFrame | None:
    """Neighbouring rows whose two sides agree in figures that differ from row to row."""
    ours, theirs = both[_FIGURES].to_numpy(), both[[f"{name}_other" for name in _FIGURES]].to_numpy()
    same = np.where(np.isnan(ours), np.isnan(theirs), ours == theirs).all(axis=1)
    runs = both[same].groupby((~same).cumsum()[same])
    longest = max((run for _, run in runs), key=len, default=both[:0])
    figures = set(longest[_FIGURES].to_numpy()[~np.isnan(longest[_FIGURES].to_numpy())])
    distinct = [figure for figure in figures if digits(figure) > 1]
    return longest if len(longest) >= _IN_A_ROW and len(distinct) >= _IN_A_ROW else None


def _falls(rows: pd.DataFrame, column: str, step: str, word: str) -> Iterator[Found]:
    """Repeats of a cell count as its spread: its slowest against its neighbour's fastest."""
    (other,) = set(_STEPS) - {step}
    context = ["campaign", "source", "environment_id", "family_id", *_axes(), *_ARITHMETIC, other]
    figures = rows.reindex(columns=[column, f"{column}_lo", f"{column}_hi"])
    figures.columns = pd.Index(["value", "low", "high"])
    figures["bounded"] = figures.notna().all(axis=1)
    figures[["low", "high"]] = figures[["low", "high"]].apply(lambda bound: bound.fillna(figures["value"]))
    cell = [rows.groupby(context, dropna=False, sort=False).ngroup().rename("place"), rows[step]]
    spread = {"value": "median", "low": "min", "high": "max", "bounded": "all"}
    cells = figures.groupby(cell).agg(spread).reset_index()
    before = cells.groupby("place").shift()
    sure = cells["bounded"] & before["bounded"].isin([True])
    fallen = (cells["high"] < before["low"]) & (cells["value"] < before["value"] * (1 - _FALL))
    for at in np.flatnonzero(fallen):
        was, now = cells.loc[at - 1], cells.loc[at]
        ids = [rows[(cell[0] == one["place"]) & (rows[step] == one[step])] for one in (was, now)]
        samples = " and ".join(_count(one["samples"].min()) for one in ids)
        reason = (
            f"{label(ids[1].iloc[0])}: {_short(column)} falls from {was['value']:.3g} ms at {word} "
            f"{was[step]:g} to {now['value']:.3g} ms at {word} {now[step]:g} "
            f"({'intervals apart' if sure[at] else 'no interval stored'}; samples: {samples}): measure both "
            "again in turns, or say why"
        )
        yield [*run_ids(ids[0]), *run_ids(ids[1])], reason


def _as_good_as_the_reference(answered: pd.DataFrame) -> Iterator[Found]:
    """Rows whose accuracy isn't the reference's, without proof of a difference."""
    whole = answered["quantization"] == ""
    compared = accuracies.judged(with_columns(answered, quantization=answered["quantization"].mask(whole)))
    unproved = compared[compared[accuracies.VERDICT].isin(["no measurable difference", "too few to tell"])]
    unproved = unproved[unproved[accuracies.ADJUSTED].notna()]
    for _, row in unproved[unproved["accuracy_lost"] != unproved["accuracy_won"]].iterrows():
        reason = (
            f"{row['dataset']}: {label(row)} has {row['accuracy']:.2%}; of the items that fp32 answers "
            f"otherwise it lost {row['accuracy_lost']:.0f} and won {row['accuracy_won']:.0f} "
            f"({row[accuracies.VERDICT]}, p = {row[accuracies.ADJUSTED]:.2f}, n = {row['accuracy_n']:.0f}): "
            "call it neither better nor worse"
        )
        yield [row["run_id"]], reason


def _no_ranking(group: pd.DataFrame) -> Iterator[Found]:
    accuracy, items = group["accuracy"].to_numpy(), group["accuracy_n"].to_numpy()
    for start, end in _indistinct(accuracy, items):
        worst, best = group.iloc[start], group.iloc[end]
        z = _z(accuracy, items, start, end)
        between = f", nor any of the {end - start - 1} between them" if end - start > 1 else ""
        reason = (
            f"{worst['dataset']}: {label(worst)} with {worst['accuracy']:.2%} and {label(best)} with "
            f"{best['accuracy']:.2%} do not differ measurably (z = {z:.2f}, p = "
            f"{math.erfc(z / math.sqrt(2)):.2f}, n = {items[start]:.0f}){between}: rank them by nothing but "
            "answers paired item by item"
        )
        yield run_ids(group.iloc[start : end + 1]), reason


def _indistinct(accuracy: np.ndarray, items: np.ndarray) -> Iterator[tuple[int, int]]:
    """First and last index of the longest stretches whose ends don't differ measurably; accuracies rise."""
    end = 0
    for start in range(len(accuracy)):
        last, end = end, max(start, end)
        while end + 1 < len(accuracy) and _z(accuracy, items, start, end + 1) < _Z:
            end += 1
        if end > last and accuracy[end] > accuracy[start]:
            yield start, end


def _z(accuracy: np.ndarray, items: np.ndarray, worse: int, better: int) -> float:
    """Difference of two shares over its standard error, both drawn from one pool."""
    pooled = np.average(accuracy[[worse, better]], weights=items[[worse, better]])
    variance = pooled * (1 - pooled) * (1 / items[worse] + 1 / items[better])
    return float((accuracy[better] - accuracy[worse]) / math.sqrt(variance)) if variance > 0 else 0.0


def _axes(*less: str) -> list[str]:
    """Axes but batch, length and these."""
    return [*axes.without(*axes.GROWING, *less)]


def _short(column: str) -> str:
    return column.removeprefix("latency_").removesuffix("_ms")


def _cells(count: int) -> str:
    return counted(count, "cell")


def _count(samples: float) -> str:
    return "unknown" if math.isnan(samples) else f"{samples:.0f}"
