"""What a grid reads from stored rows: finished cells and cells that ran out of memory.

A store that doesn't exist yet gives empty answers. `RowsSince` finds rows that other commands add meanwhile,
so that two commands can share the cells of one campaign.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmark.records import Exhausted
from benchmark.store.results import ResultsStore
from benchmark.store.selection import OWN

_UNDECIDED = ("interrupted", "unavailable", "dominated")
"""Statuses of cells that did not run to their end."""
_ROW_COLUMNS = ("run_id", "status", "sequence")
_OUT_OF_MEMORY = ("oom_host", "oom_device")


def fresh(
    store: ResultsStore, environment_ids: Collection[str]
) -> dict[tuple[str, str, int], tuple[str, str]]:
    """Newest row by cell_id, environment_id and repeat, of any campaign: its run_id and status.

    Rows of cells that did not run to their end are skipped, so that an older row counts.

    Raises:
        StoreError: the store can't be read.
    """
    if not store.exists:
        return {}
    rows = _rows(store, environment_ids, "repeat")
    rows = rows.filter(pc.invert(_is_any(rows["status"], _UNDECIDED)))
    runs = zip(_texts(rows["run_id"]), _texts(rows["status"]), strict=True)
    repeats = rows["repeat"].to_pylist()
    cells = ((*cell, repeat or 0) for cell, repeat in zip(_cells(rows), repeats, strict=True))
    return dict(zip(cells, runs, strict=True))  # oldest first: the newest stays


def p50s(store: ResultsStore, run_ids: Collection[str]) -> dict[str, float]:
    """Median latencies in ms of the runs that have one.

    Raises:
        StoreError: the store can't be read.
    """
    rows = store.of_runs(run_ids, ["run_id", "latency_p50_ms"]).to_pylist() if run_ids else []
    return {row["run_id"]: row["latency_p50_ms"] for row in rows if row["latency_p50_ms"] is not None}


def exhausted(store: ResultsStore, environment_ids: Collection[str]) -> tuple[Exhausted, ...]:
    """Rows that ran out of memory, oldest first, without those that have a newer ok row of the same cell.

    Raises:
        StoreError: the store can't be read.
    """
    if not store.exists:
        return ()
    rows = _rows(store, environment_ids, "family_id", "batch_size", "sequence_length")
    rows = rows.append_column("place", pa.array(np.arange(len(rows))))
    known = pc.and_(pc.is_valid(rows["family_id"]), pc.is_valid(rows["batch_size"]))
    failed = rows.filter(pc.and_(_is_any(rows["status"], _OUT_OF_MEMORY), known))
    fitted = rows.filter(
        pc.and_(pc.equal(rows["status"], "ok"), pc.is_in(rows["cell_id"], failed["cell_id"]))
    )
    last_ok = dict(zip(_cells(fitted), fitted["place"].to_pylist(), strict=True))
    lasting = [
        row
        for row in failed.to_pylist()
        if last_ok.get((row["cell_id"], row["environment_id"]), -1) < row["place"]
    ]
    if not lasting:
        return ()
    limits = _memory_limits(store, [row["run_id"] for row in lasting])
    columns = ("family_id", "environment_id", "batch_size", "sequence_length", "run_id")
    return tuple(
        Exhausted(memory_gib=limits.get(row["run_id"]), **{name: row[name] for name in columns})
        for row in lasting
    )


def _rows(store: ResultsStore, environment_ids: Collection[str], *more: str) -> pa.Table:
    here = pc.field("environment_id").isin(pa.array(list(environment_ids), pa.string()))
    return store.table(["run_id", "cell_id", "environment_id", "status", *more], among=here & OWN)


def _memory_limits(store: ResultsStore, run_ids: Collection[str]) -> dict[str, float | None]:
    """Memory limit of each run, by its configuration."""
    found = store.of_runs(run_ids, ["run_id", "config"])
    configs = (json.loads(text or "{}") for text in _texts(found["config"]))
    limits = [config.get("limits", {}).get("memory_gib") for config in configs]
    return dict(zip(_texts(found["run_id"]), limits, strict=True))


def _cells(rows: pa.Table) -> Iterator[tuple[str, str]]:
    return zip(_texts(rows["cell_id"]), _texts(rows["environment_id"]), strict=True)


def _is_any(column: pa.ChunkedArray, values: Collection[str]) -> pa.ChunkedArray:
    return pc.is_in(column, pa.array(list(values)))


def _texts(column: pa.ChunkedArray) -> list[Any]:
    texts: list[Any] = column.to_numpy().tolist()
    return texts


class RowsSince:
    """Rows that other processes added since creation."""

    def __init__(self, store: ResultsStore) -> None:
        self._store = store
        self._since = store.highest_sequence()
        self._parts = store.parts()
        self._merged: set[str] = set()

    def has(self, run_id: str, campaign: str) -> bool:
        """Whether a run has a row since then, other than an `interrupted` one."""
        if self._store.has_run(run_id) and self._runs_since([run_id], campaign):
            return True
        if (parts := self._store.parts()) != self._parts:  # another process merged files
            self._parts, self._merged = parts, self._runs_since(None, campaign)
        return run_id in self._merged

    def _runs_since(self, run_ids: list[str] | None, campaign: str) -> set[str]:
        if run_ids is None:
            rows = self._store.table(_ROW_COLUMNS, among=pc.field("campaign") == campaign)
        else:
            rows = self._store.of_runs(run_ids, _ROW_COLUMNS, campaign)
        return {
            row["run_id"]
            for row in rows.to_pylist()
            if (row["sequence"] or 0) > self._since and row["status"] != "interrupted"
        }
