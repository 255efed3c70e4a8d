"""A report as its YAML defines it: typed queries, columns, pivots, sentences and charts.

Every expression is DuckDB's SQL over one relation, `cells`: the newest row of each cell with all columns of
the store (store/schema.md), the price's columns (`usd_per_1m` …), `origin`, and the report's own `columns`.
Texts may hold {name} or {name:.2f} for a value of their row.
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
    """Format of a figure: `{:.2f}`, `{:.1f}ms`; `{:$,.3f}` is dollars, `{:.3r}` significant digits."""
    figure: bool = True
    """False for names and words: they are aligned left and never show a status."""
    best: Literal["", "least", "greatest"] = ""
    """Which figure of a group is marked as the best."""


@frozen
class PivotSpec:
    """A table whose columns are values of an expression."""

    across: str
    """SQL: heads of the columns."""
    order: str = ""
    """SQL: sorts the columns, by its least value; empty: they are sorted by `across`."""
    field: ColumnSpec


@frozen
class TableSpec:
    """One table: a listing of rows, or a pivot."""

    name: str
    """Stem of its files; may hold values of the section's row."""
    caption: str = ""
    relation: str = "cells"
    """`cells` or one of the report's views."""
    where: str = "true"
    choose: str = ""
    """SQL condition with window functions (QUALIFY) that selects rows, such as the one with the best
    throughput of each model."""
    columns: Mapping[str, ColumnSpec]
    """Column by its head; in a pivot the first columns of each line."""
    pivot: PivotSpec | None = None
    order: str = ""
    """SQL: ORDER BY of the lines, by unrounded values."""
    group: str = ""
    """SQL: lines with the same value are a group, and its best figure is marked; empty: one group."""
    limit: PositiveInt | None = None
    notes: Names = ()
    cost: bool = False
    """Whether the price basis is a note below it."""


@frozen
class FrontSpec:
    """Marks the points that no rival beats in both of two fields, in a further field `front`."""

    less: str
    """Field of which less is better, such as a latency."""
    against: str
    best: Literal["least", "greatest"]
    """Which value of `against` is better."""
    among: Names
    """Fields that rivals share, such as the model; origins never compete."""


@frozen
class ChartSpec:
    """One chart, or one for each value of some expressions; a single point makes no chart."""

    name: str
    title: str
    alt: str
    each: Names = ()
    """SQL expressions: one chart for each combination of their values, which the texts may hold."""
    where: str = "true"
    select: Expressions
    """The chart's fields."""
    choose: str = ""
    """SQL condition with window functions, as a table's."""
    panel: str = ""
    """Field with a panel for each value: those with the most rows are drawn, the others are counted."""
    samples: PositiveInt | None = None
    """Calls drawn for each row, at even quantiles; each is a point with the fields `ms` and `process` too."""
    front: FrontSpec | None = None
    summed: bool = False
    """Whether fields have aggregates such as count(*): a point for all rows with equal other fields."""
    order: str = ""
    vega: Mapping[str, Any]
    """Vega-Lite without data, title and theme."""


@frozen
class SentenceSpec:
    """A sentence for each row of a query."""

    query: str
    """SQL over `cells`."""
    say: str


@frozen
class SectionSpec:
    """A heading with its content, or one for each combination of values of some columns."""

    title: str
    """May hold `code` and [text](address)."""
    level: Annotated[int, Field(ge=2, le=3)] = 2
    each: Names = ()
    """Columns: one section for each combination of their values."""
    order: str = ""
    """SQL with aggregates: sorts the sections."""
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
    """Stem in conf/published of the page that it makes anew, with the page's figures and errors."""
    sources: Annotated[tuple[Literal["measured", "published"], ...], Field(min_length=1, strict=False)] = (
        "measured",
    )
    """Origins of the rows that are shown, unless the command line names others."""
    where: str = "true"
    """SQL over the store's columns: which rows it shows."""
    columns: Expressions = Field(default_factory=dict)
    """Further columns of `cells`, in order: each may use those before it."""
    views: Expressions = Field(default_factory=dict)
    """Named queries over `cells` for sentences and tables, in order: each may use those before it."""
    findings: tuple[SentenceSpec, ...] = ()
    sections: tuple[SectionSpec, ...]
    rows: Names = ()
    """Columns of the filterable table; columns without values are left out."""
    most_rows: NonNegativeInt = 200_000
    """Rows of the filterable table at most: the newest."""
    front_matter: Mapping[str, str] = Field(default_factory=dict)
