"""`matrix`: models by compilers, from stored rows."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console

from benchmark.errors import ConfigError
from benchmark.report.display import matrix as report
from benchmark.report.display import table
from benchmark.store import query
from benchmark.store.results import DEFAULT_ROOT, ResultsStore, to_frame

_CONDITION = "Such as 'campaign=matrix batch=1': all must hold."
_SHOW = f"What stands in a field: any of {','.join(report.FIGURES)}; else p50, and all of them with --md."


def matrix(
    condition: Annotated[list[str] | None, typer.Argument(help=_CONDITION)] = None,
    store: Annotated[str, typer.Option(help="Folder or URL that holds the rows.")] = DEFAULT_ROOT,
    show: Annotated[str, typer.Option(metavar="A,B", help=_SHOW)] = "",
    as_md: Annotated[bool, typer.Option("--md", help="Print a Markdown table with its caption.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: a record for each model.")] = False,
) -> None:
    """Show what became of each model under each compiler: the newest row of every pair.

    Published figures are left out, unless a condition names source or document.
    """
    figures = [name.strip() for name in show.split(",")] if show else [*report.FIGURES] if as_md else ["p50"]
    if unknown := [name for name in figures if name not in report.FIGURES]:
        raise ConfigError(f"--show {unknown[0]}: choose of {', '.join(report.FIGURES)}")
    asked = query.parse(" ".join(condition or ()))
    names = [*dict.fromkeys((*report.NEEDED, *(one.column for one in asked), "simulated", "source"))]
    frame = to_frame(ResultsStore(store).table(names, query.expression(asked)))
    if not {one.column for one in asked} & {"source", "document"}:
        frame = frame[frame["source"].isna()]
    frame = frame[~frame["simulated"].fillna(value=False).astype(bool)].reset_index(drop=True)
    if frame.empty:
        print("[]" if as_json else "no rows: fewer conditions, or another --store, may find some")
        return
    pairs = report.newest(frame)
    fields, caption = report.matrix(pairs, figures), report.caption(pairs, figures)
    if as_json:
        print(json.dumps(fields.to_dict(orient="records")))
    elif as_md:
        print(f"{caption}\n\n{table.markdown_rows(fields)}")
    else:
        console = Console()
        table.print_table(fields, console=console)
        console.print(caption, style="dim", markup=False, highlight=False)
        table.print_failures(pairs, console=console)
