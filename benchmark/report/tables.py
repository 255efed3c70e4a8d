"""Tables and charts of a report, made of the results of its queries."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from benchmark.frames import with_columns
from benchmark.report.charts import completed
from benchmark.report.document import Chart, Field, Head, Table
from benchmark.report.query import Relation
from benchmark.report.spec import ChartSpec, ColumnSpec, FrontSpec, PivotSpec, TableSpec
from benchmark.report.text import NONE, figure, filled, stem
from benchmark.stats.pareto import unbeaten
from benchmark.store.repeats import SAMPLES
from benchmark.store.results import records

WORDS: Final = {"incompatible": "N/A"}
"""Spelling of statuses in published tables."""
_OWN: Final = ("run_id", "origin", "status")
_SEVERAL: Final = "Fields with several rows show the newest; conditions such as compiler=openvino select one"

_MOST_MACHINES: Final = 3
"""More are counted in the line below a chart's title."""
_MOST_PANELS: Final = 9
_MOST_SAMPLED: Final = 36
"""Configurations of which calls are drawn: each call is a mark, also in the picture within the page."""
_MOST_BEATEN: Final = 1000
"""Points drawn that aren't on a front."""
_FEWEST_CALLS: Final = 5
"""Calls drawn of a process, however many processes there are."""


def table(cells: Relation, spec: TableSpec, where: str, values: Mapping[str, Any]) -> Table | None:
    """A table of the rows that meet `where`; None without rows.

    `values` fill its texts. A row that isn't ok shows its status instead of a figure.
    """
    shown = dict(spec.columns) if spec.pivot is None else {**spec.columns, "field": spec.pivot.field}
    found = cells.frame(_query(spec, shown, where))
    if found.empty:
        return None
    notes = [filled(note, values) for note in spec.notes]
    if spec.pivot is None:
        heads, lines = _listing(found, spec)
    else:
        heads, lines = _pivot(found, spec, spec.pivot)
        if any(len(line[at].run_ids) > 1 for line in lines for at in range(len(spec.columns), len(heads))):
            notes.append(_SEVERAL)
    if spec.cost:
        notes += cells.priced.lines
    if any(field.text == NONE for line in lines for field in line):
        notes.append(
            f"{NONE}: not measured{' or not published' if 'published' in {*found['origin']} else ''}"
        )
    name, caption = stem(filled(spec.name, values)), filled(spec.caption, values)
    return Table(name=name, caption=caption, heads=tuple(heads), lines=tuple(lines), notes=tuple(notes))


def charts(
    cells: Relation, spec: ChartSpec, where: str, values: Mapping[str, Any]
) -> tuple[list[Chart], list[str]]:
    """A chart for each combination of the values of `each`; a sentence for each that has one point only."""
    found = cells.frame(_points_query(spec, where))
    if found.empty:
        return [], []
    left_out = []
    if spec.panel:
        found, note = _with_most_rows(found, spec.panel)
        left_out.append(note)
    if spec.samples:
        found, note = _calls(cells, found, spec.samples)
        left_out.append(note)
    if spec.front:
        found, note = _before_the_front(with_columns(found, front=_front(found, spec.front)))
        left_out.append(note)
    source = ". ".join(filter(None, (_source(cells, f"({where}) and ({spec.where})"), *left_out)))
    keys = [f"each_{at}" for at in range(len(spec.each))]
    drawn, notes = list[Chart](), list[str]()
    for key, rows in found.groupby(keys, sort=True) if keys else [((), found)]:
        kept = records(rows.drop(columns=keys))
        named = {**values, **kept[0], **dict(zip(spec.each, key, strict=True))} if kept else values
        name, title, alt = (filled(text, named) for text in (spec.name, spec.title, spec.alt))
        if len(kept) > 1:
            drawn.append(completed(stem(name), title, alt, spec.vega, kept, source))
        elif kept:
            notes.append(f"{title}: no chart, since there is one value only.")
    return drawn, notes


def _points_query(spec: ChartSpec, where: str) -> str:
    selected = {
        "origin": "origin",
        **{f"each_{at}": each for at, each in enumerate(spec.each)},
        **spec.select,
    }
    if spec.samples:
        selected = {"run_id": "run_id", **selected}
    columns = ", ".join(f'({value}) as "{name}"' for name, value in selected.items())
    choose = f"qualify {spec.choose}" if spec.choose else ""
    summed = "group by all" if spec.summed else ""
    order = f"order by {spec.order}" if spec.order else ""
    return f"select {columns} from cells where ({where}) and ({spec.where}) {summed} {choose} {order}"


def _with_most_rows(found: pd.DataFrame, panel: str) -> tuple[pd.DataFrame, str]:
    """Rows of the panels with the most rows, and how many panels are left out."""
    counts = found[panel].value_counts(sort=True)
    kept = found[found[panel].isin(counts.index[:_MOST_PANELS])]
    if len(counts) <= _MOST_PANELS:
        return kept, ""
    return kept, f"{_MOST_PANELS} of {len(counts)} panels: those with the most rows"


def _calls(cells: Relation, found: pd.DataFrame, most: int) -> tuple[pd.DataFrame, str]:
    """A row for each drawn call, and what is left out."""
    drawn = found.head(_MOST_SAMPLED)
    calls = cells.calls(drawn["run_id"].tolist())
    calls = calls.assign(each=most // calls.groupby("cell")["process"].transform("size"))
    thinned = calls.assign(
        ms=[
            _at_even_quantiles(one, max(_FEWEST_CALLS, each))
            for one, each in zip(calls[SAMPLES], calls["each"], strict=True)
        ]
    )
    points = thinned.drop(columns=[SAMPLES, "each"]).explode("ms").astype({"ms": float})
    made = drawn.merge(points, left_on="run_id", right_on="cell").drop(columns=["run_id", "cell"])
    notes = [f"{most} calls of each configuration at most, at even quantiles"]
    if len(found) > len(drawn):
        notes.append(f"{len(drawn)} of {len(found)} configurations")
    return made, ". ".join(notes)


def _at_even_quantiles(nanoseconds: Sequence[int], many: int) -> Any:
    """So many calls in ms, each for an equal share of all: never the luckiest, never only the slowest."""
    ordered = np.sort(np.asarray(nanoseconds, dtype=float)) / 1e6
    if len(ordered) <= many:
        return ordered
    return ordered[((np.arange(many) + 0.5) / many * len(ordered)).astype(int)]


def _before_the_front(found: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The whole front, and of many others every nth, and what is left out."""
    beaten = np.flatnonzero(~found["front"].to_numpy(dtype=bool))
    step = math.ceil(len(beaten) / _MOST_BEATEN)
    if step <= 1:
        return found, ""
    kept = [*np.flatnonzero(found["front"].to_numpy(dtype=bool)), *beaten[::step]]
    return found.iloc[sorted(kept)], f"Of the configurations that another beats one in {step} is drawn"


def _front(found: pd.DataFrame, spec: FrontSpec) -> pd.Series[Any]:
    sign = 1 if spec.best == "least" else -1
    objectives = pd.DataFrame({"less": found[spec.less], "other": sign * found[spec.against]}).astype(float)
    rivals = objectives.fillna(math.inf).groupby(
        [found[name] for name in ("origin", *spec.among)], dropna=False
    )
    marks = [unbeaten(group["less"], group["other"]) for _, group in rivals]
    front: pd.Series[Any] = pd.concat(marks).reindex(found.index)
    return front


def _source(cells: Relation, where: str) -> str:
    """Machines, origin and days of the rows behind a chart, which a copied picture has to carry itself."""
    machine = "coalesce(instance_type, device_name, cpu_model, hardware)"
    day = "case when origin = 'published' then document_date else strftime(finished_at, '%Y-%m-%d') end"
    (row,) = records(
        cells.frame(
            f"select list_sort(list(distinct {machine})) as machines, "
            f"list_sort(list(distinct origin)) as origins, min({day}) as first, "
            f"max({day}) as last from cells where {where}"
        )
    )
    machines = [str(one) for one in row["machines"] if one is not None]
    named = ", ".join(machines) if len(machines) <= _MOST_MACHINES else f"{len(machines)} machines"
    days = dict.fromkeys(str(row[at]) for at in ("first", "last") if row[at] is not None)
    return ", ".join(filter(None, (named, " and ".join(row["origins"]), " to ".join(days))))


def _query(spec: TableSpec, shown: Mapping[str, ColumnSpec], where: str) -> str:
    columns = {f"c{at}": column.value for at, column in enumerate(shown.values())}
    if spec.pivot is not None:
        columns |= {"across": spec.pivot.across, "across_order": spec.pivot.order or spec.pivot.across}
    columns |= {"best_of": spec.group or "true"}
    selected = ", ".join(f'({value}) as "{name}"' for name, value in columns.items())
    choose = f"qualify {spec.choose}" if spec.choose else ""
    order = f"order by {spec.order}" if spec.order else ""
    limit = f"limit {spec.limit}" if spec.limit else ""
    return (
        f"select {', '.join(_OWN)}, started_at, {selected} from {spec.relation} "
        f"where ({where}) and ({spec.where}) {choose} {order} {limit}"
    )


def _listing(found: pd.DataFrame, spec: TableSpec) -> tuple[list[Head], list[tuple[Field, ...]]]:
    heads = [Head(text=name, figures=column.figure) for name, column in spec.columns.items()]
    best = [_best(found, f"c{at}", column) for at, column in enumerate(spec.columns.values())]
    lines = [
        tuple(
            _field([row], f"c{at}", column, best=row["run_id"] in best[at])
            for at, column in enumerate(spec.columns.values())
        )
        for row in records(found)
    ]
    return heads, lines


def _best(found: pd.DataFrame, name: str, column: ColumnSpec) -> set[str]:
    """Runs with the best figure of their group, where the group has several."""
    if not column.best:
        return set()
    figures = with_columns(found, figure=found[name].astype(float))[lambda rows: rows["figure"].notna()]
    groups = figures.groupby("best_of", dropna=False)["figure"]
    wanted = groups.transform("min" if column.best == "least" else "max")
    chosen = figures[(figures["figure"] == wanted) & (groups.transform("size") > 1)]
    return {*chosen["run_id"]}


def _pivot(
    found: pd.DataFrame, spec: TableSpec, pivot: PivotSpec
) -> tuple[list[Head], list[tuple[Field, ...]]]:
    found = found[found["across"].notna()]
    column, at = pivot.field, f"c{len(spec.columns)}"
    first = found.groupby(["across", "origin"], sort=False)["across_order"].min()
    across = first.reset_index().sort_values(["across_order", "origin"], kind="stable")
    columns = [*across[["across", "origin"]].itertuples(index=False, name=None)]
    keys = [f"c{number}" for number in range(len(spec.columns))]
    heads = [Head(text=name, figures=one.figure) for name, one in spec.columns.items()]
    heads += [Head(text=str(text), figures=True, origin=origin) for text, origin in columns]
    lines = []
    for _, rows in found.groupby(keys, sort=False, dropna=False) if keys else [((), found)]:
        newest = records(rows.sort_values("started_at", ascending=False))
        by_head: dict[Any, list[dict[str, Any]]] = {}
        for row in newest:
            by_head.setdefault((row["across"], row["origin"]), []).append(row)
        best = _best(with_columns(rows, best_of=True), at, column)
        names = [
            _field(newest[:1], f"c{number}", one, best=False)
            for number, one in enumerate(spec.columns.values())
        ]
        fields = [
            _field(some, at, column, best=some[0]["run_id"] in best)
            if (some := by_head.get(head))
            else Field(text=NONE)
            for head in columns
        ]
        lines.append((*names, *fields))
    return heads, lines


def _field(rows: Sequence[Mapping[str, Any]], name: str, column: ColumnSpec, *, best: bool) -> Field:
    row = rows[0]
    value, status, origin = row[name], str(row["status"]), row["origin"]
    ids = tuple(str(one["run_id"]) for one in rows)
    if not column.figure:
        text = NONE if _absent(value) else filled("{value}", {"value": value})
        number = float(value) if isinstance(value, (int, float)) and not _absent(value) else None
        return Field(text=text, value=number)
    if _absent(value):
        if status == "ok":
            return Field(text=NONE, run_ids=ids)
        absent = origin == "published" and status == "unavailable"
        word = "not published" if absent else WORDS.get(status, status.replace("_", " "))
        return Field(text=word, word=True, origin=origin, run_ids=ids)
    return Field(text=figure(value, column.format), value=float(value), origin=origin, best=best, run_ids=ids)


def _absent(value: Any) -> bool:
    return value is None or (pd.api.types.is_scalar(value) and bool(pd.isna(value))) or value == math.inf
