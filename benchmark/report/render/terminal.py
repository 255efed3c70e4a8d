"""A report in the terminal: findings first, then tables and failures; texts are never markup."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from benchmark.report.document import MEANINGS, Document, Field, Table, must_mark, of_document, of_table
from benchmark.report.sanitize import clean, one_line
from benchmark.store.selection import Origin

_STYLES: dict[Origin, str] = {"measured": "", "published": "italic cyan", "simulated": "bold yellow"}
_MARKS: dict[Origin, str] = {"measured": "", "published": "°", "simulated": " SIM"}
"""Marks beside a figure, for terminals and files without colours."""


def page(document: Document, console: Console) -> None:
    """Print a report in the width of the console; without a terminal, no lines and no colours."""
    console.print(Text(one_line(document.title), style="bold"))
    for paragraph in document.intro:
        console.print(Text(clean(paragraph)))
    _listed("Findings", document.findings, console)
    _listed("Warnings", document.warnings, console)
    origins = of_document(document)
    marked = must_mark(origins)
    for section in document.sections:
        _heading(" ".join(one_line(span.text) for span in section.title), console)
        for sentence in section.sentences:
            console.print(Text(clean(sentence)))
        for table in section.tables:
            table_in(table, console, marked=marked)
        for chart in section.charts:
            console.print(Text(f"Chart: {chart.title}", style="dim"))
    if marked:
        legend = [f"{_MARKS[origin].strip()} {origin} {MEANINGS[origin]}".strip() for origin in origins]
        console.print(Text("; ".join(legend), style="dim"))
    for title, table in (("Coverage", document.coverage), ("Failures", document.failures)):
        if table.lines:
            _heading(title, console)
            table_in(table, console, marked=False)


def table_in(table: Table, console: Console, *, marked: bool | None = None) -> None:
    """Print one table; `marked`: whether figures show their origin."""
    marked = len(of_table(table)) > 1 if marked is None else marked
    grid = Grid(
        box=box.SIMPLE_HEAD if console.is_terminal else None,
        title=Text(one_line(table.caption)),
        title_justify="left",
        title_style="" if console.is_terminal else "none",
        padding=(0, 1),
        pad_edge=False,
    )
    for head in table.heads:
        grid.add_column(
            Text(one_line(head.text)), justify="right" if head.figures else "left", overflow="fold"
        )
    for line in table.lines:
        grid.add_row(*(_field(field, marked=marked) for field in line))
    console.print(grid)
    for note in table.notes:
        console.print(Text(one_line(note), style="dim"))


def _field(field: Field, *, marked: bool) -> Text:
    text = Text(clean(field.text))
    if field.word:
        text.stylize("red")
    if marked and field.origin and field.text:
        text.append(_MARKS[field.origin])
        text.stylize(_STYLES[field.origin])
    if field.best:
        text.append(" ★")
        text.stylize("bold")
    return text


def _listed(title: str, sentences: Sequence[str], console: Console) -> None:
    if sentences:
        _heading(title, console)
    for sentence in sentences:
        console.print(Text(f"- {one_line(sentence)}"))


def _heading(words: str, console: Console) -> None:
    console.print()
    console.print(Text(words, style="bold"))
