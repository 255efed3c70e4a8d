"""Sentences about an answer of `best`: the cell, doubts about it, and cells that were not measured.

Sentences are plain text. Names in them may come from outside, so outputs escape them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pandas as pd

from benchmark import axes
from benchmark.analysis.best import HOURS_A_MONTH, WORK, Answer, Wanted
from benchmark.cloud.cost import UNITS
from benchmark.formatting import is_useless, significant

_FEWEST_CALLS: Final = 72
"""Timed calls below which a row has no p95, see `statistics`."""


def work_words(answer: Answer) -> str:
    """A work in words, such as `bert, fill-mask, sequence length 128`."""
    work = answer.work
    sizes = [f"{axes.BY_COLUMN[name].words} {work[name]}" for name in axes.SIZES if name in work]
    return ", ".join(
        [str(work.get("model", "unnamed")), *([str(work["task"])] if "task" in work else []), *sizes]
    )


def work_label(answer: Answer) -> str:
    """A work in a few characters for a table, without the task: `bert s128`."""
    sizes = {name: answer.work[name] for name in axes.SIZES if name in answer.work}
    if answer.work.get("input_length"):
        sizes.pop("sequence_length", None)
    return axes.label({"model": answer.work.get("model", "unnamed"), **sizes})


def unit_word(answer: Answer) -> str:
    """Unit of the throughput: inferences, images or tokens."""
    unit = str(answer.work.get("throughput_unit", "items"))
    return UNITS.get(unit, unit)


def machine(cell: Any) -> str:
    """Machine of a cell: its instance type, else the name of its hardware or device."""
    known = (cell[name] for name in ("instance_type", "hardware", "device_name"))
    return next((str(name) for name in known if not pd.isna(name)), "unknown machine")


def cell_words(cell: Any) -> str:
    """Batch, machine, compiler and origin of a cell."""
    copies = [
        f"{int(cell[name])} {name}"
        for name in ("replicas", "workers")
        if not pd.isna(cell[name]) and cell[name] > 1
    ]
    fast = not pd.isna(cell["fast_math"]) and cell["fast_math"] != "none"
    batch = [] if pd.isna(cell["batch_size"]) else [f"batch {cell['batch_size']}"]
    compiler = [] if pd.isna(cell["compiler"]) else [str(cell["compiler"])]
    math = [f"fast_math {cell['fast_math']}"] if fast else []
    weights = [] if pd.isna(cell["quantization"]) else [str(cell["quantization"])]
    origin = [] if cell["origin"] == "measured" else [str(cell["origin"])]
    return ", ".join([*batch, machine(cell), *compiler, *math, *weights, *copies, *origin])


def figures(cell: Any, answer: Answer) -> str:
    """Its p95 with the interval, else its p50, its throughput, its cost."""
    texts = []
    if not pd.isna(cell["latency_p95_ms"]):
        lo, hi = cell["latency_p95_ms_lo"], cell["latency_p95_ms_hi"]
        texts.append(f"p95 {_figure(cell['latency_p95_ms'])} ms ({_interval(lo, hi)})")
    elif not pd.isna(cell["latency_p50_ms"]):
        texts.append(f"p50 {_figure(cell['latency_p50_ms'])} ms")
    if not pd.isna(cell["throughput_per_s"]):
        texts.append(f"{_figure(cell['throughput_per_s'])} {unit_word(answer)}/s")
    if not pd.isna(cell["usd_per_1m"]):
        texts.append(f"{dollars(cell['usd_per_1m'])} per 1M {unit_word(answer)}")
    if not pd.isna(cell["machines"]):
        number = int(cell["machines"])
        monthly = "" if pd.isna(cell["usd_per_month"]) else f" for {dollars(cell['usd_per_month'])} a month"
        texts.append(f"{number:,} {'machine' if number == 1 else 'machines'}{monthly}")
    return ", ".join(texts)


def _interval(lo: float, hi: float) -> str:
    if pd.isna(lo) or pd.isna(hi):
        return "no interval"
    if is_useless(lo, hi):
        return "interval too wide to use"
    return f"{_figure(lo)} to {_figure(hi)}"


def dollars(value: float) -> str:
    """Dollars, to a tenth of a cent or three significant digits."""
    return f"${_figure(value)}" if value >= 100 or value < 0.1 else f"${value:.3f}"  # noqa: PLR2004


def _figure(value: float) -> str:
    return significant(value, separator=",")


def headline(answer: Answer, wanted: Wanted) -> str:
    """The answer in one sentence."""
    limits = f" within {wanted.limits.words}" if wanted.limits.words else ""
    cell = answer.best
    if cell is None:
        return f"{work_words(answer)}: no cell{limits}"
    monthly = answer.by == "usd_per_month" and answer.aim == "cheapest"
    what = "the cheapest a month" if monthly else f"the {answer.aim}"
    return f"{work_words(answer)}: {what}{limits} is {cell_words(cell)}: {figures(cell, answer)}"


def notes(answer: Answer, wanted: Wanted, failed: pd.DataFrame) -> tuple[str, ...]:
    """Caveats of an answer; `failed` are all failed cells."""
    found = [*_unpriced(answer, wanted), *_unknown(answer, wanted)]
    if answer.chosen is None:
        found += _nearest(answer, wanted)
    else:
        if answer.aim == "fastest" and answer.cells["latency_p95_ms"].isna().all():
            found.append("no cell has a p95: this is the cell with the highest throughput")
        found += [*_doubts(answer, wanted), *_all_within(answer, wanted, failed)]
    return tuple(found)


def fleet_note(wanted: Wanted) -> str:
    """How the fleet is calculated."""
    return (
        f"Fleet for {wanted.requests_per_s:g} requests/s: a request is one item; each machine runs "
        f"at {wanted.utilisation:.0%} of its measured throughput; {HOURS_A_MONTH} h a month. Batches are "
        "assumed full: p95 excludes the time in the queue. Cells of scenario=server run at all of their "
        "qps_under_slo, which keeps their limits: their p95 includes the queue."
    )


def _unpriced(answer: Answer, wanted: Wanted) -> Iterator[str]:
    if answer.aim == wanted.aim or answer.chosen is None:
        return
    if answer.cells["throughput_per_s"].isna().all():
        yield "no cell has a throughput, so none has a cost, and the fastest is chosen"
    elif answer.cells["usd_per_1m"].notna().any():
        yield "no cell within the limits has a cost, so the fastest is chosen"
    else:
        yield "no cell has a price, so the fastest is chosen, not the cheapest"


def _unknown(answer: Answer, wanted: Wanted) -> Iterator[str]:
    """Figures that a limit needs and cells lack."""
    limits, group = wanted.limits, answer.cells
    quality = "scenario=latency,accuracy with dataset= measures both"
    few = f"it needs {_FEWEST_CALLS} timed calls: sampling=thorough takes more"
    limited = (
        (limits.p95_ms, "latency_p95_ms", "p95", few),
        (limits.p99_ms, "latency_p99_ms", "p99", "it needs 368 timed calls: sampling=thorough takes more"),
        (limits.accuracy_floor, "accuracy", "accuracy", quality),
        (
            limits.cosine_floor,
            "cosine",
            "cosine",
            "runs without outputs, and imported rows, have none",
        ),
    )
    for limit, column, name, how in limited:
        if limit is not None and (missing := int(group[column].isna().sum())):
            why = how if (group["origin"] != "published").any() else "the documents don't print it"
            if missing == len(group):
                yield f"no cell has {'an' if name == 'accuracy' else 'a'} {name}: {why}"
            else:
                have = "has" if missing == 1 else "have"
                yield f"left out: {missing} of {len(group)} cells {have} no {name}: {why}"
    if limits.usd_per_1m is not None and group["usd_per_1m"].isna().all():
        yield "no cell has a cost, so none is within its limit"


def _nearest(answer: Answer, wanted: Wanted) -> Iterator[str]:
    """Limits that no cell keeps, with the nearest cell."""
    limits, met = wanted.limits, True
    limited = (
        (limits.p95_ms, "latency_p95_ms", "lowest p95", "{} ms", 1),
        (limits.p99_ms, "latency_p99_ms", "lowest p99", "{} ms", 1),
        (limits.usd_per_1m, "usd_per_1m", "lowest cost", f"${{}} per 1M {unit_word(answer)}", 1),
        (limits.accuracy_floor, "accuracy", "highest accuracy", "{}", -1),
        (limits.cosine_floor, "cosine", "highest cosine", "{}", -1),
    )
    for limit, column, name, form, sign in limited:
        known = answer.cells[column].astype(float) * sign
        if limit is None or known.isna().all():
            met &= limit is None
        elif known.min() > limit * sign:
            met = False
            cell = answer.cells.iloc[int(known.argmin())]
            figure = f"{cell[column]:.4g}" if sign > 0 else f"{cell[column]:.6g}"
            yield f"the {name} is {form.format(figure)}: {cell_words(cell)}"
    if met and limits.words:
        yield "for each limit some cell keeps it, but no cell keeps all of them"
    elif met:
        yield "no cell has a p95" if answer.aim == "fastest" else "no cell has a cost"


def _doubts(answer: Answer, wanted: Wanted) -> Iterator[str]:
    cell = answer.best
    if cell["within"] == "uncertain":
        yield f"uncertain: {'; '.join(_bounds(cell, wanted))}"
        sure = answer.cells[answer.cells["within"] == "yes"]
        column = "latency_p95_ms" if answer.aim == "fastest" else answer.by
        sure = sure.dropna(subset=[column]).sort_values(column)
        yield (
            f"within the limits with 95 % confidence: {cell_words(sure.iloc[0])}"
            if len(sure)
            else "no cell is within the limits with 95 % confidence"
        )
    if cell["doubt"]:
        why = {"noisy": "other load disturbed its calls", "unsteady": "its latency drifted or jumped"}[
            cell["doubt"]
        ]
        yield f"{cell['doubt']}: {why}, so measure it again before you rely on it"


def _bounds(cell: Any, wanted: Wanted) -> Iterator[str]:
    limits = wanted.limits
    for limit, column, name in (
        (limits.p95_ms, "latency_p95_ms_hi", "p95"),
        (limits.p99_ms, "latency_p99_ms_hi", "p99"),
    ):
        if limit is not None and pd.isna(cell[column]):
            why = "the source gives no" if cell["origin"] == "published" else "too few calls for a"
            yield f"{why} confidence interval of its {name}"
        elif limit is not None and cell[column] > limit:
            yield f"the upper bound of its {name} is {_figure(cell[column])} ms"
    if limits.accuracy_floor is not None and not cell["accuracy_lo"] >= limits.accuracy_floor:
        lower = "unknown" if pd.isna(cell["accuracy_lo"]) else f"{cell['accuracy_lo']:.4g}"
        yield f"the lower bound of its accuracy is {lower}"


def _all_within(answer: Answer, wanted: Wanted, failed: pd.DataFrame) -> Iterator[str]:
    """Where every cell keeps the p95 limit, larger batches may be cheaper: whether any were measured."""
    limit = wanted.limits.p95_ms
    group, cell = answer.cells, answer.best
    if limit is None or answer.aim != "cheapest" or pd.isna(cell["batch_size"]):
        return
    if not (group["latency_p95_ms"].astype(float) <= limit).all():
        return
    alike = ["hardware", "instance_type", "compiler", "fast_math"]
    largest = int(group[_same(group, cell, alike)]["batch_size"].max())
    reason = f"every measured cell is within p95 <= {limit:g} ms: the limit is not reached"
    tried = failed[_same(failed, cell, [*alike, *WORK[:-1]]) & (failed["batch_size"].fillna(0) > largest)]
    if len(tried):
        first = tried.sort_values("batch_size").iloc[0]
        yield f"{reason}; of larger batches {first['batch_size']} ended as {first['status']}"
    elif cell["batch_size"] == largest:
        larger = f"{2 * largest},{4 * largest}"
        yield f"{reason}; larger batches than {largest} were not measured, try batch={larger}"
    else:
        yield f"{reason}; larger batches than {cell['batch_size']} were no cheaper"


def _same(rows: pd.DataFrame, cell: Any, names: list[str]) -> pd.Series[Any]:
    same = pd.Series(data=True, index=rows.index)
    for name in names:
        same &= rows[name].isna() if pd.isna(cell[name]) else (rows[name] == cell[name]).fillna(value=False)
    return same.astype(bool)
