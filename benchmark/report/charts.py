"""Charts of a report: complete the Vega-Lite fragments of its YAML.

A fragment is Vega-Lite (mark, encoding, layer, facet, transform, ...) without data and theme. Its fields are
columns of the rows. `completed` adds these defaults, which a fragment may override:

* `type` of a field: quantitative, temporal or nominal, by its values;
* `shape` for points with a nominal `color`, by the same field: colour is never the only difference;
* one look for the field `origin` as `strokeDash`, `shape`, `fillOpacity` or `color`: measured is solid and
  filled, published dashed and hollow, simulated dotted and hollow. Marks that are hollow by `fillOpacity`
  keep an outline of their colour;
* ticks of logarithmic axes at round values, see `axis_ticks`; labels that cover nothing, see `labels`;
* a legend above the chart, in as many columns as its words leave room for;
* tooltips of the encoded fields, fonts, a light grid, and the palette of Okabe and Ito ("Color Universal
  Design", 2008) without its yellow, too pale on white, and its black, invisible on dark pages.
"""

from __future__ import annotations

import copy
import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from benchmark.report import axis_ticks
from benchmark.report.document import Chart
from benchmark.report.labels import uncluttered
from benchmark.report.sanitize import one_line
from benchmark.report.vega_lite import SECOND, View, channels, check, mentions, views

MOST_POINTS = 5000
"""Points in a chart at most: with more, a page gets large and marks cover each other."""
INK, FAINT, RULE = "#1f2328", "#59636e", "#dfe3e8"
"""Text, secondary text and lines; the HTML page inverts only these on dark screens."""
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f")
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
_ORIGINS = ("measured", "published", "simulated")
_RING = "M1,0A1,1,0,1,1,-1,0A1,1,0,1,1,1,0Z M.55,0A.55,.55,0,1,0,-.55,0A.55,.55,0,1,0,.55,0Z"
_FRAME = "M0,-1.25L1.25,0L0,1.25L-1.25,0Z M0,-.6L-.6,0L0,.6L.6,0Z"
_BY_ORIGIN: Mapping[str, tuple[Any, ...]] = {
    "strokeDash": ([1, 0], [6, 4], [2, 2]),
    "shape": ("circle", _RING, _FRAME),
    "fillOpacity": (0.9, 0.08, 0.08),
    "color": (PALETTE[0], PALETTE[1], PALETTE[3]),
}
"""Values of each channel, in the order of `_ORIGINS`."""
_OUTLINES = ([1, 0], [1, 0], [2, 1.5])
"""Dashes of points' outlines, which are too short for those above."""
_HOLLOW = {
    "stroke": {"value": INK},
    "fill": {"value": "transparent"},
    "opacity": {"value": 1},
}
"""Symbols in a legend of origins: Vega has no legend of `fillOpacity`, so that of `strokeDash` has words."""
_HOW = "datum.label + (datum.label == 'measured' ? ', filled' : ', hollow')"
_THEME: Mapping[str, Any] = {
    "background": "#ffffff",
    "font": _FONT,
    "text": {"color": INK, "fontSize": 12},
    "mark": {"tooltip": True},
    "view": {"stroke": None, "continuousWidth": 560, "continuousHeight": 300, "discreteWidth": {"step": 44}},
    "axis": {
        "gridColor": RULE,
        "domainColor": FAINT,
        "tickColor": FAINT,
        "labelColor": INK,
        "titleColor": INK,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": 600,
        "titlePadding": 8,
        "labelLimit": 200,
        "labelOverlap": "greedy",
        "labelFlush": False,
        "tickCount": 6,
    },
    "legend": {
        "orient": "top",
        "labelFontSize": 12,
        "titleFontSize": 12,
        "labelColor": INK,
        "titleColor": INK,
        "labelLimit": 560,
        "symbolOpacity": 1,
        "symbolSize": 90,
        "symbolStrokeWidth": 2,
    },
    "header": {"labelFontSize": 12, "titleFontSize": 12, "labelColor": INK, "titleColor": INK},
    "title": {"anchor": "start", "fontSize": 14, "color": INK, "offset": 12, "subtitleColor": FAINT},
    "range": {"category": list(PALETTE), "ramp": {"scheme": "cividis"}, "heatmap": {"scheme": "cividis"}},
    "line": {"strokeWidth": 2},
    "point": {"size": 60, "filled": True, "strokeWidth": 1.5, "opacity": 1},
    "rule": {"color": FAINT},
}
_SERIES = (
    "color",
    "fill",
    "stroke",
    "shape",
    "strokeDash",
    "fillOpacity",
    "detail",
    "row",
    "column",
    "facet",
)
_LEGENDS = ("color", "fill", "stroke", "shape", "strokeDash")
_DISCRETE = {"nominal", "ordinal"}
_LEGEND, _SYMBOL, _LETTER = 700, 34, 7
"""Pixels of a legend's width, of a symbol with its gaps, and of a letter."""
_Rows = list[dict[str, Any]]


def completed(  # noqa: PLR0913, PLR0917 - what a chart consists of
    name: str,
    title: str,
    alt: str,
    vega: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    source: str = "",
) -> Chart:
    """Complete a fragment with its rows, so that every output format can draw it.

    `source` says below the title where the figures are from.
    Rows that a logarithmic scale can't show are left out, and `alt` has their number. Of more than 5000 rows
    every nth of each series stays, or the newest where x is time; the subtitle has their number.

    Raises:
        ConfigError: the fragment is no Vega-Lite, or names a field that no row has.
        LibraryMissing: altair is not installed.
    """
    spec: dict[str, Any] = {key: copy.deepcopy(value) for key, value in vega.items() if key != "$schema"}
    columns = {key for row in rows for key in row}
    check(spec, name, columns)
    used = [column for column in sorted(columns) if column == "origin" or mentions(spec, column)]
    values = [{key: _plain(row.get(key)) for key in used} for row in rows]
    _complete(spec, values)
    kept = _loggable(spec, values)
    thinned, subtitle = _thinned(spec, kept)
    thinned = uncluttered(spec, thinned)
    if left_out := len(values) - len(kept):
        what = "1 row is" if left_out == 1 else f"{left_out} rows are"
        alt = f"{alt} {what} left out: a logarithmic axis shows positive values only."
    below = ". ".join(filter(None, (one_line(source), subtitle)))
    heading = {"text": one_line(title), **({"subtitle": below} if below else {})}
    theme = _merged(_THEME, spec.pop("config", {}))
    whole = {"title": heading, "description": one_line(alt), "config": theme, **spec}
    return Chart(
        name=name,
        title=one_line(title),
        alt=one_line(alt),
        spec={**whole, "data": {"name": "rows"}, "datasets": {"rows": thinned}},
    )


def _plain(value: Any) -> Any:
    """A value for JSON: None if missing or infinite, six digits, texts on one line."""
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, date):  # also pandas' NaT
        return None if value != value else value.isoformat()  # noqa: PLR0124 - NaT isn't equal to itself
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int):
        return value
    text = str(value)
    return None if text in {"<NA>", "NaT"} else one_line(text)


def _complete(spec: dict[str, Any], values: _Rows) -> None:
    """Fill in types, a second channel beside colour, and the look of origins."""
    for channel in channels(spec):
        field = channel.definition.get("field")
        if isinstance(field, str) and channel.name not in SECOND and "type" not in channel.definition:
            channel.definition["type"] = _type(channel.definition, [row.get(field) for row in values])
    for view in views(spec):
        _second_channel(view)
    for channel in channels(spec):
        _show_origin(channel.name, channel.definition, {row.get("origin") for row in values})
        _order(channel.name, channel.definition, values)
        _tighten(channel.name, channel.definition, _panels(spec, channel.name, values))
    for view in views(spec):
        _keep_outline(view)
    _explain_origins(spec)
    for channel in channels(spec):
        if channel.name in _LEGENDS and channel.definition:
            _in_columns(channel.definition)


def _type(definition: Mapping[str, Any], column: Sequence[Any]) -> str:
    known = [value for value in column if value is not None]
    if "aggregate" in definition or "bin" in definition:
        return "quantitative"
    if "timeUnit" in definition or (known and all(_is_time(value) for value in known)):
        return "temporal"
    numbers = known and all(isinstance(value, int | float) and not isinstance(value, bool) for value in known)
    return "quantitative" if numbers else "nominal"


def _is_time(value: Any) -> bool:
    return isinstance(value, str) and bool(re.fullmatch(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d\S*)?", value))


def _second_channel(view: View) -> None:
    mark = view.node["mark"]
    mark = {"type": mark} if isinstance(mark, str) else mark
    points = mark["type"] == "point" or (mark["type"] == "line" and mark.get("point"))
    color = view.encoding.get("color", {})
    if points and "shape" not in view.encoding and color.get("type") in _DISCRETE and "field" in color:
        kept = {key: color[key] for key in ("field", "type", "title", "sort", "legend") if key in color}
        view.node.setdefault("encoding", {})["shape"] = kept


def _show_origin(channel: str, definition: dict[str, Any], present: set[Any]) -> None:
    if channel not in _BY_ORIGIN or definition.get("field") != "origin" or "scale" in definition:
        return
    domain = [origin for origin in _ORIGINS if origin in present]
    looks = dict(zip(_ORIGINS, _BY_ORIGIN[channel], strict=True))
    definition["scale"] = {"type": "ordinal", "domain": domain, "range": [looks[one] for one in domain]}
    if channel == "fillOpacity":
        definition["type"] = "ordinal"  # Vega-Lite warns about nominal ones
    if domain == ["measured"]:
        definition.setdefault("legend", None)


def _order(channel: str, definition: dict[str, Any], values: _Rows) -> None:
    """State the categories: only channels with the same stated categories share a legend."""
    field, sort = str(definition.get("field")), definition.get("sort", "ascending")
    scale = definition.get("scale", {})
    known = dict.fromkeys(row[field] for row in values if row.get(field) is not None) if values else {}
    if channel not in _LEGENDS or definition.get("type") != "nominal" or scale is None or not known:
        return
    if isinstance(sort, list):
        known = dict.fromkeys([*(one for one in sort if one in known), *known])
    elif sort in {"ascending", "descending"}:
        known = dict.fromkeys(sorted(known, key=str, reverse=sort == "descending"))
    definition["scale"] = {"domain": list(known), **scale}


def _panels(spec: Mapping[str, Any], channel: str, values: _Rows) -> list[_Rows]:
    """Rows of each panel with an axis of its own; all rows where panels share it."""
    facet, scales = spec.get("facet", {}).get("field"), spec.get("resolve", {}).get("scale", {})
    if facet is None or scales.get(channel) != "independent":
        return [values]
    panels: dict[Any, _Rows] = defaultdict(list)
    for row in values:
        panels[row.get(facet)].append(row)
    return [*panels.values()]


def _tighten(channel: str, definition: dict[str, Any], panels: list[_Rows]) -> None:
    """End logarithmic axes shortly after the data, not at the next power of ten, with round ticks."""
    scale = definition.get("scale")
    if channel not in {"x", "y"} or not isinstance(scale, dict) or scale.get("type") != "log":
        return
    definition["scale"] = scale if "domain" in scale else {"nice": False, "padding": 12, **scale}
    field, axis = definition.get("field", ""), definition.get("axis", {})
    known = [[row[field] for row in rows if _positive(row.get(field))] for rows in panels]
    ends = [(min(figures), max(figures)) for figures in known if figures]
    if isinstance(axis, dict) and "values" not in axis and ends:
        ticks = axis_ticks.logarithmic(ends, scale.get("base", 10))
        definition["axis"] = {**axis, **({"values": ticks, "tickCount": len(ticks)} if ticks else {})}


def _in_columns(definition: dict[str, Any]) -> None:
    """Give a legend as many columns as its longest word leaves room for."""
    words, legend = (definition.get("scale") or {}).get("domain"), definition.get("legend", {})
    if isinstance(words, list) and isinstance(legend, dict):
        room = _SYMBOL + _LETTER * max((len(str(word)) for word in words), default=0)
        definition["legend"] = {"columns": max(1, int(_LEGEND // room)), **legend}


def _keep_outline(view: View) -> None:
    hollow = view.encoding.get("fillOpacity", {}).get("field") == "origin"
    color = view.encoding.get("color")
    if hollow and color and "stroke" not in view.encoding:
        own = view.node.setdefault("encoding", {})
        own["color"] = None  # overrides that of a layer around it
        own["fill"], own["stroke"] = copy.deepcopy(color), copy.deepcopy(color)


def _explain_origins(spec: dict[str, Any]) -> None:
    """Let the legend of `strokeDash` explain both `strokeDash` and `fillOpacity`."""
    mine = [view for view in views(spec) if view.encoding.get("fillOpacity", {}).get("field") == "origin"]
    dashes = [view for view in views(spec) if view.encoding.get("strokeDash", {}).get("field") == "origin"]
    for view in [] if dashes else mine:
        dash = copy.deepcopy(view.encoding["fillOpacity"])
        looks = dict(zip(_ORIGINS, _OUTLINES, strict=True))
        dash["scale"]["range"] = [looks[one] for one in dash["scale"]["domain"]]
        view.node["encoding"]["strokeDash"] = dash
        dash.setdefault(
            "legend", {"symbolType": "circle", "labelExpr": _HOW, "encoding": {"symbols": _HOLLOW}}
        )
    for view in dashes:
        filled = view in mine
        shown = (
            {"symbolType": "square", "symbolSize": 180}
            if filled
            else {"symbolType": "stroke", "symbolSize": 500}
        )
        symbols = _HOLLOW if filled else {"stroke": {"value": INK}}
        words = {"labelExpr": _HOW} if filled else {}
        view.encoding["strokeDash"].setdefault("legend", {**shown, **words, "encoding": {"symbols": symbols}})


def _loggable(spec: dict[str, Any], values: _Rows) -> _Rows:
    """Rows that at least one view can show; values that a logarithmic scale can't show become None."""
    wanted = [_log_fields(view.encoding, values) for view in views(spec)]
    fields = {field for one in wanted for field in one}
    cleared = [
        {key: None if key in fields and not _positive(value) else value for key, value in row.items()}
        for row in values
    ]
    return [row for row in cleared if any(all(row[field] is not None for field in one) for one in wanted)]


def _log_fields(encoding: Mapping[str, Any], values: _Rows) -> list[str]:
    found = []
    for name, definition in encoding.items():
        on = encoding.get(name.removesuffix("2"), {}) if name in {"x2", "y2"} else definition
        scale = on.get("scale") if isinstance(on, dict) else None
        if (
            isinstance(scale, dict)
            and scale.get("type") == "log"
            and isinstance(definition.get("field"), str)
        ):
            found.append(definition["field"])
    return [field for field in found if values and field in values[0]]


def _positive(value: Any) -> bool:
    return isinstance(value, int | float) and value > 0


def _thinned(spec: dict[str, Any], values: _Rows) -> tuple[_Rows, str]:
    """At most 5000 rows, and the subtitle about them."""
    if len(values) <= MOST_POINTS:
        return values, ""
    found = [
        (one.name, one.definition) for one in channels(spec) if isinstance(one.definition.get("field"), str)
    ]
    times = [one["field"] for name, one in found if name == "x" and one.get("type") == "temporal"]
    if times:
        newest = sorted(values, key=lambda row: str(row.get(times[0]) or ""))[-MOST_POINTS:]
        return newest, f"The newest {MOST_POINTS} of {len(values)} points"
    names = {one["field"] for name, one in found if name in _SERIES and one.get("type") in _DISCRETE}
    by = sorted(name for name in names if name in values[0])
    series: dict[tuple[Any, ...], _Rows] = defaultdict(list)
    for row in values:
        series[tuple(row[name] for name in by)].append(row)
    step = math.ceil(len(values) / MOST_POINTS)
    kept = [row for one in series.values() for row in one[::step]][:MOST_POINTS]
    return kept, f"{len(kept)} of {len(values)} points: one in {step} of each series"


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = {key: copy.deepcopy(value) for key, value in below.items()}
    for key, value in above.items():
        inner = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merged(merged[key], value) if inner else value
    return merged
