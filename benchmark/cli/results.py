"""`results`: show stored rows, selected by conditions or SQL, as a table or for another program."""

from __future__ import annotations

import json
from typing import Annotated, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import typer

from benchmark.cli.no_rows import no_rows
from benchmark.errors import ConfigError
from benchmark.frames import json_lines
from benchmark.report.display import table
from benchmark.report.display.computed import FASTER, WIDTH, in_lines_of_cells
from benchmark.report.render.csv import harmless
from benchmark.report.sanitize import clean, one_line, say
from benchmark.report.screen import Screen
from benchmark.store import query, selection
from benchmark.store import sql as sql_of
from benchmark.store.repeats import KEYS
from benchmark.store.results import DEFAULT_ROOT, ResultsStore, to_frame, with_samples
from benchmark.store.schema import SCHEMA

_CONDITION = "Such as 'model=vit,beit batch<=4 error~memory': all must hold."
_LIMIT = "Most lines to show: the first by --sort, else the newest."
_SIDE_BY_SIDE = 16
"""Most columns of a table; more are printed as records."""
_COMPUTED = {"±": WIDTH, WIDTH: WIDTH, "faster": FASTER, FASTER: FASTER}
"""What `--sort` takes beside columns of rows, where a line is a cell."""


def results(  # noqa: PLR0913, PLR0917 - a command line has that many
    condition: Annotated[list[str] | None, typer.Argument(help=_CONDITION)] = None,
    store: Annotated[str, typer.Option(help="Folder or URL that holds the rows.")] = DEFAULT_ROOT,
    sort: Annotated[str, typer.Option(metavar="COLUMN", help="Sort by a column; default: by time.")] = "",
    desc: Annotated[bool, typer.Option("--desc", help="Largest first.")] = False,
    limit: Annotated[int, typer.Option(min=0, show_default=False, help=_LIMIT)] = 0,
    columns: Annotated[str, typer.Option(metavar="A,B", help="Show these columns.")] = "",
    all_columns: Annotated[bool, typer.Option("--all-columns", help="Show every column.")] = False,
    sql: Annotated[str, typer.Option(metavar="QUERY", help="SQL for DuckDB; the table is `results`.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with every column.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, with every column.")] = False,
    as_md: Annotated[bool, typer.Option("--md", help="Print a Markdown table.")] = False,
    simulated: Annotated[bool, typer.Option("--simulated", help=selection.SIMULATED)] = False,
    published: Annotated[bool, typer.Option("--published", help=selection.PUBLISHED)] = False,
    each: Annotated[
        bool, typer.Option("--each", help="Show each process of a cell on its own line.")
    ] = False,
) -> None:
    """Show stored rows.

    A condition is column OP value; OP is = != < <= > >= or ~ (matches). a,b: a or b. null: no value.
    """
    form = _form(json=as_json, csv=as_csv, md=as_md)
    if sql and (sort or desc or limit or columns or all_columns):
        raise ConfigError(
            "--sql excludes --sort, --desc, --limit, --columns, --all-columns: write them into the query"
        )
    shown = _columns(columns, form, everything=all_columns or bool(sql))
    usual = shown == list(table.NEEDED)
    of_cells = usual and not each
    order = _COMPUTED[sort] if sort in _COMPUTED and of_cells else query.column(sort) if sort else ""
    conditions = query.parse(" ".join(condition or ()))
    needed = list({*shown, *({order} & {*SCHEMA.names}), "run_id", *selection.COLUMNS})
    reader = ResultsStore(store)
    stored = reader.table(needed, query.expression(conditions))
    found = selection.shown(stored, conditions, simulated=simulated, published=published)
    rows = found.rows
    if of_cells:
        frame = _cells(with_samples(to_frame(rows), reader), order, desc=desc, limit=limit)
    else:
        answer = _answered(rows, sql) if sql else _ordered(rows, order, desc=desc, limit=limit).select(shown)
        frame = to_frame(answer)
    if form == "table" and frame.empty:
        say(no_rows(reader, conditions))
    else:
        _write(frame.drop(columns="repeat") if usual and each else frame, form, usual=usual)
    if form == "table":
        for note in found.notes:
            say(note)


def _form(**options: bool) -> str:
    chosen = [form for form, given in options.items() if given]
    if len(chosen) > 1:
        raise ConfigError(f"--{' and --'.join(chosen)} exclude each other: choose one")
    return chosen[0] if chosen else "table"


def _columns(typed: str, form: str, *, everything: bool) -> list[str]:
    if typed:
        return [query.column(name.strip()) for name in typed.split(",")]
    if everything or form in {"json", "csv"}:
        return list(SCHEMA.names)
    return list(table.NEEDED)


def _ordered(rows: pa.Table, order: str, *, desc: bool, limit: int) -> pa.Table:
    if not order:
        newest = rows.slice(max(0, len(rows) - limit)) if limit else rows
        return newest.take(pa.array(range(len(newest) - 1, -1, -1), pa.int64())) if desc else newest
    if pa.types.is_nested(rows.schema.field(order).type):
        raise ConfigError(f"--sort {order}: a column of lists can't be sorted by: choose another")
    ordered = rows.sort_by([(order, "descending" if desc else "ascending")])
    return ordered.slice(0, limit) if limit else ordered


def _cells(frame: pd.DataFrame, order: str, *, desc: bool, limit: int) -> pd.DataFrame:
    """Rows in the order of their cells, whose processes stay together; `limit` counts cells."""
    if order and any(isinstance(value, (dict, np.ndarray)) for value in frame.get(order, ())):
        raise ConfigError(f"--sort {order}: a column of lists can't be sorted by: choose another")
    lines = in_lines_of_cells(frame)
    cell = frame.groupby([*KEYS], sort=False, dropna=False).ngroup()
    if order in lines:
        lines = lines.sort_values(order, ascending=not desc, kind="stable")
    elif desc:
        lines = lines[::-1]
    kept = (
        lines[:limit] if limit and order else lines[-limit:] if limit and not desc else lines[: limit or None]
    )
    place = {number: place for place, number in enumerate(cell[kept.index].unique())}
    chosen = frame[cell.isin(place)]
    return chosen.iloc[np.argsort(cell[chosen.index].map(place).to_numpy(), kind="stable")]


def _answered(rows: pa.Table, query: str) -> pa.Table:
    with sql_of.connected("--sql needs duckdb: pip install duckdb") as connection:
        connection.register("results", rows)
        answer = sql_of.execute(connection, query, "--sql", ": the table is `results`")
        return pa.table({}) if answer is None else answer.to_arrow_table()


def _write(frame: pd.DataFrame, form: str, *, usual: bool) -> None:
    if form == "json":
        say(as_json_text(frame), end="")
    elif form == "csv":
        say(as_csv_text(frame), end="")
    elif form == "md":
        say(table.markdown_usual(frame) if usual else table.markdown_rows(frame))
    elif usual:
        table.print_rows(frame, console=Screen())
    elif len(frame.columns) <= _SIDE_BY_SIDE:
        table.print_table(frame, console=Screen())
    else:
        table.print_records(frame, console=Screen())


def as_json_text(frame: pd.DataFrame) -> str:
    """Rows as one JSON array, a line each."""
    return "[" + ",\n".join(json_lines(frame).splitlines()) + "]\n"


def as_csv_text(frame: pd.DataFrame) -> str:
    """Rows as CSV, with a header; no text in it is a formula or a terminal code."""
    flat = frame.rename(columns=lambda name: harmless(one_line(str(name))))
    for name in flat:
        if flat[name].dtype == object or pd.api.types.is_string_dtype(flat[name]):
            flat[name] = flat[name].map(_in_csv, na_action="ignore")
    return str(flat.to_csv(index=False))


def _in_csv(value: Any) -> Any:
    """Lists and maps as JSON: a cell of CSV holds one value."""
    if isinstance(value, (np.ndarray, dict)):
        return _as_json(value)
    return harmless(clean(value)) if isinstance(value, str) else value


def _as_json(value: Any) -> str:
    return json.dumps(value.tolist() if isinstance(value, np.ndarray) else value)
