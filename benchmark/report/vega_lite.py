"""Reading Vega-Lite fragments: check them, and list their views and the fields that these name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from benchmark.errors import ConfigError, LibraryMissing
from benchmark.host import libraries

SECOND = {"x2", "y2", "xError", "xError2", "yError", "yError2", "theta2", "radius2"}
"""Channels with the type and scale of another one."""
_REFUSED = {
    "data": "rows come from the report's query",
    "datasets": "rows come from the report's query",
    "url": "a report loads nothing",
    "href": "a report loads nothing",
    "usermeta": "the page decides how a chart is embedded",
}
_NAME_FIELDS_THEMSELVES = ("fold", "pivot", "density", "quantile", "loess", "regression", "flatten", "lookup")
"""Transforms that name new fields without `as`."""


class View(NamedTuple):
    """A view with a mark."""

    node: dict[str, Any]
    encoding: dict[str, Any]
    """Its own encoding over those of the layers around it."""


class Channel(NamedTuple):
    """A channel of an encoding, or a facet: it may name a field."""

    place: str
    name: str
    definition: dict[str, Any]


def check(spec: Mapping[str, Any], name: str, columns: set[str]) -> None:
    """Refuse a fragment that is no Vega-Lite, has data or addresses, or names a field that no row has.

    Raises:
        ConfigError: with chart and key.
        LibraryMissing: altair is not installed.
    """
    _refuse_foreign(spec, name)
    _check_schema(spec, name)
    made = {one for value in _values_of(spec, "as") for one in ([value] if isinstance(value, str) else value)}
    steps = [step for steps in _values_of(spec, "transform") for step in steps]
    if not columns or any(key in step for step in steps for key in _NAME_FIELDS_THEMSELVES):
        return
    for channel in channels(spec):
        field = channel.definition.get("field")
        if isinstance(field, str) and field not in columns | made:
            known = ", ".join(sorted(columns | made))
            raise ConfigError(
                f"chart {name}: {channel.place}.field: no row has {field!r}: use one of {known}"
            )


def views(node: dict[str, Any], above: Mapping[str, Any] | None = None) -> Iterator[View]:
    """Every view with a mark."""
    encoding = {**(above or {}), **node.get("encoding", {})}
    if "mark" in node:
        yield View(node, encoding)
    for _, child in _children(node):
        yield from views(child, encoding)


def channels(node: Mapping[str, Any], place: str = "") -> Iterator[Channel]:
    """Every channel of every encoding, lists one by one, and the fields of facets."""
    for name, definition in node.get("encoding", {}).items():
        for one in definition if isinstance(definition, list) else [definition]:
            yield Channel(f"{place}encoding.{name}", name, one)
    facet = node.get("facet", {})
    for one in [facet] if "field" in facet else facet.values():
        yield Channel(f"{place}facet", "facet", one)
    for key, child in _children(node):
        yield from channels(child, f"{place}{key}.")


def mentions(node: Any, column: str) -> bool:
    """Whether any text is the column's name, or an expression that reads the column."""
    if isinstance(node, str):
        named = re.escape(column)
        return node == column or bool(re.search(rf"datum(\.{named}\b|\[['\"]{named}['\"]\])", node))
    if isinstance(node, Mapping):
        return any(mentions(value, column) for value in node.values())
    return isinstance(node, list | tuple) and any(mentions(value, column) for value in node)


def _children(node: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for key in ("layer", "concat", "hconcat", "vconcat"):
        for number, child in enumerate(node.get(key, ())):
            yield f"{key}.{number}", child
    if "spec" in node:
        yield "spec", node["spec"]


def _refuse_foreign(node: Any, name: str, path: str = "") -> None:
    if isinstance(node, Mapping):
        for key, value in node.items():
            if why := _REFUSED.get(key):
                raise ConfigError(f"chart {name}: remove {path}{key}: {why}")
            _refuse_foreign(value, name, f"{path}{key}.")
    elif isinstance(node, list | tuple):
        for place, value in enumerate(node):
            _refuse_foreign(value, name, f"{path}{place}.")


def _check_schema(spec: Mapping[str, Any], name: str) -> None:
    """Check against the schema of its own kind of view, whose errors name the key."""
    try:
        import altair as alt
        from altair.utils import schemapi
    except ImportError as error:
        raise LibraryMissing(
            f"charts need altair, which is not installed: {libraries.command_for('report')}"
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
        raise ConfigError(f"chart {name}: add a mark, or a layer, facet or concat of views with marks")
    invalid: Any = vars(schemapi)["jsonschema"].ValidationError
    try:
        kind.validate({"data": {"name": "rows"}, **spec})
    except invalid as error:
        path = ".".join(map(str, error.absolute_path))
        raise ConfigError(f"chart {name}: {path or 'at the top'}: {_message(error)}") from error


def _message(error: Any) -> str:
    """The error in a line; of a wrong mark the schema's own message is only about its last alternative."""
    path = list(error.absolute_path)
    if "mark" not in path:
        return str(error.message)
    mark = error.instance if path[-1] in {"mark", "type"} else None
    if mark in _MARKS:
        return f"mark {mark!r} has no such property, or not with this value"
    return f"unknown mark {mark!r}: use one of {', '.join(_MARKS)}" if mark else str(error.message)


_MARKS = (
    *("arc", "area", "bar", "boxplot", "circle", "errorband", "errorbar", "geoshape", "line", "point"),
    *("rect", "rule", "square", "text", "tick", "trail"),
)
"""Marks of Vega-Lite 5 and 6; `image` is missing, since it loads from addresses."""


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
