"""What a report consists of before anybody writes it out: sections of sentences, tables and charts.

Renderers (`reports/`) take a Document and know no rows; `assembly` makes it from rows and knows no format.
Every text may come from outside (model names, errors of compilers): each renderer escapes it for its format.
"""

from __future__ import annotations

from collections.abc import Mapping
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
    """Set as code: a name."""
    link: str = ""
    """Address, for outputs that may have external ones; the HTML file may not and shows the text alone."""


@frozen
class Head:
    """The head of a column."""

    text: str
    figures: bool = False
    """Set to the right."""
    origin: Origin | None = None
    """Where all figures of the column are of one origin."""


@frozen
class Field:
    """One field of a table."""

    text: str
    """As it is shown: rounded, with its unit where the column's head has none."""
    value: float | None = None
    """The figure behind the text, unrounded: to sort by, and for CSV."""
    origin: Origin | None = None
    """Null for labels and words."""
    word: bool = False
    """A status instead of a figure, such as compile_error or N/A."""
    best: bool = False
    """The best of its group."""
    run_ids: Names = ()
    """The rows it was made of."""


@frozen
class Table:
    """Lines under heads."""

    name: str
    """Stem of its files, unique in the document."""
    caption: str
    heads: tuple[Head, ...]
    lines: tuple[tuple[Field, ...], ...]
    """Each as long as `heads`."""
    notes: Names = ()
    """Below it: price basis, which percentile, what marks mean."""


@frozen
class Chart:
    """A picture that any output can draw."""

    name: str
    """Stem of its files, unique in the document."""
    title: str
    alt: str
    """What it shows, for readers who can't see it: made of the same fields as name and title."""
    spec: Mapping[str, Any]
    """Vega-Lite, complete with its data and theme."""


@frozen
class Section:
    """A heading with what stands under it."""

    title: tuple[Span, ...]
    level: int = 2
    """2 or 3."""
    sentences: Names = ()
    """Paragraphs of plain text."""
    tables: tuple[Table, ...] = ()
    charts: tuple[Chart, ...] = ()


@frozen
class Document:
    """A whole report, in the order in which it is read."""

    name: str
    title: str
    made_at: datetime
    intro: Names
    """Paragraphs: what it shows, and what it is based on."""
    findings: Names
    """Sentences, the most important first."""
    coverage: Table
    """What was asked, by what became of it."""
    sections: tuple[Section, ...]
    failures: Table
    """Each reason once, with its number and the runs."""
    provenance: Table
    """Machines, versions, commits, documents and prices that stand behind the figures."""
    reproduce: Names
    """Commands."""
    rows: pd.DataFrame
    """Every row behind it, for the filterable table of the HTML file and for CSV: columns under their own
    names, figures as numbers, everything else as text; `origin` is one of them."""
    front_matter: Mapping[str, str] = Default(default_factory=dict)
    """What a site generator wants at the top of a Markdown page."""
    warnings: Names = ()
    """What a reader must know: instances without a price, rows left out."""


MEANINGS: Mapping[Origin, str] = {
    "measured": "by this program",
    "published": "by others, not measured here",
    "simulated": "made up to try the program: no hardware was measured",
}
"""In the order in which they are told."""


def of_table(table: Table) -> tuple[Origin, ...]:
    """Origins that occur in a table, in a fixed order."""
    found = {field.origin for line in table.lines for field in line} | {head.origin for head in table.heads}
    return tuple(origin for origin in MEANINGS if origin in found)


def of_document(document: Document) -> tuple[Origin, ...]:
    """Origins that occur in any table of its sections, in a fixed order."""
    found = {
        origin for section in document.sections for table in section.tables for origin in of_table(table)
    }
    return tuple(origin for origin in MEANINGS if origin in found)
