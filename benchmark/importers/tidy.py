"""Importer of any tidy CSV, by its headers: a line for each cell, or a line for each figure of a cell.

Several lines of the same cell become one row. A table may have the page's printed figures beside those of
the files behind the page: a series then takes the unrounded figures if most printed ones fit them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import Field

from benchmark.errors import ConfigError
from benchmark.published import printed_figures
from benchmark.published.documents import CLAIM, EARLIER, PRINTED, RAW, REPEATED, Figures, Reading, read_lines
from benchmark.published.printed_figures import Line, Rejected
from benchmark.records import Names, frozen
from benchmark.store.schema import SCHEMA

_MOST = 0.5
"""Share of a series' printed figures that must fit the unrounded ones."""


@frozen
class Tidy:
    """A table, described by its headers."""

    columns: Mapping[str, str] = Field(default_factory=dict)
    """Column of the store by header, or several with commas; other headers stay in `as_printed` alone."""
    words: Mapping[str, Mapping[str, Any]] = Field(default_factory=dict)
    """By column: the document's words and their values; null is no value."""
    factors: Mapping[str, float] = Field(default_factory=dict)
    """By column: factor of the printed figures."""
    instance: str = ""
    """Header of the instance type, which gives hardware and compiler too."""
    cell: Names = ()
    """Headers that identify a cell; empty: every line is a cell."""
    metric: str = ""
    """Header of the metric's name, where each line has one figure; empty: headers are metrics."""
    value: str = ""
    """Header of that figure."""
    metrics: Mapping[str, str] = Field(default_factory=dict)
    """Column by metric; `printed NAME` or `claim NAME` for texts without a column."""
    shared: Names = ()
    """Metrics for every cell that matches the line's fields; a blank field matches all."""
    along: Mapping[str, Mapping[str, Any]] = Field(default_factory=dict)
    """By column: further columns of rows that have a figure there, such as the dataset of an accuracy."""
    raw: Mapping[str, str] = Field(default_factory=dict)
    """By column: header of the unrounded figure in the files behind the page."""
    earlier: Mapping[str, str] = Field(default_factory=dict)
    """The same in an earlier version of those files."""
    series: Names = ()
    """Headers that identify a series. A series takes unrounded figures as a whole or not at all."""
    blank: str = ""
    """Error of a cell without figures, whose status is then `unavailable`; empty: such a line is rejected."""
    environment: Names = ()
    """Headers that identify where a cell was measured, besides the machine's columns."""

    def read(self, file: Path) -> Reading:
        """A row for each cell.

        Raises:
            ConfigError: the table lacks a header of these options.
        """
        headers, lines, rejected = printed_figures.table(file)
        count = len(lines) + len(rejected)
        if lacking := printed_figures.missing(headers, self._needed()):
            raise ConfigError(f"{file} lacks {', '.join(lacking)}: correct the importer's headers")
        texts: dict[int, dict[str, str]] = {}
        if self.metric:
            cells = self._cells(lines, file, rejected)
            lines, texts = [line for line, _ in cells], {line.number: found for line, found in cells}
        figures, wrong = read_lines(file, lines, lambda line: self._figures(line, texts.get(line.number, {})))
        chosen = self._unrounded(figures) if self.raw else figures
        return Reading(lines=count, figures=tuple(chosen), rejected=(*rejected, *wrong))

    def _needed(self) -> list[str]:
        headers = [*self.columns, self.instance, *self.cell, self.metric, self.value, *self.series]
        return [name for name in (*headers, *self.raw.values(), *self.earlier.values()) if name]

    def _cells(self, lines: list[Line], file: Path, rejected: list[Rejected]) -> list[_Cell]:
        """First line of each cell, with the metrics of all its lines."""
        cells: dict[tuple[str, ...], _Cell] = {}
        shared: list[Line] = []
        for line in lines:
            texts = line.texts
            if texts[self.metric] not in self.metrics:
                reason = f"{self.metric} {texts[self.metric]!r} is not known: name it in `metrics`"
                rejected.append(Rejected(file=file.name, line=line.number, reason=reason))
            elif texts[self.metric] in self.shared:
                shared.append(line)
            else:
                key = tuple(texts[name] for name in self.cell)
                self._add(cells.setdefault(key, (line, {}))[1], line)
        for line in shared:
            mine = [cell for key, cell in cells.items() if self._matches(line, key)]
            for _, found in mine:
                self._add(found, line)
            if not mine:
                reason = "matches no cell that has a figure of its own"
                rejected.append(Rejected(file=file.name, line=line.number, reason=reason))
        return [*cells.values()]

    def _matches(self, line: Line, key: tuple[str, ...]) -> bool:
        return all(line.texts[name] in {"", text} for name, text in zip(self.cell, key, strict=True))

    def _add(self, found: dict[str, str], line: Line) -> None:
        """Add a line's figure under its metric, and its other texts under metric and header."""
        metric = line.texts[self.metric]
        again = REPEATED if metric in found else ""
        found[f"{metric}{again}"] = line.texts[self.value]
        for header, text in line.texts.items():
            if text and header not in {*self.cell, *self.columns, self.instance, self.metric, self.value}:
                found[f"{metric}{again}: {header}"] = text

    def _figures(self, line: Line, found: Mapping[str, str]) -> Figures:
        headers = {name for name in line.texts if not self.metric or name in {*self.cell, *self.columns}}
        texts = {name: line.texts[name] for name in line.texts if name in {*headers, self.instance}}
        values: dict[str, Any] = {}
        shown: dict[str, str] = {}
        if self.instance and line.texts[self.instance].lower() not in printed_figures.BLANK:
            values |= printed_figures.machine(line.texts[self.instance])
        for header, columns in self.columns.items():
            for column in map(str.strip, columns.split(",")):
                self._put(values, column, line.texts[header])
                shown |= _figure(column, line.texts[header])
        for name, text in found.items():
            metric, _, again = name.partition(REPEATED)
            if ": " in name or metric not in self.metrics:
                continue
            target = self.metrics[metric]
            if target.startswith((PRINTED, CLAIM)):
                shown[f"{target}{REPEATED if name.endswith(REPEATED) else again}"] = text
            elif name.endswith(REPEATED):
                shown |= {f"{key}{REPEATED}": again for key, again in _figure(target, text).items()}
            else:
                self._put(values, target, text)
                shown |= _figure(target, text)
        for column, more in self.along.items():
            values |= more if values.get(column) is not None else {}
        if "model" in values:
            names = [str(values[name]) for name in ("model_id", "model") if name in values]
            stems = (printed_figures.model(name) for name in names)
            values["model"] = next((stem for stem in stems if stem not in names), values["model"])
        return Figures(
            line=line.number,
            key=json.dumps([line.texts[name] for name in (self.cell or sorted(line.texts))]),
            values=self._with_status(values),
            as_printed={**texts, **found, **shown, **self._behind(line)},
            environment=" ".join(line.texts[name] for name in self.environment),
        )

    def _put(self, values: dict[str, Any], column: str, text: str) -> None:
        """Put a text into its column; maps grow, and the word for a status is also the error."""
        words = self.words.get(column, {})
        value = (
            words[text]
            if text in words
            else printed_figures.typed(column, text, self.factors.get(column, 1.0))
        )
        if column == "status" and value != "ok":
            values |= {"error": text, "stage": "compile" if value == "compile_error" else "plan"}
        if value is None:
            return
        values[column] = [*values.get(column, []), *value] if isinstance(value, list) else value

    def _with_status(self, values: dict[str, Any]) -> dict[str, Any]:
        if any(name in values for name in ("status", "accuracy", "speedup_lo", "speedup_hi")):
            return values
        if any(name.endswith(("_ms", "_per_s")) for name in values):
            return values
        if not self.blank:
            raise ValueError("no figure")
        return {**values, "status": "unavailable", "stage": "plan", "error": self.blank}

    def _behind(self, line: Line) -> dict[str, str]:
        """Unrounded figures of the line, under `raw` and `earlier`."""
        kinds = ((RAW, self.raw), (EARLIER, self.earlier))
        return {
            f"{kind}{column}": line.texts[header]
            for kind, headers in kinds
            for column, header in headers.items()
            if line.texts[header]
        }

    def _unrounded(self, figures: list[Figures]) -> list[Figures]:
        groups: dict[tuple[str, ...], list[Figures]] = {}
        for one in figures:
            groups.setdefault(tuple(one.as_printed[name] for name in self.series), []).append(one)
        chosen = {
            key: next((kind for kind in (RAW, EARLIER) if _is_of(kind, group)), "")
            for key, group in groups.items()
        }
        return [
            _with_unrounded(one, chosen[tuple(one.as_printed[name] for name in self.series)], [*self.raw])
            for one in figures
        ]


_Cell = tuple[Line, dict[str, str]]


def _figure(column: str, text: str) -> dict[str, str]:
    """Printed text of a figure, by its column."""
    is_figure = column in SCHEMA.names and column.endswith(
        ("_ms", "_per_s", "accuracy", "speedup_lo", "speedup_hi")
    )
    return {f"{PRINTED}{column}": text} if is_figure and text else {}


def _is_of(kind: str, group: list[Figures]) -> bool:
    """Whether most printed figures of a series can be those of the files, or their means."""
    fitting, known = 0, 0
    for one in group:
        columns = [name.removeprefix(PRINTED) for name in one.as_printed if name.startswith(PRINTED)]
        behind = [one.as_printed.get(f"{kind}{column}") for column in (*columns, "latency_mean_ms")]
        if columns and any(behind):
            known += 1
            text = one.as_printed[f"{PRINTED}{columns[0]}"]
            fitting += any(printed_figures.fits(float(figure), text) for figure in behind if figure)
    return known > 0 and fitting >= _MOST * known


def _with_unrounded(one: Figures, kind: str, columns: list[str]) -> Figures:
    if not kind or one.values.get("status"):
        return one
    found = {column: float(text) for column in columns if (text := one.as_printed.get(f"{kind}{column}"))}
    return replace(one, values={**one.values, **found})
