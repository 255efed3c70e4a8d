"""Texts and labels in a table: CSV, TSV (as GLUE's), Parquet or Orange's tab files; a line is an item."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import NonNegativeInt

from benchmark.errors import Unavailable
from benchmark.items import Item, Kind
from benchmark.labelled.source import Source
from benchmark.records import Names, frozen

_SHOWN = 8


@frozen
class TextTable(Source):
    """Each line has a text, or two, and the name or number of its class."""

    text: str = "text"
    """Column of the text."""
    pair: str | None = None
    """Column of a second text, as in tasks about two sentences; null: there is none."""
    label: str = "label"
    """Column of the class."""
    id: str | None = None
    """Column of the ids; null: items are numbered from 1 on."""
    columns: Names = ()
    """Names of the columns of a file that has no line of names."""
    lines_to_skip: NonNegativeInt = 0
    """Lines between that of names and the first item."""
    quoted: bool = True
    """Whether quotation marks enclose fields; GLUE's files don't have such."""
    labels: Names = ()
    """Class of the label 0, 1 and so on, where the column has numbers; empty: labels are as they stand."""

    @property
    def kind(self) -> Kind:  # type: ignore[override]
        """One text or two."""
        return "pair" if self.pair else "text"

    def read(self, file: Path) -> tuple[Sequence[Item], int]:
        """Its lines as items."""
        found, skipped = list[Item](), 0
        for number, line in enumerate(self._lines(file), 1):
            try:
                found.append(self._item(line, number))
            except ValueError as error:
                if self.broken == "refuse":
                    raise Unavailable(
                        f"dataset={self.name}: item {number} of {file} {error}: correct it, or set "
                        "dataset.broken=skip"
                    ) from error
                skipped += 1
        return found, skipped

    def _item(self, line: Mapping[str, Any], number: int) -> Item:
        """An item, or a ValueError that says what the line lacks."""
        values = {}
        for column in filter(None, (self.text, self.pair, self.label)):
            value = line.get(column)
            if value is None or value != value or not str(value).strip():  # noqa: PLR0124 - NaN of Parquet
                raise ValueError(f"has no {column}")
            values[column] = str(value)
        label = values[self.label].strip()
        if self.labels:
            label = self._named(label)
        text = values[self.text]
        content = (text, values[self.pair]) if self.pair else text
        known = line.get(self.id) if self.id else number
        return Item("" if known is None else str(known).strip(), content, label)

    def _named(self, label: str) -> str:
        if label.isdecimal() and int(label) < len(self.labels):  # not -1, which stands for none in GLUE
            return self.labels[int(label)]
        raise ValueError(f"has the label {label!r}, which is none of 0 to {len(self.labels) - 1}")

    def _lines(self, file: Path) -> Iterable[Mapping[str, Any]]:
        lines = self._parquet(file) if file.suffix == ".parquet" else self._separated(file)
        wanted = [name for name in (self.text, self.pair, self.label, self.id) if name]
        if lines and (absent := [name for name in wanted if name not in lines[0]]):
            known = ", ".join(map(str, [*lines[0]][:_SHOWN]))
            raise Unavailable(
                f"dataset={self.name}: {file} has no column {', '.join(absent)}: its columns are {known}"
            )
        return lines

    def _parquet(self, file: Path) -> list[Mapping[str, Any]]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            found: list[Mapping[str, Any]] = pq.read_table(file).to_pylist()
        except pa.ArrowException as error:
            raise Unavailable(
                f"dataset={self.name}: {file} is no Parquet that can be read: {error}"
            ) from error
        return found

    def _separated(self, file: Path) -> list[Mapping[str, Any]]:
        csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # articles are longer than its usual limit
        quoting: Any = csv.QUOTE_MINIMAL if self.quoted else csv.QUOTE_NONE
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, delimiter="," if file.suffix == ".csv" else "\t", quoting=quoting)
            try:
                names = [*self.columns] or next(reader, [])
                lines = [line for line in reader if line][self.lines_to_skip :]
            except csv.Error as error:
                raise Unavailable(
                    f"dataset={self.name}: {file} can't be read from line {reader.line_num} on: {error}"
                ) from error
        return [_named(names, line) for line in lines]


def _named(names: Sequence[str], line: Sequence[str]) -> Mapping[str, Any]:
    """Fields by name. A line of another number of fields counts as one without them: it is cut, or torn."""
    return dict(zip(names, line, strict=True)) if len(line) == len(names) else dict.fromkeys(names)
