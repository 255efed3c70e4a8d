"""The state of a grid while it runs: for the screen, and as a file for a second terminal.

Nothing here ticks: the state is looked at when a cell enters a stage or leaves its row, and in between,
while a child measures, this process sleeps.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from benchmark.cell import Plan, PlannedRun
from benchmark.pipeline.budget import BudgetTracker, Ending
from benchmark.records import Row

_FILE_EVERY_S = 0.5
_LAST_FAILURES = 20


@dataclass
class Busy:
    """What a device or a compile worker is at."""

    label: str
    stage: str
    since: float


class Live:
    """Counts what happens to a grid, and guesses how long the rest takes."""

    def __init__(
        self, plan: Plan, seconds: Callable[[PlannedRun], float | None], budget: BudgetTracker, file: Path
    ) -> None:
        self.plan, self.budget = plan, budget
        self.statuses: Counter[str] = Counter()
        self.busy: dict[str, Busy] = {}
        self.failures: list[str] = []
        self.elsewhere = 0
        """Cells that other commands did meanwhile."""
        self._file = file
        self._lock = threading.RLock()
        self._guessed = {run.run_id: seconds(run) if run.fate == "run" else 0.0 for run in plan.queue}
        self._unknown = sum(guess is None for guess in self._guessed.values())
        self._known_s = sum(guess for guess in self._guessed.values() if guess is not None)
        self._taken_s, self._timed = 0.0, 0
        self._last = self._started = time.time()
        self._written = 0.0

    @property
    def finished_cells(self) -> int:
        """Cells that have their row since this command began."""
        return self.statuses.total() + self.elsewhere

    @property
    def eta_s(self) -> float | None:
        """Seconds the rest will take, by medians of the store, else by the mean of this command's cells."""
        if not self._unknown:
            return self._known_s
        if not self._timed:
            return None
        return self._known_s + self._unknown * self._taken_s / self._timed

    @contextmanager
    def working(self, where: str, label: str, stage: str) -> Iterator[None]:
        """A cell is in a stage while the block lasts."""
        with self._lock:
            self.busy[where] = Busy(label, stage, time.time())
            self.changed()
        try:
            yield
        finally:
            with self._lock:
                self.busy.pop(where, None)

    def finished(self, row: Row) -> None:
        """Count a cell that has left its row."""
        with self._lock:
            now = time.time()
            self.statuses[row.status] += 1
            self._no_longer_ahead(row.run_id)
            if row.values.get("samples"):
                self._taken_s += now - self._last
                self._timed += 1
            self._last = now
            if row.status not in {"ok", "incompatible"}:
                reason = str(row.values["error"]).partition("\n")[0]
                self.failures.append(f"{row.status} at {row.values['stage']}: {reason}")
                del self.failures[:-_LAST_FAILURES]
            self.changed()

    def skipped(self, run_id: str) -> None:
        """Count a cell that another command has done."""
        with self._lock:
            self.elsewhere += 1
            self._no_longer_ahead(run_id)
            self._last = time.time()
            self.changed()

    def _no_longer_ahead(self, run_id: str) -> None:
        guess = self._guessed.pop(run_id, 0.0)
        self._unknown -= guess is None
        self._known_s = max(0.0, self._known_s - (guess or 0.0))

    def changed(self) -> None:
        """Write the file if it hasn't been written for a while; a drawing of the state redraws here."""
        if time.monotonic() - self._written >= _FILE_EVERY_S:
            self.write("running")

    def write(self, state: Ending | str) -> None:
        """Write the file, whole or not at all; a full disk must not end a grid."""
        self._written = time.monotonic()
        with suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            fresh = self._file.with_suffix(".tmp")
            fresh.write_text(json.dumps(self.document(state), indent=1) + "\n", encoding="utf-8")
            fresh.replace(self._file)

    def document(self, state: str) -> dict[str, Any]:
        """The state as `progress.json` has it; times are seconds or ISO 8601."""
        first = self.plan.runs[0].cell.experiment
        with self._lock:
            return {
                "campaign": first.campaign,
                "state": state,
                "pid": os.getpid(),
                "hostname": socket.gethostname(),
                "started_at": _iso(self._started),
                "updated_at": _iso(time.time()),
                "cells": len(self.plan.runs),
                "done_before": len(self.plan.runs) - len(self.plan.queue),
                "excluded": len(self.plan.excluded),
                "finished": self.finished_cells,
                "remaining": len(self.plan.queue) - self.finished_cells,
                "done_elsewhere": self.elsewhere,
                "statuses": dict(self.statuses),
                "busy": [
                    {"where": where, "cell": at.label, "stage": at.stage, "since": _iso(at.since)}
                    for where, at in sorted(self.busy.items())
                ],
                "eta_s": self.eta_s,
                "hours": round(self.budget.hours, 4),
                "usd": self.budget.usd,
                "budget_hours": self.budget.limits.hours,
                "budget_usd": self.budget.limits.usd,
                "order": first.sampling.order,
                "order_seed": first.sampling.order_seed,
                "last_failures": list(self.failures),
                "store": first.store_root,
            }


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, timezone.utc).isoformat(timespec="seconds")
