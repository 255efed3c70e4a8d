"""The relation that reports query: the newest row of each cell, priced, in a DuckDB of its own.

`origin` separates measured, published and simulated rows: a cell that is measured and published has a row of
each. Processes of one cell are one row (`combined`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Final

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import TypeAdapter

from benchmark.cloud.cost import PriceBasis, Priced, priced
from benchmark.host import libraries
from benchmark.records import Names, frozen
from benchmark.report.spec import Report
from benchmark.store import sql
from benchmark.store.repeats import COMBINED, KEYS, PROCESSES, SAMPLES, combined
from benchmark.store.results import ResultsStore, records, to_frame
from benchmark.store.schema import SCHEMA
from benchmark.store.selection import origins

if TYPE_CHECKING:
    import duckdb

ALWAYS: Final = (
    *("run_id", "campaign", "cell_id", "environment_id", "repeat", "started_at", "finished_at", "status"),
    *("sequence", "stage", "error", "simulated", "source", "document", "document_commit", "document_date"),
    *("document_licence", "model", "hardware", "instance_type", "hostname", "device_name", "cpu_model", "os"),
    *("compiler", "framework_versions", "driver_version", "git_commit", "command", "throughput_per_s"),
    *("throughput_unit", "noise_flags", "steady", "latency_p50_ms", "latency_p95_ms"),
    *("latency_p50_ms_lo", "latency_p50_ms_hi"),
)
"""Columns that every report needs, whatever its YAML names."""
NEWEST_FIRST: Final = "sequence desc nulls last, started_at desc"
"""SQL to order rows by: the last written one first."""
_UNDECIDED: Final = "('interrupted', 'unavailable', 'dominated')"
"""Statuses after which a cell isn't decided: an older row with another status wins."""
_PRICES: Final = ("usd_per_hour", "usd_per_1m", "price_kind", "price_region", "price_published")
_PRICED: Final = pa.schema(
    [("run_id", pa.string())]
    + [(name, pa.float64() if name.startswith("usd") else pa.string()) for name in _PRICES]
)


@frozen
class Choice:
    """Which rows a report shows."""

    origins: Names
    """measured, published, simulated."""
    conditions: pc.Expression | None
    """Further conditions of the command line."""


@frozen
class Relation:
    """The relation `cells`, its prices, and the rows that it leaves out."""

    connection: Any
    priced: Priced
    hidden: Mapping[str, int]
    """Number of rows left out, by origin."""
    store: Any
    """Of the rows; calls are read from it one by one, since all of them need too much memory."""

    def frame(self, query: str) -> pd.DataFrame:
        """Result of a query.

        Raises:
            ConfigError: the query is no SQL, or names an unknown column.
        """
        return to_frame(_execute(self.connection, query).to_arrow_table())

    def records(self, query: str) -> list[dict[str, Any]]:
        """Result of a query, row by row; a missing value is None."""
        return records(self.frame(query))

    def calls(self, run_ids: Collection[str]) -> pd.DataFrame:
        """Latency of each call behind cells: `cell` (its run_id), `process` from 1 on, `latency_ns`."""
        self.connection.register("asked", pa.table({"cell": pa.array(run_ids, pa.string())}))
        keys = ", ".join(KEYS)
        processes = self.frame(
            f"""select cell, processes.run_id,
            row_number() over (partition by cell order by processes.repeat) as process
            from asked join cells on cell = cells.run_id join processes using ({keys})"""
        )
        calls = to_frame(self.store.of_runs(processes["run_id"].tolist(), ["run_id", SAMPLES]))
        found = processes.merge(calls.dropna(), on="run_id").sort_values(["cell", "process"])
        return found[["cell", "process", SAMPLES]]


def cells(store: ResultsStore, report: Report, chosen: Choice, basis: PriceBasis) -> Relation:
    """Read the store and make `cells`, with the report's columns and views.

    Raises:
        ConfigError: an expression is no SQL, or names an unknown column.
        StoreError: the store can't be read.
    """
    text = TypeAdapter(Report).dump_json(report).decode()
    words = {*re.findall(r"\w+", text), *ALWAYS}  # columns that no expression names aren't read
    rows = store.table([name for name in SCHEMA.names if name in words], chosen.conditions)
    connection = _connected()
    connection.register("stored", rows.append_column("origin", origins(rows)))
    page = f"origin <> 'published' or campaign = 'published-{report.document}'" if report.document else "true"
    about = f"({report.where}) and ({page})"
    found = records(
        to_frame(
            _execute(
                connection,
                f"select origin, count(*) as n from stored where {about} group by origin order by origin",
                "where",
            ).to_arrow_table()
        )
    )
    _newest(connection, f"{about} and origin in ({', '.join(map(repr, chosen.origins))})")
    keys = ", ".join(KEYS)
    connection.execute(
        f"create temp table processes as select run_id, {keys}, repeat from cells where status = 'ok'"
    )
    _combine(connection)
    cost = _price(connection, basis)
    for name, expression in report.columns.items():
        statement = f'create or replace temp table cells as select *, ({expression}) as "{name}" from cells'
        _execute(connection, statement, key=f"columns.{name}")
    for name, query in report.views.items():
        _execute(connection, f'create temp table "{name}" as {query}', key=f"views.{name}")
    hidden = {one["origin"]: one["n"] for one in found if one["origin"] not in chosen.origins}
    return Relation(connection=connection, priced=cost, hidden=hidden, store=store)


def _price(connection: duckdb.DuckDBPyConnection, basis: PriceBasis) -> Priced:
    """Add the price's columns to the cells."""
    query = "select run_id, throughput_per_s, throughput_unit, instance_type, hardware, hostname from cells"
    cost = priced(to_frame(_execute(connection, query).to_arrow_table()), basis)
    kept = cost.frame[["run_id", *_PRICES]]
    connection.register("prices", pa.Table.from_pandas(kept, schema=_PRICED, preserve_index=False))
    _execute(connection, "create or replace temp table cells as from cells left join prices using (run_id)")
    return cost


def _newest(connection: duckdb.DuckDBPyConnection, where: str) -> None:
    """All processes of the newest campaign of each cell and machine; a document counts as a machine."""
    key = "cell_id, hostname, instance_type, origin, document"
    _execute(
        connection,
        f"""create temp table cells as
        select * from stored where ({where})
        qualify campaign = first_value(campaign) over (
            partition by {key} order by status in {_UNDECIDED}, {NEWEST_FIRST})
        and row_number() over (
            partition by {key}, campaign, repeat order by status in {_UNDECIDED}, {NEWEST_FIRST}) = 1""",
        key="where",
    )


def _combine(connection: duckdb.DuckDBPyConnection) -> None:
    """Replace the processes of a cell by one row."""
    keys = ", ".join(KEYS)
    names = [name for name in COMBINED if name in connection.table("cells").columns]
    several = to_frame(
        _execute(
            connection,
            f"""select run_id, {keys}, repeat, status, {", ".join(names)} from cells
            qualify count(*) over (partition by {keys}) > 1 and repeat is not null order by repeat""",
        ).to_arrow_table()
    )
    connection.execute(f"alter table cells add column {PROCESSES} bigint default 1")
    if several.empty:
        return
    summed = combined(several)
    connection.register("summed", pa.Table.from_pandas(summed, preserve_index=False))
    connection.register("single", pa.Table.from_pandas(several[["run_id"]], preserve_index=False))
    sets = ", ".join(f"{name} = summed.{name}" for name in (PROCESSES, *names))
    connection.execute(
        "delete from cells where run_id in (from single) and run_id not in (select run_id from summed)"
    )
    connection.execute(f"update cells set {sets} from summed where cells.run_id = summed.run_id")


def _connected() -> duckdb.DuckDBPyConnection:
    return sql.connected(f"reports need duckdb and altair: {libraries.command_for('report')}")


def _execute(connection: duckdb.DuckDBPyConnection, query: str, key: str = "query") -> Any:
    return sql.execute(connection, query, key, f": in {' '.join(query.split())}")
