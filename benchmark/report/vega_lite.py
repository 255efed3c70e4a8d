"""Reading Vega-Lite as an author writes it: is it any, which views has it, which fields do they name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from benchmark.errors import ConfigError, LibraryMissing

SECOND = {"x2", "y2", "xError", "xError2", "yError", "yError2", "theta2", "radius2"}
"""Channels that take type and scale from another."""
_NOT_AN_AUTHORS = {
    "data": "rows come from the report's query",
    "datasets": "rows come from the report's query",
    "url": "a report has no addresses",
    "href": "a report has no addresses",
    "usermeta": "how a chart is embedded is not its business",
}
_NAME_FIELDS_THEMSELVES = ("fold", "pivot", "density", "quantile", "loess", "regression", "flatten", "lookup")
"""Transforms whose new fields need not be named by `as`."""


class View(NamedTuple):
    """What has a mark."""

    node: dict[str, Any]
    encoding: dict[str, Any]
    """In effect there: its own over those of the layers around it."""


class Channel(NamedTuple):
    """What names a field."""

    place: str
    name: str
    definition: dict[str, Any]


def check(spec: Mapping[str, Any], name: str, columns: set[str]) -> None:
    """Refuse what is no Vega-Lite, brings data or addresses of its own, or names a field that no row has.

    Raises:
        ConfigError: names the chart and the key.
        LibraryMissing: altair is not installed.
    """
    _refuse_foreign(spec, name)
    _hold_against_schema(spec, name)
    made = {one for value in _values_of(spec, "as") for one in ([value] if isinstance(value, str) else value)}
    steps = [step for steps in _values_of(spec, "transform") for step in steps]
    if not columns or any(key in step for step in steps for key in _NAME_FIELDS_THEMSELVES):
        return
    for channel in channels(spec):
        field = channel.definition.get("field")
        if isinstance(field, str) and field not in columns | made:
            known = ", ".join(sorted(columns | made))
            raise ConfigError(f"chart {name}: {channel.place}.field: no row has {field!r}: one of {known}")


def views(node: dict[str, Any], above: Mapping[str, Any] | None = None) -> Iterator[View]:
    """Every view with a mark."""
    encoding = {**(above or {}), **node.get("encoding", {})}
    if "mark" in node:
        yield View(node, encoding)
    for _, child in _children(node):
        yield from views(child, encoding)


def channels(node: Mapping[str, Any], place: str = "") -> Iterator[Channel]:
    """Every channel of every encoding, lists of them one by one, and what facets are made by."""
    for name, definition in node.get("encoding", {}).items():
        for one in definition if isinstance(definition, list) else [definition]:
            yield Channel(f"{place}encoding.{name}", name, one)
    facet = node.get("facet", {})
    for one in [facet] if "field" in facet else facet.values():
        yield Channel(f"{place}facet", "facet", one)
    for key, child in _children(node):
        yield from channels(child, f"{place}{key}.")


def speaks_of(node: Any, column: str) -> bool:
    """Whether any text of it is the column's name, or an expression that reads it."""
    if isinstance(node, str):
        named = re.escape(column)
        return node == column or bool(re.search(rf"datum(\.{named}\b|\[['\"]{named}['\"]\])", node))
    if isinstance(node, Mapping):
        return any(speaks_of(value, column) for value in node.values())
    return isinstance(node, list | tuple) and any(speaks_of(value, column) for value in node)


def _children(node: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for key in ("layer", "concat", "hconcat", "vconcat"):
        for number, child in enumerate(node.get(key, ())):
            yield f"{key}.{number}", child
    if "spec" in node:
        yield "spec", node["spec"]


def _refuse_foreign(node: Any, name: str, path: str = "") -> None:
    if isinstance(node, Mapping):
        for key, value in node.items():
            if why := _NOT_AN_AUTHORS.get(key):
                raise ConfigError(f"chart {name}: {path}{key} is not an author's to set: {why}")
            _refuse_foreign(value, name, f"{path}{key}.")
    elif isinstance(node, list | tuple):
        for place, value in enumerate(node):
            _refuse_foreign(value, name, f"{path}{place}.")


def _hold_against_schema(spec: Mapping[str, Any], name: str) -> None:
    """As its own kind of view, for then errors name the key."""
    try:
        import altair as alt
        from altair.utils import schemapi
    except ImportError as error:
        raise LibraryMissing(
            "charts need altair, which is not installed: pip install -c constraints.txt -e '.[report]'"
        ) from error
    kinds: dict[str, Any] = {
        "layer": alt.TopLevelLayerSpec,
        "facet": alt.TopLevelFacetSpec,
        "hconcat": alt.TopLevelHConcatSpec,
        "vconcat": alt.TopLevelVConcatSpec,
        "concat": alt.TopLevelConcatSpec,
        "repeat": alt.TopLevelRepeatSpec,
        "mark": alt.TopLevelUnitSpec,
    }
    kind = next((kinds[key] for key in kinds if key in spec), None)
    if kind is None:
        raise ConfigError(f"chart {name}: give it a mark, or a layer, facet or concat of views that have one")
    invalid: Any = vars(schemapi)["jsonschema"].ValidationError
    try:
        kind.validate({"data": {"name": "rows"}, **spec})
    except invalid as error:
        path = ".".join(map(str, error.absolute_path))
        raise ConfigError(f"chart {name}: {path or 'at the top'}: {_said(error)}") from error


def _said(error: Any) -> str:
    """What is wrong, in a line; of a wrong mark the schema tells only what it would have liked last."""
    path = list(error.absolute_path)
    if "mark" not in path:
        return str(error.message)
    mark = error.instance if path[-1] in {"mark", "type"} else None
    if mark in _MARKS:
        return f"a mark {mark!r} has no such property, or none with such a value"
    return f"no mark is called {mark!r}: one of {', '.join(_MARKS)}" if mark else str(error.message)


_MARKS = (
    *("arc", "area", "bar", "boxplot", "circle", "errorband", "errorbar", "geoshape", "line", "point"),
    *("rect", "rule", "square", "text", "tick", "trail"),
)
"""Of Vega-Lite 5 and 6; images come from addresses."""


def _values_of(node: Any, key: str) -> Iterator[Any]:
    children: Any = ()
    if isinstance(node, Mapping):
        if key in node:
            yield node[key]
        children = node.values()
    elif isinstance(node, list | tuple):
        children = node
    for child in children:
        yield from _values_of(child, key)
