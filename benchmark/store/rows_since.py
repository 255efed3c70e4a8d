"""Rows that other commands add to a campaign while a grid runs: so two commands share its cells."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import pyarrow.dataset as ds

from benchmark.store.results import ResultsStore

_COLUMNS = ("run_id", "status", "finished_at")


class RowsSince:
    """What has changed in a store since this was made; on a URL nobody looks: cells may run twice there."""

    def __init__(self, store: ResultsStore) -> None:
        self._store = store
        self._since = datetime.now(timezone.utc)
        self._parts: frozenset[Path] = self._now()
        self._merged: set[str] = set()

    def has(self, run_id: str, campaign: str) -> bool:
        """Whether a run has left a row since, other than `interrupted`."""
        if not self._store.is_local:
            return False
        if self._store.paths.run(run_id).exists() and self._left([run_id], campaign):
            return True
        if (parts := self._now()) != self._parts:  # merged since, by whomever
            self._parts, self._merged = parts, self._left(None, campaign)
        return run_id in self._merged

    def _left(self, run_ids: list[str] | None, campaign: str) -> set[str]:
        if run_ids is None:
            rows = self._store.table(_COLUMNS, among=ds.field("campaign") == campaign)
        else:
            rows = self._store.of_runs(run_ids, _COLUMNS, campaign)
        return {
            row["run_id"]
            for row in rows.to_pylist()
            if row["finished_at"] >= self._since and row["status"] != "interrupted"
        }

    def _now(self) -> frozenset[Path]:
        return frozenset(self._store.paths.root.glob("part-*.parquet"))
