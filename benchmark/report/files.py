"""Write a report's files into one folder: a page per format, its tables as CSV, its charts as pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from benchmark.errors import ConfigError
from benchmark.report.document import Document
from benchmark.report.render import csv, html, images, latex, markdown
from benchmark.report.sanitize import say

FORMATS: Final = ("md", "html", "csv", "tex", "png", "svg")
_DRAWN: Final = {"png": images.png, "svg": images.svg}


def formats(only: str) -> list[str]:
    """The formats of a comma-separated list; all where it is empty.

    Raises:
        ConfigError: a format is unknown.
    """
    chosen = [one.strip() for one in only.split(",")] if only else list(FORMATS)
    if unknown := [one for one in chosen if one not in FORMATS]:
        raise ConfigError(f"--only {unknown[0]}: use one of {', '.join(FORMATS)}")
    return chosen


def write(made: Document, out: Path, chosen: Sequence[str]) -> None:
    """Write the formats, and print the names of the main files."""
    written = 0
    for name, data in _files(made, chosen):
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        written += 1
        if path.parent == out:
            say(f"{path} ({len(data) / 1e6:.2f} MB)")
    say(f"{written} files in {out}")


def html_page(made: Document) -> str:
    """The report as one HTML file."""
    charts = (chart for section in made.sections for chart in section.charts)
    return html.page(made, {chart.name: images.inline_svg(chart) for chart in charts})


def _files(made: Document, chosen: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Names and contents; pictures come first, since pages show them."""
    charts = [chart for section in made.sections for chart in section.charts]
    for form in [one for one in _DRAWN if one in chosen]:
        for chart in charts:
            yield f"charts/{chart.name}.{form}", _DRAWN[form](chart)
    if "csv" in chosen:
        for table in (one for section in made.sections for one in section.tables):
            yield f"tables/{table.name}.csv", csv.csv(table).encode()
        yield "rows.csv", csv.rows(made.rows).encode()

    def shown(*forms: str) -> Mapping[str, str]:
        best = [form for form in forms if form in chosen][:1]
        return {chart.name: f"charts/{chart.name}.{form}" for form in best for chart in charts}

    if "md" in chosen:
        yield f"{made.name}.md", markdown.page(made, shown("svg", "png")).encode()
    if "tex" in chosen:
        yield f"{made.name}.tex", latex.page(made, shown("png")).encode()
    if "html" in chosen:
        yield f"{made.name}.html", html_page(made).encode()
