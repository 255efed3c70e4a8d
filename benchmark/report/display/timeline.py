"""Chart of a series' nights: every process, the median, the usual spread, and confirmed changes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from benchmark.formatting import significant
from benchmark.frames import with_columns
from benchmark.records import frozen
from benchmark.report.charts import FAINT, INK, completed
from benchmark.report.document import Chart
from benchmark.report.sanitize import one_line
from benchmark.stats.regression_evidence import levels, middle
from benchmark.store.selection import any_simulated

MOST_PANELS: Final = 24
"""Most small multiples of one picture: more are unreadable."""
_BAND: Final = 2.0
"""Half width of the usual band, in standard deviations of a night."""
_MOST_BUILDS: Final = 7
"""Colours of the palette; older builds share the first."""
_MOST_TICKS: Final = 6
_MAP: Final = "framework_versions"


@frozen
class Change:
    """A slow-down that fresh runs in turns confirmed."""

    campaign: str
    """Night that found it."""
    ratio: float
    low: float
    high: float
    """New over accepted build, with its 95 % interval; 0 and infinity where it has none."""

    @property
    def label(self) -> str:
        """Change with its interval, in a few characters."""
        bounds = f" (95 %: {self.low - 1:+.1%} … {self.high - 1:+.1%})" if self.low > 0 else ""
        return f"{self.ratio - 1:+.1%}{bounds}"


@frozen
class Panel:
    """One series."""

    stem: str
    """Of its files."""
    label: str
    rows: pd.DataFrame
    """A row a process, oldest night first: `campaign`, `latency_p50_ms`, `latency_p95_ms`, `simulated`,
    `git_commit` and `framework_versions`; `night` is the start of its campaign."""
    changes: tuple[Change, ...] = ()


def timeline(panel: Panel) -> Chart:
    """One series as one picture."""
    named = builds(panel.rows)
    rows = _rows(panel, named)
    title = f"{_name(panel)}: latency by night"
    vega = {"title": _heading(title), "width": 640, "height": 300, **_layers(rows)}
    return completed(panel.stem, title, _alt(panel), vega, rows)


def multiples(name: str, panels: Sequence[Panel]) -> Chart:
    """Several series beside each other, each with a scale of its own; MOST_PANELS at most."""
    whole = pd.concat([panel.rows for panel in panels], keys=range(len(panels)))
    named = builds(whole.sort_values("night", kind="stable"))
    rows = [row for place, panel in enumerate(panels) for row in _rows(panel, named.xs(place))]
    title = "Latency by night"
    vega = {
        "title": _heading(title),
        "facet": {"field": "panel", "type": "nominal", "title": None, "sort": [*map(_name, panels)]},
        "columns": 3,
        "spec": {"width": 260, "height": 130, **_layers(rows)},
        "resolve": {"scale": {"y": "independent"}},
    }
    alt = f"{len(panels)} series, each as a chart. {' '.join(map(_alt, panels))}"
    return completed(name, title, alt, vega, rows)


def builds(rows: pd.DataFrame) -> pd.Series[str]:
    """Name each row's build by the commit and the versions that differ between the rows."""
    facts = pd.DataFrame(
        [
            {"commit": _short(commit), **(versions if isinstance(versions, Mapping) else {})}
            for commit, versions in zip(rows["git_commit"], rows[_MAP], strict=True)
        ],
        index=rows.index,
    ).fillna("?")
    differing = [name for name in facts if len({*facts[name]}) > 1]
    named = facts[differing].apply(
        lambda row: ", ".join(f"{name} {value}" for name, value in row.items()), axis=1
    )
    found = named if differing else pd.Series("", index=rows.index)
    newest = [*dict.fromkeys(found)][-_MOST_BUILDS + 1 :]
    return found.where(found.isin(newest), "earlier builds")


def _heading(title: str) -> dict[str, str]:
    """Title, with the meaning of the marks that have no legend."""
    return {
        "text": title,
        "subtitle": f"line: median p50; grey: usual p50 by the nights before (± {_BAND:g} standard "
        "deviations of a night); dashed: confirmed by runs in turns",
    }


def _short(commit: Any) -> str | None:
    return None if pd.isna(commit) else str(commit)[:8]


def _name(panel: Panel) -> str:
    label = one_line(panel.label)  # the renderer fails on control characters
    return f"{label} (simulated)" if any_simulated(panel.rows) else label


def _rows(panel: Panel, named: pd.Series[str]) -> list[dict[str, Any]]:
    """Drawn marks, each with its `kind`: one table, since facets share one."""
    rows = with_columns(panel.rows, build=named)
    made = [*_points(rows), *_middles(rows), *_band(panel), *_marks(panel)]
    return [{"panel": _name(panel), **row} for row in made]


def _points(rows: pd.DataFrame) -> Iterator[dict[str, Any]]:
    for name, percentile in (("latency_p50_ms", "p50"), ("latency_p95_ms", "p95")):
        for night, build, ms in rows[["night", "build", name]].itertuples(index=False):
            if not pd.isna(ms):
                yield {
                    "kind": "process",
                    "night": _time(night),
                    "build": build,
                    "ms": float(ms),
                    "percentile": percentile,
                }


def _middles(rows: pd.DataFrame) -> Iterator[dict[str, Any]]:
    for night, of_night in rows.groupby("night"):
        yield {"kind": "median", "night": _time(night), "ms": float(of_night["latency_p50_ms"].median())}


def _band(panel: Panel) -> Iterator[dict[str, Any]]:
    """Usual band by the nights before the last change, or before the last night."""
    rows = panel.rows
    until = _nights(panel)[panel.changes[-1].campaign] if panel.changes else rows["night"].max()
    since = [_nights(panel)[change.campaign] for change in panel.changes[:-1]]
    before = rows[(rows["night"] < until) & (rows["night"] >= max(since, default=rows["night"].min()))]
    values = [middle(list(night["latency_p50_ms"])) for _, night in before.groupby("night")]
    if len(values) < 2:  # noqa: PLR2004 - one night has no spread
        return
    _, level, spread = levels(np.array(values)[:, None])
    reach = _BAND * float(spread[0])
    low, high = math.exp(level[0] - reach), math.exp(level[0] + reach)
    for night in (before["night"].min(), rows["night"].max()):
        yield {"kind": "usual", "night": _time(night), "low": low, "high": high}


def _marks(panel: Panel) -> Iterator[dict[str, Any]]:
    nights = _nights(panel)
    half = panel.rows["night"].min() + (panel.rows["night"].max() - panel.rows["night"].min()) / 2
    for change in panel.changes:
        at = nights[change.campaign]
        side = "left of" if at > half else "right of"
        yield {"kind": f"text {side} rule", "night": _time(at), "text": change.label}


def _nights(panel: Panel) -> dict[str, Any]:
    return dict(zip(panel.rows["campaign"], panel.rows["night"], strict=True))


def _time(night: Any) -> str:
    return pd.Timestamp(night).strftime("%Y-%m-%dT%H:%M:%S")


def _layers(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    kinds = {row["kind"] for row in rows}
    x = _x(rows)
    latency = {**x, "y": {"field": "ms", **_Y}}
    usual = {**x, "y": {"field": "low", **_Y}, "y2": {"field": "high"}}
    layers = [_of("usual", {"type": "area", "color": "#9aa3ad", "opacity": 0.3}, usual)] * ("usual" in kinds)
    layers.append(_of("median", {"type": "line", "color": FAINT, "strokeWidth": 1.5}, latency))
    several = len({row["build"] for row in rows if "build" in row}) > 1
    layers.append(
        _of("process", {"type": "point", "opacity": 0.8, "size": 34}, {**latency, **_looks(several=several)})
    )
    for side, look in _SIDES.items():
        if f"text {side} rule" in kinds:
            layers.append(_of(f"text {side} rule", {"type": "rule", "color": INK, "strokeDash": [5, 3]}, x))
            label = {"text": {"field": "text"}, "y": {"value": 8}}
            layers.append(_of(f"text {side} rule", {"type": "text", "fontWeight": 600, **look}, x | label))
    return {"layer": layers}


_Y: Final = {
    "type": "quantitative",
    "scale": {"zero": False, "nice": True},
    "title": "latency of a call [ms]",
}


def _x(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The axis of nights: a tick at some of them, with the hour where two of them are of one day."""
    nights = sorted({row["night"] for row in rows if row["kind"] == "median"})
    shown = [pd.Timestamp(night) for night in nights[:: math.ceil(len(nights) / _MOST_TICKS)]]
    of_days = len({night[:10] for night in nights}) == len(nights)
    ticks = [
        {"year": one.year, "month": one.month, "date": one.day, "hours": one.hour, "minutes": one.minute}
        for one in shown
    ]
    axis = {"format": "%d %b" if of_days else "%d %b %H:%M", "values": ticks, "tickCount": len(ticks)}
    return {
        "x": {"field": "night", "type": "temporal", "title": "night", "axis": axis, "scale": {"padding": 14}}
    }


_SIDES: Final = {"left of": {"align": "right", "dx": -6}, "right of": {"align": "left", "dx": 6}}


def _looks(*, several: bool) -> dict[str, Any]:
    """Shape shows the percentile; colour shows the build where there are several."""
    shape = {"field": "percentile", "title": "of each process", "scale": {"range": ["circle", "triangle-up"]}}
    color = {"color": {"field": "build", "title": "build", "sort": None}} if several else {}
    return {"shape": shape, **color}


def _of(kind: str, mark: Mapping[str, Any], encoding: Mapping[str, Any]) -> dict[str, Any]:
    return {"transform": [{"filter": f"datum.kind === '{kind}'"}], "mark": mark, "encoding": encoding}


def _alt(panel: Panel) -> str:
    """Content of the chart in words."""
    rows, nights = panel.rows, _nights(panel)
    first, last = rows[rows["night"] == rows["night"].min()], rows[rows["night"] == rows["night"].max()]
    text = (
        f"{_name(panel)}: p50 and p95 of {len(rows)} processes in {len(nights)} nights from "
        f"{rows['night'].min():%Y-%m-%d} to {rows['night'].max():%Y-%m-%d}; the median p50 was "
        f"{_ms(first)} ms in the first night and {_ms(last)} ms in the last."
    )
    changes = [
        f" Confirmed in the night of {nights[change.campaign]:%Y-%m-%d} by runs in turns: {change.label}."
        for change in panel.changes
    ]
    if band := [*_band(panel)]:
        low, high = significant(band[0]["low"]), significant(band[0]["high"])
        text += f" By the nights before, {low} to {high} ms are usual."
    return text + "".join(changes)


def _ms(rows: pd.DataFrame) -> str:
    return significant(rows["latency_p50_ms"].median())
