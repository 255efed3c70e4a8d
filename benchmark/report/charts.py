"""Charts from what a report's YAML says of them: Vega-Lite fragments become complete specifications.

A fragment is Vega-Lite (mark, encoding, layer, facet, transform, ...) without data and theme. Its fields are
columns of the rows. What `drawn` adds, and an author may override:

* `type` of a field: quantitative, temporal or nominal, as the values are;
* where points have a nominal `color`, the same field as `shape`: colour is never alone;
* the field `origin` as `strokeDash`, `shape`, `fillOpacity` or `color` looks the same everywhere: measured is
  solid and filled, published dashed and hollow, simulated dotted and hollow. Marks that are hollow by
  `fillOpacity` keep an outline of their colour;
* tooltips of the encoded fields, fonts, light grid, palette (Okabe and Ito, "Color Universal Design", 2008;
  without its yellow, too pale on white, and its black, invisible on dark pages).
"""

from __future__ import annotations

import copy
import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from benchmark.report.document import Chart
from benchmark.report.sanitize import one_line
from benchmark.report.vega_lite import SECOND, View, channels, check, speaks_of, views

MOST_POINTS = 5000
"""Points in a chart: beyond, a page grows heavy and marks cover each other."""
INK, FAINT, RULE = "#1f2328", "#59636e", "#dfe3e8"
"""Text, lesser text and lines; the HTML page turns just these around on dark screens."""
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
"""How each channel tells origins apart, in the order of `_ORIGINS`."""
_OUTLINES = ([1, 0], [1, 0], [2, 1.5])
"""The same for the outlines of points, which are too small for dashes."""
_HOLLOW = {
    "stroke": {"value": INK},
    "fill": {"value": "transparent"},
    "opacity": {"value": 1},
}
"""Symbols in a legend of origins: Vega has none of `fillOpacity`, that of `strokeDash` says it in words."""
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
    },
    "legend": {
        "labelFontSize": 12,
        "titleFontSize": 12,
        "labelColor": INK,
        "titleColor": INK,
        "labelLimit": 240,
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
_Rows = list[dict[str, Any]]


def drawn(
    name: str, title: str, alt: str, vega: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
) -> Chart:
    """Make a fragment and its rows a chart that any output can draw.

    Rows that no logarithmic scale can show are left out, and `alt` says how many. Of more than 5000 rows
    every nth of each series is kept, or the newest where x is time; the subtitle says so.

    Raises:
        ConfigError: it is no Vega-Lite, or names a field that no row has; says chart and key.
        LibraryMissing: altair is not installed.
    """
    spec: dict[str, Any] = {key: copy.deepcopy(value) for key, value in vega.items() if key != "$schema"}
    columns = {key for row in rows for key in row}
    check(spec, name, columns)
    used = [column for column in sorted(columns) if column == "origin" or speaks_of(spec, column)]
    values = [{key: _plain(row.get(key)) for key in used} for row in rows]
    _complete(spec, values)
    kept = _loggable(spec, values)
    thinned, subtitle = _thinned(spec, kept)
    if left_out := len(values) - len(kept):
        what = "1 row is" if left_out == 1 else f"{left_out} rows are"
        alt = f"{alt} {what} left out: a logarithmic axis shows nothing that is missing or not above zero."
    heading = {"text": one_line(title), **({"subtitle": subtitle} if subtitle else {})}
    theme = _merged(_THEME, spec.pop("config", {}))
    whole = {"title": heading, "description": one_line(alt), "config": theme, **spec}
    return Chart(
        name=name,
        title=one_line(title),
        alt=one_line(alt),
        spec={**whole, "data": {"name": "rows"}, "datasets": {"rows": thinned}},
    )


def _plain(value: Any) -> Any:
    """As JSON has it: null for what is missing or endless, six digits, texts on one line."""
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, date):  # also pandas' NaT, which has no date to tell
        return None if value != value else value.isoformat()  # noqa: PLR0124 - what is not itself is missing
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int):
        return value
    text = str(value)
    return None if text in {"<NA>", "NaT"} else one_line(text)


def _complete(spec: dict[str, Any], values: _Rows) -> None:
    """Fill in types, the second channel beside colour, and what origin looks like."""
    for channel in channels(spec):
        field = channel.definition.get("field")
        if isinstance(field, str) and channel.name not in SECOND and "type" not in channel.definition:
            channel.definition["type"] = _type(channel.definition, [row.get(field) for row in values])
    for view in views(spec):
        _second_channel(view)
    for channel in channels(spec):
        _tell_origin(channel.name, channel.definition, {row.get("origin") for row in values})
        _order(channel.name, channel.definition, values)
        _tighten(channel.name, channel.definition)
    for view in views(spec):
        _keep_outline(view)
    _explain_origins(spec)


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


def _tell_origin(channel: str, definition: dict[str, Any], present: set[Any]) -> None:
    if channel not in _BY_ORIGIN or definition.get("field") != "origin" or "scale" in definition:
        return
    domain = [origin for origin in _ORIGINS if origin in present]
    looks = dict(zip(_ORIGINS, _BY_ORIGIN[channel], strict=True))
    definition["scale"] = {"type": "ordinal", "domain": domain, "range": [looks[one] for one in domain]}
    if channel == "fillOpacity":
        definition["type"] = "ordinal"  # Vega-Lite warns of nominal ones
    if domain == ["measured"]:
        definition.setdefault("legend", None)


def _order(channel: str, definition: dict[str, Any], values: _Rows) -> None:
    """State the categories: only channels that state the same ones share a legend."""
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


def _tighten(channel: str, definition: dict[str, Any]) -> None:
    """Logarithmic axes end a little beyond the data, not at the next power of ten."""
    scale = definition.get("scale")
    if channel in {"x", "y"} and isinstance(scale, dict) and scale.get("type") == "log":
        definition["scale"] = scale if "domain" in scale else {"nice": False, "padding": 12, **scale}


def _keep_outline(view: View) -> None:
    hollow = view.encoding.get("fillOpacity", {}).get("field") == "origin"
    color = view.encoding.get("color")
    if hollow and color and "stroke" not in view.encoding:
        own = view.node.setdefault("encoding", {})
        own["color"] = None  # not even that of a layer around it
        own["fill"], own["stroke"] = copy.deepcopy(color), copy.deepcopy(color)


def _explain_origins(spec: dict[str, Any]) -> None:
    """Let the legend of `strokeDash` show what it means, and what `fillOpacity` means."""
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
    """The rows that at least one view can show; what a logarithmic scale can't show of them becomes null."""
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
    """At most 5000 rows, and what to say of it."""
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
