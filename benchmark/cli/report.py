"""`report`: a page of stored rows, in the terminal or as Markdown, HTML, CSV, LaTeX, PNG and SVG files."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import TypeAdapter, ValidationError

from benchmark.cli import price_options, race_report
from benchmark.cloud import cost
from benchmark.cloud.cost import PriceBasis
from benchmark.config.folder import first_comment, options
from benchmark.errors import ConfigError
from benchmark.published import checks
from benchmark.records import frozen
from benchmark.redaction import without_secrets
from benchmark.report import files as files_of
from benchmark.report.build import Making, document
from benchmark.report.document import Document
from benchmark.report.query import Choice, cells
from benchmark.report.render import markdown, terminal
from benchmark.report.sanitize import say
from benchmark.report.screen import Screen
from benchmark.report.spec import Report
from benchmark.store import query
from benchmark.store.results import DEFAULT_ROOT, ResultsStore, to_frame
from benchmark.store.selection import SIMULATED, wanted_origins

_NAME = "Name of a YAML in conf/report; without it the reports are listed."
_WORDS = "price=reserved, price.as_of=2024-09-16, source=measured,published, or conditions as for `results`."
_OUT = "Folder for files of all formats: NAME.md, NAME.html, NAME.tex, tables/*.csv, charts/*.png and *.svg."


@frozen
class Request:
    """A report, the prices at which its rows are valued, and conditions on the rows."""

    report: Report
    basis: PriceBasis
    conditions: tuple[query.Condition, ...]


def report(  # noqa: PLR0913, PLR0917 - a command line has that many
    name: Annotated[str, typer.Argument(help=_NAME)] = "",
    words: Annotated[list[str] | None, typer.Argument(help=_WORDS)] = None,
    store: Annotated[str, typer.Option(help="Folder or URL that holds the rows.")] = DEFAULT_ROOT,
    out: Annotated[str, typer.Option(metavar="FOLDER", help=_OUT)] = "",
    only: Annotated[str, typer.Option(metavar="A,B", help=f"Only these: {','.join(files_of.FORMATS)}.")] = "",
    as_md: Annotated[bool, typer.Option("--md", help="Print Markdown.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: findings, tables, failures.")] = False,
    simulated: Annotated[bool, typer.Option("--simulated", help=SIMULATED)] = False,
) -> None:
    """Make a report of stored rows: the newest row of each cell, with its cost."""
    if not name:
        _list(as_json=as_json)
        return
    command = without_secrets(shlex.join(_command(name, words or (), store)))
    if name == race_report.NAME:
        page = race_report.page(words or (), ResultsStore(store), command)
    else:
        page = made(composed(name, words or ()), ResultsStore(store), command, simulated=simulated)
    if out:
        files_of.write(page, Path(out), files_of.formats(only))
    elif as_json:
        say(json.dumps(_plain(page)))
    elif as_md:
        say(markdown.page(page), end="")
    else:
        terminal.page(page, console=Screen())


def composed(name: str, words: Sequence[str]) -> Request:
    """Report that the words of a command line request.

    Raises:
        ConfigError: the report, a key, a price or a condition doesn't exist.
    """
    prices, others = price_options.split(words)
    source = [word.removeprefix("source=") for word in others if word.startswith("source=")]
    rest = " ".join(word for word in others if not word.startswith("source="))
    plain = price_options.composed("report_config", [f"report={name}", *prices])
    if source:
        plain["report"]["sources"] = source[-1].split(",")
    return Request(
        report=_typed(plain["report"], name),
        basis=cost.typed(plain["price"]),
        conditions=query.parse(rest),
    )


def _typed(plain: Any, name: str) -> Report:
    """Type a report by way of JSON, so that its lists become tuples and its mappings records."""
    try:
        return TypeAdapter(Report).validate_json(json.dumps(plain))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise ConfigError(
            f"conf/report/{name}.yaml: {key}: {first['msg'].lower()}: see benchmark/report/spec.py"
        ) from error


def made(request: Request, store: ResultsStore, command: str, *, simulated: bool) -> Document:
    """Document of a report; `command` is the command line that makes it.

    Raises:
        ConfigError: no row belongs to this report, or its SQL is wrong.
    """
    report = request.report
    choice = Choice(
        origins=wanted_origins(request.conditions, simulated=simulated, usual=report.sources),
        conditions=query.expression(request.conditions),
    )
    relation = cells(store, report, choice, request.basis)
    if relation.frame("select count(*) as n from cells")["n"].item() == 0:
        raise ConfigError(_nothing(request, store, relation.hidden))
    if "published" not in report.sources or not report.document:
        return document(report, relation, Making(command=command))
    of_page = query.expression(query.parse(f"campaign=published-{report.document}"))
    page = to_frame(store.table(None, of_page))  # all rows: the checks need the whole page
    differences, agreement = tuple(checks.differences(page)), checks.compared(page)
    return document(report, relation, Making(command=command, differences=differences, agreement=agreement))


def _nothing(request: Request, store: ResultsStore, hidden: Any) -> str:
    report = request.report
    left_out = ", ".join(f"{count} {origin}" for origin, count in hidden.items())
    more = (
        f" ({left_out} rows are left out: source=measured,published or --simulated shows them)"
        if left_out
        else ""
    )
    first = f"run experiment={report.name}" if report.name in options("experiment") else "run a grid"
    if request.conditions:
        first = f"use fewer conditions, or {first}"
    other = f", or store import {report.document} and source=published" if report.document else ""
    return f"report {report.name}: no rows at {store.name} belong to it{more}: {first}{other}"


def _command(name: str, words: Sequence[str], store: str) -> Iterator[str]:
    yield from ("python", "-m", "benchmark", "report", name, *words)
    if store != DEFAULT_ROOT:
        yield from ("--store", store)


def _list(*, as_json: bool) -> None:
    purposes = {name: first_comment("report", name) for name in options("report")}
    purposes[race_report.NAME] = race_report.PURPOSE
    if as_json:
        say(json.dumps(purposes))
        return
    width = max(map(len, purposes))
    for name, purpose in purposes.items():
        say(f"{name:{width}}  {purpose}")


def _plain(made: Document) -> dict[str, Any]:
    def table(one: Any) -> dict[str, Any]:
        heads = [head.text for head in one.heads]
        lines = [
            {
                head: field.text if field.value is None else field.value
                for head, field in zip(heads, line, strict=True)
            }
            for line in one.lines
        ]
        return {"name": one.name, "caption": one.caption, "lines": lines, "notes": list(one.notes)}

    sections = [
        {
            "title": "".join(span.text for span in section.title),
            "sentences": list(section.sentences),
            "tables": [table(one) for one in section.tables],
            "charts": [chart.name for chart in section.charts],
        }
        for section in made.sections
    ]
    kept = {"name": made.name, "title": made.title, "made_at": made.made_at.isoformat()}
    return {
        **kept,
        "findings": list(made.findings),
        "warnings": list(made.warnings),
        "coverage": table(made.coverage),
        "sections": sections,
        "failures": table(made.failures),
        "provenance": table(made.provenance),
        "reproduce": list(made.reproduce),
    }
