"""Options whose values differ among the rows of a table, or among the cells of a grid."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmark import axes

_NAMES: Final = ("model", "hardware", "compiler", "task", "scenario")
"""Columns that decide the defaults of other options."""
_PLACES: Final = frozenset({"campaign", "output_folder", "run", "store.root", "cache.root", "cache.remote"})
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
_PLACE: Final = re.compile(r'"(?:campaign|output_folder)": "(?:[^"\\]|\\.)*"(?:, )?')
"""In a configuration as JSON. Without it cells of different campaigns have the same text, read once."""

_Codes = npt.NDArray[np.int64]


class _Column(NamedTuple):
    """Texts of an option by row."""

    codes: _Codes
    """For each row the index of its text; -1: it has none."""
    texts: Sequence[str]

    @property
    def listed(self) -> list[str]:
        """The texts, with an empty one where there is none."""
        return list(np.array([*self.texts, ""], dtype=object)[self.codes])

    def at(self, rows: _Codes) -> _Column:
        """The texts of these rows; -1 is no row."""
        return self._replace(codes=np.append(self.codes, -1)[rows])

    def filled(self, where: npt.NDArray[np.bool_], other: _Column) -> _Column:
        """The texts, with those of another column where these are to be replaced."""
        return _Column(
            np.where(where, np.where(other.codes < 0, -1, other.codes + len(self.texts)), self.codes),
            [*self.texts, *other.texts],
        ).distinct

    @property
    def distinct(self) -> _Column:
        """The same with each text once."""
        codes, texts = pd.factorize(np.array(self.texts, dtype=object))
        return _Column(np.append(codes, -1)[self.codes], list(texts))


class _Options(NamedTuple):
    """The options of each row."""

    columns: Mapping[str, _Column]
    """By key, such as `compiler.dtype`."""
    chosen: Mapping[str, _Column]
    """Groups chosen by overrides, such as `sampling=quick`."""
    explicit: Collection[str]
    """Keys that the override of a row sets."""
    published: npt.NDArray[np.bool_]


def swept(rows: pd.DataFrame) -> dict[str, list[str]]:
    """Texts of each option whose values differ, by header; none of those that a table shows anyway.

    Values that follow from the names of model, hardware, compiler, task and scenario are no difference,
    unless an override sets them.
    """
    if len(rows) < 2:  # noqa: PLR2004 - one row differs from nothing
        return {}
    rows = rows.reset_index(drop=True)
    configs, which = _configurations(rows)
    return _swept(rows, _columns(configs, repr), which)


def swept_in_grid(
    names: Mapping[str, Sequence[str]],
    overrides: Sequence[Sequence[str]],
    configs: Sequence[Mapping[str, Any]],
) -> dict[str, list[str]]:
    """The same for cells that have not run. Their configurations share equal sections.

    Args:
        names: Of model, hardware, compiler, task and scenario, by column.
        overrides: Of each cell.
        configs: Configuration of each cell.
    """
    if len(configs) < 2:  # noqa: PLR2004 - one cell differs from nothing
        return {}
    columns = _columns(configs, lambda value: id(value) if isinstance(value, Mapping) else repr(value))
    rows = pd.DataFrame({**names, "overrides": overrides})
    return _swept(rows, columns, np.arange(len(configs)))


def _swept(rows: pd.DataFrame, columns: Mapping[str, _Column], which: _Codes) -> dict[str, list[str]]:
    published = _present(rows, "source").to_numpy()
    sections = {key.partition(".")[0] for key in columns if "." in key} - {*_NAMES}
    chosen, explicit = _overrides(rows, sections)
    options = _Options(
        {key: column.at(which) for key, column in columns.items()}, chosen, explicit, published
    )
    found: dict[str, _Column] = {}
    for axis in axes.AXES:
        if axis.column not in axes.USUAL and axis.column in rows:
            values = _coded(rows[axis.column])
            if not axis.mark and axis.key in options.columns:  # a size that a model lacks stays empty
                values = values.filled(values.codes < 0, options.columns[axis.key])
            names = _names(rows, without=axis.column)
            if _differs(values, names, published, explicit=axis.key in explicit):
                found[axis.key or axis.column] = values
    found |= _differing(options, _names(rows), found)
    found |= _published(rows, found, published)
    return {_header(key, found): column.listed for key, column in found.items()}


def _differing(options: _Options, names: _Codes, known: Mapping[str, Any]) -> dict[str, _Column]:
    """Groups chosen by overrides, and keys of the configuration."""
    found = {
        section: column
        for section, column in sorted(options.chosen.items())
        if len(pd.unique(column.codes)) > 1
    }
    shown = {key for key, axis in _BY_KEY.items() if axis.mark or axis.column in axes.USUAL} | _PLACES
    for key, column in options.columns.items():
        if key not in shown and key not in known:
            group = found.get(key.partition(".")[0])
            decided = names if group is None else _combined(names, group.codes)
            if _differs(column, decided, options.published, explicit=key in options.explicit):
                found[key] = column
    return found


def _published(
    rows: pd.DataFrame, shown: Mapping[str, _Column], published: npt.NDArray[np.bool_]
) -> dict[str, _Column]:
    """Type of the weights where it differs, and columns without which published rows would look equal."""
    if published.sum() < 2:  # noqa: PLR2004 - one row differs from nothing
        return {}
    looks = np.zeros(len(rows), np.int64)
    for column in [*(_coded(rows[name]) for name in axes.USUAL if name in rows), *shown.values()]:
        looks = _combined(looks, column.codes)
    found: dict[str, _Column] = {}
    names = _names(rows)
    for name in _IMPORTED:
        if name in rows:
            column = _coded(rows[name].where(published))
            swept_type = name == "model_dtype" and _differs(column, names, published, explicit=False)
            more = _combined(looks, column.codes)
            if swept_type or len(pd.unique(more[published])) > len(pd.unique(looks[published])):
                found[name], looks = column, more
    return found


def _differs(column: _Column, names: _Codes, published: npt.NDArray[np.bool_], *, explicit: bool) -> bool:
    """Whether there are two values of one name, or two of which an override sets one.

    A missing value differs only from one that an override sets: other versions of the program have other
    keys. A published row without a value differs from one that has it: it comes from no older configuration.
    """
    codes = np.where(published & (column.codes < 0), len(column.texts), column.codes)
    has = codes >= 0
    values = len(pd.unique(codes[has]))
    if explicit:
        return values > 1 or (values == 1 and not has.all())
    return values > 1 and len(pd.unique(_combined(names, codes)[has])) > len(pd.unique(names[has]))


def _names(rows: pd.DataFrame, without: str = "") -> _Codes:
    """A number for each row; rows with equal names have equal numbers."""
    numbers = np.zeros(len(rows), np.int64)
    for name in _NAMES:
        if name in rows and name != without:
            numbers = _combined(numbers, _coded(rows[name]).codes)
    return numbers


def _combined(first: _Codes, second: _Codes) -> _Codes:
    """Numbers that are equal where both are."""
    numbers: _Codes = pd.factorize(first * (second.max(initial=-1) + 2) + second + 1)[0]
    return numbers


def _coded(values: pd.Series[Any] | Sequence[str | None]) -> _Column:
    """The texts of values; lists are joined by spaces."""
    series = values if isinstance(values, pd.Series) else pd.Series([*values], dtype=object)
    if any(not pd.api.types.is_scalar(value) for value in series.head(1).tolist()):
        series = series.map(lambda value: " ".join(map(str, value)) or None)
    codes, found = pd.factorize(series)
    return _Column(codes.astype(np.int64), [str(value) for value in found]).distinct


def _present(rows: pd.DataFrame, name: str) -> pd.Series[bool]:
    return rows[name].notna() if name in rows else pd.Series(data=False, index=rows.index)


def _configurations(rows: pd.DataFrame) -> tuple[list[Mapping[str, Any]], _Codes]:
    """Distinct configurations, and which of them each row has; a published row has its flags."""
    texts = pd.Series("", index=rows.index)
    if "config" in rows:
        texts = rows["config"].astype(object).where(rows["config"].notna(), "").astype(str)
    texts = texts.str.replace(_PLACE, "", regex=True)
    published = _present(rows, "source")
    if "compiler_flags" in rows and published.any():
        flags = rows.loc[published, "compiler_flags"].map(_flags)
        texts[published] = flags.map(json.dumps)
    elif published.any():
        texts[published] = ""
    which, distinct = pd.factorize(texts)
    return [json.loads(text) if text else {} for text in distinct], which


def _columns(configs: Sequence[Mapping[str, Any]], identity: Callable[[Any], object]) -> dict[str, _Column]:
    """Texts of each key of the configurations. Values with the same identity are read once."""
    columns: dict[str, _Column] = {}
    for top in dict.fromkeys(key for config in configs for key in config):
        values: dict[object, Any] = {}
        which = np.full(len(configs), -1)
        numbers: dict[object, int] = {}
        for row, config in enumerate(configs):
            if top in config:
                same = identity(config[top])
                values.setdefault(same, config[top])
                which[row] = numbers.setdefault(same, len(numbers))
        leaves = [dict(_leaves(top, value)) for value in values.values()]
        for key in dict.fromkeys(key for found in leaves for key in found):
            columns[key] = _coded([found.get(key) for found in leaves]).at(which)
    return columns


def _leaves(key: str, value: Any) -> Iterator[tuple[str, str]]:
    """Keys of a part of a configuration, such as `compiler.dtype`, with values as a YAML spells them."""
    if isinstance(value, Mapping) and value:
        for name, part in value.items():
            yield from _leaves(f"{key}.{name}", part)
    else:
        whole = isinstance(value, float) and value.is_integer()
        yield key, value if isinstance(value, str) else json.dumps(int(value) if whole else value)


def _flags(flags: Any) -> dict[str, str]:
    """Settings of an imported row, such as `attn_implementation=sdpa`; those without a value are true."""
    parts = (flag.partition("=") for flag in (() if pd.api.types.is_scalar(flags) else flags))
    return {name: text if equals else "true" for name, equals, text in parts}


def _overrides(rows: pd.DataFrame, sections: Collection[str]) -> tuple[dict[str, _Column], set[str]]:
    """Names chosen for these groups, and all keys that an override sets."""
    written = rows["overrides"].tolist() if "overrides" in rows else []
    read: dict[str, tuple[str, str]] = {}
    chosen: dict[str, list[str | None]] = {}
    for row, texts in enumerate(written):
        for text in () if pd.api.types.is_scalar(texts) else texts:
            if text not in read:
                match = _OVERRIDE.fullmatch(text)
                read[text] = (match[1], match[2]) if match else ("", "")
            key, value = read[text]
            if key in sections:
                chosen.setdefault(key, [None] * len(written))[row] = value
    return {key: _coded(names) for key, names in chosen.items()}, {key for key, _ in read.values()}


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
