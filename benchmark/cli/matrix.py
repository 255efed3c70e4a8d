"""`matrix`: models by compilers, from stored rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated

import pandas as pd
import typer

from benchmark.cli.no_rows import no_rows
from benchmark.errors import ConfigError
from benchmark.report.display import matrix as report
from benchmark.report.display import table
from benchmark.report.sanitize import inert, say
from benchmark.report.screen import Screen
from benchmark.store import query, selection
from benchmark.store.results import DEFAULT_ROOT, ResultsStore, to_frame

_CONDITION = "Such as 'campaign=matrix batch=1': all must hold."
_SHOW = f"Any of {','.join(report.FIGURES)}: a table for each. Default: p50, with --md all."


def matrix(  # noqa: PLR0913, PLR0917 - a command line has that many
    condition: Annotated[list[str] | None, typer.Argument(help=_CONDITION)] = None,
    store: Annotated[str, typer.Option(help="Folder or URL that holds the rows.")] = DEFAULT_ROOT,
    show: Annotated[str, typer.Option(metavar="A,B", help=_SHOW)] = "",
    as_md: Annotated[bool, typer.Option("--md", help="Print Markdown tables with their captions.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON: a record for each model, and figure if several.")
    ] = False,
    simulated: Annotated[bool, typer.Option("--simulated", help=selection.SIMULATED)] = False,
    published: Annotated[bool, typer.Option("--published", help=selection.PUBLISHED)] = False,
) -> None:
    """Show a table of models by compilers: the newest result of each pair, or why there is none."""
    figures = [name.strip() for name in show.split(",")] if show else [*report.FIGURES] if as_md else ["p50"]
    if unknown := [name for name in figures if name not in report.FIGURES]:
        raise ConfigError(f"--show {unknown[0]}: choose from {', '.join(report.FIGURES)}")
    conditions = query.parse(" ".join(condition or ()))
    reader = ResultsStore(store)
    stored = reader.table(list({*report.NEEDED, *selection.COLUMNS}), query.expression(conditions))
    shown = selection.shown(stored, conditions, simulated=simulated, published=published)
    if not len(shown.rows):
        header = "| model |\n| --- |" if as_md else no_rows(reader, conditions)
        say("[]" if as_json else header)
    else:
        rows, other_batches = report.of_one_batch(to_frame(shown.rows))
        _print(report.newest(rows), figures, as_md=as_md, as_json=as_json)
        for note in filter(None, (other_batches, report.hidden(rows))):
            text = f"\n{inert(note)}." if as_md else note
            Screen(stderr=as_json).print(text, markup=False, highlight=False, soft_wrap=as_md)
    if not as_json and not as_md:
        for note in shown.notes:
            say(note)


def _print(pairs: pd.DataFrame, figures: Sequence[str], *, as_md: bool, as_json: bool) -> None:
    tables = {name: report.matrix(pairs, name) for name in figures}
    if as_json:
        records = [
            {**({"figure": name} if len(figures) > 1 else {}), **record}
            for name, fields in tables.items()
            for record in fields.to_dict(orient="records")
        ]
        say(json.dumps(records))
    elif as_md:
        say(inert(report.caption(pairs)))
        for name, fields in tables.items():
            say(f"\n**{inert(report.legend(pairs, name))}**\n\n{table.markdown_rows(fields)}")
    else:
        console = Screen()
        for name, fields in tables.items():
            console.print(report.legend(pairs, name), style="bold", markup=False, highlight=False)
            table.print_table(fields, console=console)
        console.print(report.caption(pairs), style="dim", markup=False, highlight=False)
        table.print_failures(pairs, console=console)
