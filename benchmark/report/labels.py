"""Drops labels that would cover another label or a point of the same chart.

Vega-Lite has no labels that avoid each other, so positions are estimated from the values of each panel. Where
a page draws a chart smaller, its script hides more of them.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, NamedTuple

from benchmark.report.vega_lite import View, views

_Rows = list[dict[str, Any]]
_WIDTH, _HEIGHT = 560.0, 300.0
"""Size of a chart that names none."""
_FONT_SIZE = 11.0
_LETTER = 0.6
"""Width of a letter, as a share of its height."""
_CROWD = 200
"""A panel with more points has no labels."""
_INK = 0.7
"""Height of a figure, as a share of the font's."""
_POINT = 4.0
"""Radius of a point in pixels."""


class _Box(NamedTuple):
    left: float
    right: float
    top: float
    bottom: float

    def covers(self, other: _Box) -> bool:
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )


def uncluttered(spec: dict[str, Any], values: _Rows) -> _Rows:
    """The rows, without the labels that cover something; labels of earlier rows win.

    Views of labels are changed to leave out rows without one.
    """
    inner = spec.get("spec", spec)
    size = tuple(
        float(given) if isinstance(given := inner.get(name), int | float) else usual
        for name, usual in (("width", _WIDTH), ("height", _HEIGHT))
    )
    for view in views(spec):
        if _kind(view) == "text" and _is_plane(view):
            values = _kept(view, values, spec.get("facet", {}).get("field"), size)
            there = f"isValid(datum[{view.encoding['text']['field']!r}])"
            view.node["transform"] = [*view.node.get("transform", ()), {"filter": there}]
    return values


def _kept(view: View, values: _Rows, facet: str | None, size: tuple[float, ...]) -> _Rows:
    field, mark = view.encoding["text"]["field"], view.node["mark"]
    high, shift = float(mark.get("fontSize", _FONT_SIZE)), float(mark.get("dy", 0))
    panels: dict[Any, list[int]] = defaultdict(list)
    for at, row in enumerate(values):
        panels[row.get(facet) if facet else None].append(at)
    dropped = set()
    for panel in panels.values():
        points = _points(view.encoding, values, panel, size)
        taken: list[_Box] = []
        if len(points) > _CROWD:
            dropped |= {*points}
            continue
        for at, (x, y) in points.items():
            if values[at].get(field) is None:
                continue
            half = len(_text(values[at][field])) * _LETTER * high / 2
            box = _Box(x - half, x + half, y + shift - _INK * high / 2, y + shift + _INK * high / 2)
            others = [_dot(*where) for other, where in points.items() if other != at]
            if any(map(box.covers, (*taken, *others))):
                dropped.add(at)
            else:
                taken.append(box)
    return [{**row, field: None} if at in dropped else row for at, row in enumerate(values)]


def _points(
    encoding: Mapping[str, Any], values: _Rows, panel: list[int], size: tuple[float, ...]
) -> dict[int, tuple[float, float]]:
    """Pixels of each row of a panel that has a value on both axes."""
    rows = [values[at] for at in panel]
    across, up = (_placed(encoding[name], rows, length) for name, length in zip("xy", size, strict=True))
    places = zip(panel, across, up, strict=True)
    return {at: (x, size[1] - y) for at, x, y in places if x is not None and y is not None}


def _placed(channel: Mapping[str, Any], rows: _Rows, length: float) -> list[float | None]:
    """Pixels of each row along an axis that ends with the panel's values; None where it has no value."""
    scale = channel.get("scale") or {}
    log = scale.get("type") == "log"
    figures = [_number(row.get(channel["field"]), log=log) for row in rows]
    known = [one for one in figures if one is not None]
    low, high = min(known, default=0.0), max(known, default=1.0)
    if scale.get("zero", True) and not log:
        low, high = min(low, 0.0), max(high, 0.0)
    span = (high - low) or 1.0
    return [None if one is None else (one - low) / span * length for one in figures]


def _number(value: Any, *, log: bool) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or (log and value <= 0):
        return None
    return math.log(value) if log else float(value)


def _text(label: Any) -> str:
    return f"{label:g}" if isinstance(label, float) else str(label)


def _dot(x: float, y: float) -> _Box:
    return _Box(x - _POINT, x + _POINT, y - _POINT, y + _POINT)


def _kind(view: View) -> Any:
    mark = view.node["mark"]
    return mark if isinstance(mark, str) else mark["type"]


def _is_plane(view: View) -> bool:
    """Whether its text is a field at a point of two quantitative fields."""
    axes = [view.encoding.get(name, {}) for name in "xy"]
    plane = all(one.get("type") == "quantitative" and isinstance(one.get("field"), str) for one in axes)
    return plane and not isinstance(view.node["mark"], str) and "field" in view.encoding.get("text", {})
