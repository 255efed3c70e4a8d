"""Conditions on rows, as typed on a command line: `model=vit,beit batch<=4 error~memory`.

Each is `column OP value`, separated by spaces, and all must hold. OP is = == != < <= > >= or ~ (a regular
expression that matches somewhere). With = and != commas give several values; `null` means no value.
Values that contain spaces stand in quotes. `batch` and `seq_len` are short for their columns, and
`source=measured` means rows without a source.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timezone
from functools import reduce
from operator import and_, ge, gt, le, lt
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from benchmark import axes
from benchmark.errors import ConfigError
from benchmark.records import Names, frozen
from benchmark.spelling import nearest, suggest
from benchmark.store.schema import SCHEMA

_ALIASES = {
    **{
        name: axis.column
        for axis in axes.AXES
        for name in (axis.key, axis.header)
        if name.isidentifier() and name not in SCHEMA.names
    },
    **{
        f"{name}{unit}": f"latency_{name}_ms"
        for name in ("min", "mean", "p50", "p90", "p95", "p99")
        for unit in ("", "_ms")
    },
    "per_s": "throughput_per_s",
}
"""Keys of the configuration and headers of tables, where no column has that name: `batch`, `seq`, `p50`."""
_CONDITION = re.compile(r"""\s*(\w+)\s*(==|!=|<=|>=|=|<|>|~)\s*("[^"]*"|'[^']*'|\S+)(?=\s|$)""")
_ORDER = {"<": lt, "<=": le, ">": gt, ">=": ge}
_TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_KINDS = {
    pa.int64(): "a whole number",
    pa.float64(): "a number",
    pa.bool_(): "true or false",
    pa.timestamp("us", tz="UTC"): "a time such as 2026-11-22 or 2026-11-22T09:30:00+00:00",
}


@frozen
class Condition:
    """One condition; the column has the name of the schema."""

    column: str
    operator: str
    values: Names


def column(name: str) -> str:
    """Full name of a column.

    Raises:
        ConfigError: there is no such column; names the nearest.
    """
    full = _ALIASES.get("_".join(name.split()), name)
    if full in SCHEMA.names:
        return full
    near = nearest(name, [*SCHEMA.names, *_ALIASES], cutoff=0.5)
    advice = suggest(near) or "benchmark/store/schema.md lists them"
    raise ConfigError(f"there is no column {name}: {advice}")


def parse(text: str) -> tuple[Condition, ...]:
    """Read conditions; an empty text has none.

    Raises:
        ConfigError: a part is not a condition, or a column is unknown.
    """
    found, position, text = [], 0, text.rstrip()
    while position < len(text):
        match = _CONDITION.match(text, position)
        if match is None:
            raise ConfigError(
                f"{text[position:].strip()} is not a condition: write column=value, "
                "with = != < <= > >= or ~, and quotes around a value that contains spaces"
            )
        name, operator, value = match.groups()
        quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
        value = value[1:-1] if quoted else value
        several = operator in {"=", "==", "!="} and not quoted
        values = tuple(value.split(",")) if several else (value,)
        found.append(Condition(column=column(name), operator=operator, values=values))
        position = match.end()
    return tuple(found)


def expression(conditions: Sequence[Condition]) -> pc.Expression | None:
    """Conditions as a filter for `ResultsStore.table`; None without conditions.

    Raises:
        ConfigError: a value or an operator does not fit its column.
    """
    return reduce(and_, map(_one, conditions)) if conditions else None


def _one(condition: Condition) -> pc.Expression:
    name, kind = condition.column, SCHEMA.field(condition.column).type
    if pa.types.is_nested(kind):
        raise ConfigError(f"{name} holds {kind}, which conditions can't compare: use results --sql")
    field = pc.field(name)
    if condition.operator == "~":
        return _matches(name, field, condition.values[0])
    if condition.operator in _ORDER:
        return _ORDER[condition.operator](field, _typed(name, kind, condition.values[0]))
    absent = {"null", "measured"} if name == "source" else {"null"}
    wanted = [_typed(name, kind, value) for value in condition.values if value not in absent]
    # Written with coalesce, so that a missing value differs from every other instead of being neither.
    same = pc.coalesce(field.isin(pa.array(wanted, kind)), pc.scalar(False))  # noqa: FBT003
    if absent.intersection(condition.values):
        same = same | field.is_null()
    return ~same if condition.operator == "!=" else same


def _matches(name: str, field: pc.Expression, pattern: str) -> pc.Expression:
    if not pa.types.is_string(SCHEMA.field(name).type):
        raise ConfigError(f"{name} is not text, so ~ doesn't apply: use = or <")
    try:
        pc.match_substring_regex(pa.array([""]), pattern)
    except pa.ArrowInvalid as error:
        raise ConfigError(f"{name}~{pattern} is not a regular expression: {error}") from error
    return pc.match_substring_regex(field, pattern)


def _typed(name: str, kind: pa.DataType, text: str) -> Any:
    try:
        if pa.types.is_integer(kind):
            return int(text)
        if pa.types.is_floating(kind):
            return float(text)
        if pa.types.is_boolean(kind):
            return _TRUTH[text.lower()]
        if pa.types.is_timestamp(kind):
            moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
            return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
    except (KeyError, ValueError):
        raise ConfigError(f"{name} is {_KINDS[kind]}, but got {text}") from None
    return text
