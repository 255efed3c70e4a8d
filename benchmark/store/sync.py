"""Copy rows between two stores, both ways, so that each has the newest row of every run."""

from __future__ import annotations

from datetime import datetime
from typing import Final, NamedTuple

import pyarrow.compute as pc

from benchmark.errors import StoreError
from benchmark.records import Row
from benchmark.store.results import ResultsStore

_BATCH: Final = 500
"""Rows that share a file."""
Attempt = tuple[datetime, datetime, str]
"""End, start and status: the same in two rows of one attempt; the later one is the greater."""


class Synced(NamedTuple):
    """How many rows were copied."""

    to_first: int
    to_second: int


def sync(first: ResultsStore, second: ResultsStore) -> Synced:
    """Give each store the newest row of every run of the other, with answers, loads and nightly findings.

    Of two attempts of a run the one that finished later is newer. Stores that are the same stay as they are.

    Raises:
        StoreError: neither store exists, or one can't be read or written.
        BucketError: likewise, of a bucket.
    """
    stores = (first, second)
    if not any(store.exists for store in stores):
        raise StoreError(f"no results at {first.name} nor at {second.name}: name a store that has some")
    for store in stores:
        store.prepare()
    known = [_attempts(store) for store in stores]
    of_first, of_second = (_newer(*known), _newer(*known[::-1]))
    return Synced(to_first=_copy(second, first, of_second), to_second=_copy(first, second, of_first))


def _attempts(store: ResultsStore) -> dict[str, Attempt]:
    rows = store.table(["run_id", "finished_at", "started_at", "status"]).to_pylist()
    return {row["run_id"]: (row["finished_at"], row["started_at"], row["status"]) for row in rows}


def _newer(mine: dict[str, Attempt], its: dict[str, Attempt]) -> list[str]:
    """Runs of which one store has a newer attempt than the other, or the only one."""
    return [run for run, attempt in mine.items() if run not in its or attempt > its[run]]


def _copy(source: ResultsStore, target: ResultsStore, runs: list[str]) -> int:
    """Append these runs' rows, in the order in which the source has them."""
    campaigns = set[str]()
    for start in range(0, len(runs), _BATCH):
        rows = source.of_runs(runs[start : start + _BATCH])
        campaigns |= {*pc.unique(rows["campaign"]).to_pylist()}
        has_more = pc.or_kleene(pc.is_valid(rows["items_hash"]), pc.equal(rows["scenario"], "server"))
        for run_id in rows.filter(has_more)["run_id"].to_pylist():
            source.copy_beside(run_id, target)
        target.append(*(Row(values=_values(row)) for row in rows.to_pylist()))
    for campaign in campaigns:
        if (found := source.findings(campaign)) and target.findings(campaign) is None:
            target.keep_findings(campaign, found)
    return len(runs)


def _values(row: dict[str, object]) -> dict[str, object]:
    """A row without what each store gives anew."""
    return {name: value for name, value in row.items() if name not in {"schema_version", "sequence"}}
