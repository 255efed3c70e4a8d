"""`store`: look after the folder of rows."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from benchmark.results import DEFAULT_ROOT, ResultsStore

app = typer.Typer(help="Look after the stored rows.", no_args_is_help=True)


@app.callback()
def store() -> None:
    """Look after the stored rows."""


@app.command()
def compact(
    store: Annotated[str, typer.Option(help="Folder that holds the rows.")] = DEFAULT_ROOT,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Merge the files of single runs into one: smaller, and faster to read. Runs and readers may go on."""
    merged = ResultsStore(store).compact()
    if as_json:
        print(json.dumps({"store": store, "merged_files": merged}))
    elif merged:
        print(f"merged {merged} files at {store}")
    else:
        print(f"nothing to merge at {store}")
