"""Columns for what was swept: the options whose values differ among the rows of a table."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import pandas as pd

from benchmark import axes

_NAMES: Final = ("model", "hardware", "compiler", "task", "scenario")
"""Columns that decide the defaults of other options."""
_PLACES: Final = frozenset({"campaign", "output_folder", "run", "store.root", "cache.root"})
"""Keys that say where rows go, not what was measured."""
_IMPORTED: Final = {
    "model_dtype": "dtype",
    "matmul_dtype": "matmul",
    "device_name": "device",
    "document": "document",
}
"""Columns that distinguish published rows, which have no configuration, with their headers."""
NEEDED: Final = (
    *axes.COLUMNS,
    *("config", "overrides", "source", "compiler_flags"),
    *_IMPORTED,
)
"""Columns that `swept` reads; any of them may be absent."""
_BY_KEY: Final = {axis.key: axis for axis in axes.AXES if axis.key}
_OVERRIDE: Final = re.compile(r"[+~]*([\w./@-]+)=(.*)", re.DOTALL)


def swept(rows: pd.DataFrame) -> dict[str, list[str]]:
    """Texts of each option whose values differ, by header; none of those that a table shows anyway.

    Values that follow from the names of model, hardware, compiler, task and scenario are no difference,
    unless an override sets them.
    """
    if len(rows) < 2:  # noqa: PLR2004 - one row differs from nothing
        return {}
    rows = rows.reset_index(drop=True)
    published = [source is not None for source in _column(rows, "source")]
    configs = [
        _flags(flags) if imported else dict(_leaves(text))
        for imported, flags, text in zip(
            published, _column(rows, "compiler_flags"), _column(rows, "config"), strict=True
        )
    ]
    overrides = [_overrides(texts) for texts in _column(rows, "overrides")]
    found: dict[str, list[str | None]] = {}
    for axis in axes.AXES:
        if axis.column not in axes.USUAL and axis.column in rows:
            values = [_text(value) for value in rows[axis.column]]
            if not axis.mark:  # a size that a model lacks stays empty
                values = [
                    value or config.get(axis.key) for value, config in zip(values, configs, strict=True)
                ]
            names = _names(rows, without=axis.column)
            if _differs(_known(values, published), names, [axis.key in sets for sets in overrides]):
                found[axis.key or axis.column] = values
    found |= _options(configs, overrides, _names(rows), found, published)
    found |= _published(rows, found, published)
    return {_header(key, found): [value or "" for value in values] for key, values in found.items()}


def _options(
    configs: Sequence[Mapping[str, str]],
    overrides: Sequence[Mapping[str, str]],
    names: Sequence[tuple[Any, ...]],
    known: Mapping[str, Any],
    published: Sequence[bool],
) -> dict[str, list[str | None]]:
    """Groups chosen by overrides, such as `sampling=quick`, and keys of the configuration."""
    keys = dict.fromkeys(key for config in configs for key in config)
    sections = {key.partition(".")[0] for key in keys if "." in key} - {*_NAMES}
    found: dict[str, list[str | None]] = {}
    for section in sorted(sections):
        chosen = [sets.get(section) for sets in overrides]
        if len({*chosen}) > 1:
            found[section] = chosen
    shown = {key for key, axis in _BY_KEY.items() if axis.mark or axis.column in axes.USUAL} | _PLACES
    for key in keys:
        if key in shown or key in known:
            continue
        values = [config.get(key) for config in configs]
        group = found.get(key.partition(".")[0], [None] * len(values))
        decided = [(*name, choice) for name, choice in zip(names, group, strict=True)]
        explicit = [key in sets for sets in overrides]
        if _differs(_known(values, published), decided, explicit):
            found[key] = values
    return found


def _published(
    rows: pd.DataFrame, shown: Mapping[str, list[str | None]], published: Sequence[bool]
) -> dict[str, list[str | None]]:
    """Type of the weights where it differs, and columns without which published rows would look equal."""
    if sum(published) < 2:  # noqa: PLR2004 - one row differs from nothing
        return {}
    usual = [[_text(value) for value in rows[name]] for name in axes.USUAL if name in rows]
    found: dict[str, list[str | None]] = {}
    names = _names(rows)
    for name in _IMPORTED:
        if name in rows:
            values = [_text(value) if own else None for value, own in zip(rows[name], published, strict=True)]
            looks = [*usual, *shown.values(), *found.values()]
            swept_type = name == "model_dtype" and _differs(_known(values, published), names, ())
            if swept_type or _kinds(published, *looks, values) > _kinds(published, *looks):
                found[name] = values
    return found


def _kinds(chosen: Sequence[bool], *columns: Sequence[str | None]) -> int:
    return len({look for own, look in zip(chosen, zip(*columns, strict=True), strict=True) if own})


def _differs(values: Sequence[str | None], names: Sequence[Any], explicit: Sequence[bool]) -> bool:
    """Whether there are two values of one name, or two of which an override sets one.

    A missing value differs only from one that an override sets: other versions of the program have other
    keys.
    """
    present = {value for value in values if value is not None}
    if any(explicit):
        return len(present) > 1 or (len(present) == 1 and None in values)
    pairs = {(name, value) for name, value in zip(names, values, strict=True) if value is not None}
    return len(pairs) > len({name for name, _ in pairs})


def _known(values: Sequence[str | None], published: Sequence[bool]) -> list[str | None]:
    """A published row without a value differs from one that has it: it comes from no older configuration."""
    return [
        "" if imported and value is None else value for value, imported in zip(values, published, strict=True)
    ]


def _names(rows: pd.DataFrame, without: str = "") -> list[tuple[Any, ...]]:
    columns = [[_text(value) for value in rows[name]] for name in _NAMES if name in rows and name != without]
    return [*zip(*columns, strict=True)] if columns else [()] * len(rows)


def _column(rows: pd.DataFrame, name: str) -> Iterator[Any]:
    """Values of a column; None where the row or the frame has none."""
    if name not in rows:
        return iter([None] * len(rows))
    return (None if pd.api.types.is_scalar(value) and pd.isna(value) else value for value in rows[name])


def _leaves(config: str | None) -> Iterator[tuple[str, str]]:
    """Keys of a configuration, such as `compiler.dtype`, with their values as a YAML spells them."""
    waiting: list[tuple[str, Any]] = [("", json.loads(config))] if config else []
    while waiting:
        key, value = waiting.pop()
        if isinstance(value, dict) and value:
            inner = ((f"{key}.{name}" if key else name, part) for name, part in value.items())
            waiting += reversed([*inner])
        else:
            whole = isinstance(value, float) and value.is_integer()
            yield key, value if isinstance(value, str) else json.dumps(int(value) if whole else value)


def _flags(flags: Sequence[str] | None) -> dict[str, str]:
    """Settings of an imported row, such as `attn_implementation=sdpa`; those without a value are true."""
    parts = (flag.partition("=") for flag in (() if flags is None else flags))
    return {name: text if equals else "true" for name, equals, text in parts}


def _overrides(texts: Sequence[str] | None) -> dict[str, str]:
    matches = (_OVERRIDE.fullmatch(text) for text in (() if texts is None else texts))
    return {match[1]: match[2] for match in matches if match}


def _text(value: Any) -> str | None:
    if pd.api.types.is_scalar(value):
        return None if pd.isna(value) else str(value)
    return " ".join(map(str, value)) or None


def _header(key: str, shown: Mapping[str, Any]) -> str:
    """Last part of a key, or the whole key where another column has that name."""
    axis = _BY_KEY.get(key) or axes.BY_COLUMN.get(key)
    if axis:
        return axis.header
    last = _last(key)
    taken = {*(axis.header for axis in axes.AXES), *axes.COLUMNS, "status", "hit", "cosine"}
    return key if last in taken or sum(_last(other) == last for other in shown) > 1 else last


def _last(key: str) -> str:
    return _IMPORTED.get(key) or key.rpartition(".")[2]
