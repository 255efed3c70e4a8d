"""Bring the rows of a grid to the store, and keep the number of its files bounded."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Final

from typing_extensions import Self

from benchmark.execution.forkserver import defer_signals
from benchmark.host import memory
from benchmark.protocols import Observer
from benchmark.records import Row
from benchmark.store.results import ResultsStore

_MOST_WAITING: Final = 100
_LONGEST_WAIT_S: Final = 0.5
COMPACT_EVERY: Final = 1000
"""Rows after which their files are merged."""


class RowWriter:
    """Stores measured rows at once; rows without a measurement wait a moment and share a file."""

    def __init__(self, store: ResultsStore, observer: Observer) -> None:
        self._store, self._observer = store, observer
        self._waiting: list[Row] = []
        self._waiting_since = 0.0
        self._since_compaction = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.flush()

    def write(self, row: Row, *, at_once: bool) -> None:
        """Store a row now, or together with the next ones. Defer signals around it: none may lose a row."""
        now = time.monotonic()
        if not self._waiting:
            self._waiting_since = now
        self._waiting.append(row)
        full = len(self._waiting) >= _MOST_WAITING or now - self._waiting_since >= _LONGEST_WAIT_S
        if at_once or full:
            self.flush()

    def flush(self) -> None:
        """Store the rows that wait."""
        if not self._waiting:
            return
        with defer_signals():
            rows, self._waiting = self._waiting, []
            self._store.append(*rows)
            for row in rows:
                self._observer.finished(row)
            self._since_compaction += len(rows)

    def compact_if_due(self) -> None:
        """Merge the files of rows, if there are many. It may be interrupted: it loses and doubles nothing."""
        if self._since_compaction >= COMPACT_EVERY:
            self._since_compaction = 0
            self._store.compact(thorough=False)
            memory.give_back()
