"""`results`: look at stored rows, by conditions or by SQL, as a table or for another program."""

from __future__ import annotations

import json
from typing import Annotated, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import typer
from rich.console import Console

from benchmark import conditions
from benchmark.errors import ConfigError, LibraryMissing
from benchmark.reports import table
from benchmark.results import DEFAULT_ROOT, ResultsStore
from benchmark.schema import SCHEMA

_FEW_COLUMNS = 16
"""More than these are printed as records: no terminal has room for them side by side."""


def results(
    condition: Annotated[
        list[str] | None, typer.Argument(help='Such as "model=vit,beit batch<=4 error~memory"; all must hold.')
    ] = None,
    store: Annotated[str, typer.Option(help="Folder or URL of the rows.")] = DEFAULT_ROOT,
    sort: Annotated[str, typer.Option(metavar="COLUMN", help="Order by this column; without, by time.")] = "",
    desc: Annotated[bool, typer.Option("--desc", help="Greatest first.")] = False,
    limit: Annotated[int, typer.Option(min=0, help="At most so many rows: the first, or the newest without --sort.")] = 0,
    columns: Annotated[str, typer.Option(metavar="A,B,…", help="Show these columns.")] = "",
    all_columns: Annotated[bool, typer.Option("--all-columns", help="Show every column.")] = False,
    sql: Annotated[str, typer.Option(metavar="QUERY", help="Ask DuckDB; the rows are the view `results`.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, every column.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, every column.")] = False,
    as_md: Annotated[bool, typer.Option("--md", help="Print a Markdown table.")] = False,
    simulated: Annotated[bool, typer.Option("--simulated", help="Show rows of simulated devices too.")] = False,
) -> None:
    """Look at stored rows."""
