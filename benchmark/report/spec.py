"""A report as its YAML writes it: queries, columns, pivots, sentences and charts, typed but not yet asked.

Every expression is DuckDB's SQL over one relation, `cells`: the newest row of each cell with all columns of
the store (schema.md), the price's columns (`usd_per_1m` …), `origin`, and the report's own `columns`. Texts
may hold {name} or {name:.2f} for a value of the row that they are written for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from benchmark.records import Names, frozen

Expressions = Mapping[str, str]
"""Name to SQL expression."""


@frozen
class ColumnSpec:
    """A column of a listing, or the fields of a pivot."""

    value: str
    """SQL expression."""
    format: str = "{}"
    """How a figure is written: `{:.2f}`, `{:.1f}ms`; `{:$,.3f}` dollars, `{:.3r}` significant digits."""
    figure: bool = True
    """False for names and words, which stand to the left and never become a status."""
    best: Literal["", "least", "greatest"] = ""
    """Which figure of its group is marked."""


@frozen
class PivotSpec:
    """A table whose columns are values of an expression."""

    across: str
    """SQL: the heads of the columns."""
    order: str = ""
    """SQL: the columns are sorted by the least value of it, else by `across`."""
    field: ColumnSpec


@frozen
class TableSpec:
    """One table: a listing of rows, or a pivot."""

    name: str
    """Stem of its files; texts of the section's row may stand in it."""
    caption: str = ""
    relation: str = "cells"
    """`cells` or one of the report's views."""
    where: str = "true"
    choose: str = ""
    """SQL condition with window functions (QUALIFY): which of the rows stand in the table, such as the one
    with the best throughput of each model."""
    columns: Mapping[str, ColumnSpec]
    """Head to column; of a pivot those that begin each line."""
    pivot: PivotSpec | None = None
    order: str = ""
    """SQL: ORDER BY of the lines. Sorted by values, never by what is shown."""
    group: str = ""
    """SQL: lines among which the best is marked; empty: all of them."""
    limit: PositiveInt | None = None
    notes: Names = ()
    cost: bool = False
    """The price basis stands below it."""


@frozen
class ChartSpec:
    """One chart, or one for each value of some expressions."""

    name: str
    title: str
    alt: str
    each: Names = ()
    """SQL expressions: a chart for each combination of their values; the texts may name them."""
    where: str = "true"
    select: Expressions
    """The chart's fields."""
    summed: bool = False
    """Fields with aggregates such as count(*): one line for all rows that are alike in the other fields."""
    order: str = ""
    vega: Mapping[str, Any]
    """Vega-Lite less data, title and theme."""


@frozen
class SentenceSpec:
    """A sentence for every row of a query; none where the query finds nothing."""

    query: str
    """SQL over `cells`."""
    say: str


@frozen
class SectionSpec:
    """A heading and what stands under it, or one for each value of some expressions."""

    title: str
    """`code` and [text](address) are understood."""
    level: Annotated[int, Field(ge=2, le=3)] = 2
    each: Names = ()
    """Columns: a section for each combination of their values."""
    order: str = ""
    """SQL with aggregates: order of the sections."""
    where: str = "true"
    text: Names = ()
    say: tuple[SentenceSpec, ...] = ()
    tables: tuple[TableSpec, ...] = ()
    charts: tuple[ChartSpec, ...] = ()


@frozen
class Report:
    """A page made of stored rows."""

    name: str
    title: str
    intro: Names = ()
    document: str = ""
    """Stem in conf/published of the page that it regenerates: its figures, and their differences."""
    sources: Annotated[tuple[Literal["measured", "published"], ...], Field(min_length=1, strict=False)] = (
        "measured",
    )
    """Whose figures are shown where the command line doesn't say: they mix only where both are named."""
    where: str = "true"
    """SQL over the store's columns: which rows it is about."""
    columns: Expressions = Field(default_factory=dict)
    """Further columns of `cells`, in order: each may use those before it."""
    views: Expressions = Field(default_factory=dict)
    """Queries over `cells` that sentences ask by name, in order: each may use those before it."""
    findings: tuple[SentenceSpec, ...] = ()
    sections: tuple[SectionSpec, ...]
    rows: Names = ()
    """Columns of the filterable table; those without any value are left out."""
    most_rows: NonNegativeInt = 200_000
    """The filterable table has the newest so many."""
    front_matter: Mapping[str, str] = Field(default_factory=dict)
