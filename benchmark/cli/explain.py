"""`explain`: describe one stored run, and its differences from the previous run of its cell."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

import pyarrow as pa
import pyarrow.compute as pc
import typer

from benchmark.errors import ConfigError
from benchmark.formatting import finite
from benchmark.host import machine
from benchmark.records import Row
from benchmark.report.display.explanation import Explanation, print_differences, print_run
from benchmark.report.display.explanation import explain as work_out
from benchmark.report.sanitize import say
from benchmark.report.screen import Screen
from benchmark.store.results import DEFAULT_ROOT, ResultsStore
from benchmark.store.schema import SCHEMA

RUN_ID = "A run_id, or at least four of its first characters that no other run shares."
_COLUMNS = [name for name in SCHEMA.names if name != "latency_ns"]
_FEWEST = 4
_SHOWN = 5


def explain(
    run_id: Annotated[str, typer.Argument(metavar="RUN_ID", help=RUN_ID)],
    store: Annotated[str, typer.Option(help="Folder or URL that holds the rows.")] = DEFAULT_ROOT,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object: run, stages, previous, differences.")
    ] = False,
) -> None:
    """Show what ran, its results, its time by stage, and its differences from the previous run of its cell.

    `results --columns run_id,model,status` lists runs.
    """
    rows = ResultsStore(store)
    run = stored(rows, full_id(rows, run_id))
    explanation = work_out(run, _previous(rows, run))
    if as_json:
        say(as_line(explanation))
        return
    console = Screen()
    print_run(explanation, console=console)
    print_differences(explanation, "the previous run of this cell", console=console)


def full_id(store: ResultsStore, typed: str) -> str:
    """The one run whose run_id is `typed`, or starts with it.

    Raises:
        ConfigError: no run matches, or several.
        StoreError: there is no store, or it can't be read.
    """
    found = sorted(store.table(["run_id"], pc.starts_with(pc.field("run_id"), typed))["run_id"].to_pylist())
    if typed in found:
        return typed
    if len(typed) < _FEWEST:
        raise ConfigError(f"run {typed}: too short: give at least {_FEWEST} characters")
    if not found:
        raise ConfigError(
            f"there is no run {typed} at {store.name}: `{machine.program()} results --simulated "
            "--columns run_id,model,status` lists them, or choose another --store"
        )
    if len(found) > 1:
        more = f", … {len(found)} in all" if len(found) > _SHOWN else ""
        raise ConfigError(
            f"run {typed} can be any of {', '.join(found[:_SHOWN])}{more}: give more of its characters"
        )
    return str(found[0])


def stored(store: ResultsStore, run_id: str) -> Row:
    """The row of a run without its samples; figures that are not finite are null, as in `results --json`.

    Raises:
        StoreError: the store can't be read.
    """
    (values,) = store.table(_COLUMNS, pc.field("run_id") == run_id).to_pylist()
    maps = {field.name: dict(values[field.name] or ()) for field in SCHEMA if pa.types.is_map(field.type)}
    return Row(values=finite(values | maps))


def newest(store: ResultsStore, which: pc.Expression) -> Row | None:
    """The run that was stored last among those that an expression selects.

    Raises:
        StoreError: the store can't be read.
    """
    found = store.table(["run_id"], which)
    return stored(store, found["run_id"][-1].as_py()) if len(found) else None


def as_line(explanation: Explanation) -> str:
    """An explanation as one line of JSON; rows are written as by `results --json`."""
    answer = {
        "run": explanation.run.values,
        "stages": [asdict(stage) for stage in explanation.stages],
        "previous": None if explanation.previous is None else explanation.previous.values,
        "differences": {
            name: [asdict(one) for one in found] for name, found in explanation.differences.items()
        },
    }
    return json.dumps(_plain(answer), allow_nan=False)


def _previous(store: ResultsStore, run: Row) -> Row | None:
    """The run of the same cell that was stored before this one."""
    runs = store.table(["run_id"], pc.field("cell_id") == run.values["cell_id"])["run_id"].to_pylist()
    place = runs.index(run.run_id)
    return stored(store, runs[place - 1]) if place else None


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if isinstance(value, datetime):
        return value.isoformat(timespec="microseconds").replace("+00:00", "Z")
    return value
