"""A report before it has a format: sections of sentences, tables and charts.

`build` makes a Document from rows and knows no format; the renderers (`render/`) write it and know no rows.
Every text may come from outside (model names, errors of compilers), so each renderer escapes it for its
format.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import pandas as pd
from pydantic import Field as Default

from benchmark.records import Names, frozen
from benchmark.store.selection import Origin


@frozen
class Span:
    """A piece of a heading."""

    text: str
    code: bool = False
    """Whether it is set as code, such as a name."""
    link: str = ""
    """External address. The HTML file has none and shows the text alone."""


@frozen
class Head:
    """The head of a column."""

    text: str
    figures: bool = False
    """Whether the column has figures, which are aligned right."""
    origin: Origin | None = None
    """Origin of all figures of the column, if they have the same."""


@frozen
class Field:
    """One field of a table."""

    text: str
    """Text to show: rounded, with its unit where the column's head has none."""
    value: float | None = None
    """The unrounded figure, for sorting and CSV."""
    origin: Origin | None = None
    """None of labels and words."""
    word: bool = False
    """Whether it is a status instead of a figure, such as compile_error or N/A."""
    best: bool = False
    """Whether it is the best of its group."""
    run_ids: Names = ()
    """Rows behind it."""


@frozen
class Table:
    """Lines of fields, with heads."""

    name: str
    """Stem of its files, unique in the document."""
    caption: str
    heads: tuple[Head, ...]
    lines: tuple[tuple[Field, ...], ...]
    """Each as long as `heads`."""
    notes: Names = ()
    """Notes below it, such as the price basis."""


@frozen
class Chart:
    """A picture that every format can draw."""

    name: str
    """Stem of its files, unique in the document."""
    title: str
    alt: str
    """Alternative text: what the chart shows, for readers who can't see it."""
    spec: Mapping[str, Any]
    """Vega-Lite with its data and theme."""


@frozen
class Section:
    """A heading with its content."""

    title: tuple[Span, ...]
    level: int = 2
    """2 or 3."""
    sentences: Names = ()
    """Paragraphs of plain text."""
    tables: tuple[Table, ...] = ()
    charts: tuple[Chart, ...] = ()


@frozen
class Document:
    """A whole report, in reading order."""

    name: str
    title: str
    made_at: datetime
    intro: Names
    """Paragraphs: what the report shows, and its basis."""
    findings: Names
    """Sentences, the most important first."""
    coverage: Table
    """Number of configurations by origin, hardware and compiler."""
    sections: tuple[Section, ...]
    failures: Table
    """Each reason once, with the number of cells and their runs."""
    provenance: Table
    """Machines, versions, commits, documents and prices behind the figures."""
    reproduce: Names
    """Commands that make the rows and the report again."""
    rows: pd.DataFrame
    """All rows, for the filterable table of the HTML file and for CSV: `origin` and columns of the store,
    figures as numbers, everything else as text."""
    front_matter: Mapping[str, str] = Default(default_factory=dict)
    """Front matter of the Markdown page, for site generators."""
    warnings: Names = ()
    """Limits that a reader must know, such as instances without a price."""


MEANINGS: Mapping[Origin, str] = {
    "measured": "by this program",
    "published": "by others, not measured here",
    "simulated": "computed to try the program: no hardware was measured",
}
"""In the order of legends."""


def of_table(table: Table) -> tuple[Origin, ...]:
    """Origins in a table, in a fixed order."""
    found = {field.origin for line in table.lines for field in line} | {head.origin for head in table.heads}
    return tuple(origin for origin in MEANINGS if origin in found)


def of_document(document: Document) -> tuple[Origin, ...]:
    """Origins in the tables of its sections, in a fixed order."""
    found = {
        origin for section in document.sections for table in section.tables for origin in of_table(table)
    }
    return tuple(origin for origin in MEANINGS if origin in found)


def must_mark(origins: Sequence[Origin]) -> bool:
    """Whether figures must show their origin: there are several origins, or simulated figures."""
    return len(origins) > 1 or "simulated" in origins
