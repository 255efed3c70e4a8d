"""State of a grid while it runs: for the screen, and as a file for `status` in a second terminal.

There is no timer: the state changes when a cell enters a stage or gets its row. In between, while a child
measures, this process sleeps.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from benchmark.cell import Plan
from benchmark.host import machine
from benchmark.paths import CampaignPaths
from benchmark.pipeline.budget import BudgetTracker, Ending
from benchmark.pipeline.time_left import TimeLeft
from benchmark.records import Row
from benchmark.redaction import without_secrets

_FILE_EVERY_S = 0.5
_LASTING = frozenset({"build", "compile", "peak", "measure"})
"""Stages that last, once the run has the host: nothing else happens meanwhile."""
_STALE_S = 7 * 24 * 3600
"""Age at which the state of a command on another host counts as that of a stopped one."""
_LAST_FAILURES = 20


@dataclass
class Busy:
    """A cell that a device or a compile worker works on."""

    label: str
    stage: str
    since: float
    run_id: str
    holder: str = ""
    """Which command has the host, while the cell waits for it."""

    @property
    def work(self) -> str:
        """The stage, and what it waits for."""
        return f"{self.stage} for the host: {self.holder}" if self.holder else self.stage


class GridProgress:
    """Counts the finished cells of a grid, and the time that is left."""

    def __init__(
        self,
        plan: Plan,
        time_left: TimeLeft,
        budget: BudgetTracker,
        paths: CampaignPaths,
        labels: Mapping[str, str],
    ) -> None:
        """`labels` has a name for each run of the queue, by run_id."""
        self.labels = labels
        self.plan, self.budget, self.paths = plan, budget, paths
        self.time_left = time_left
        self.statuses: Counter[str] = Counter()
        self.busy: dict[str, Busy] = {}
        self.failures: list[str] = []
        self.wait_s = 0.0
        """Seconds in which a cell waited for the host; several at a time count once."""
        self.retries_s = 0.0
        """Seconds of noisy attempts that were discarded."""
        self.elsewhere = 0
        """Runs that other commands finished meanwhile."""
        self.unneeded_runs = 0
        """Runs whose cells needed no further process."""
        self._file = paths.progress(socket.gethostname(), os.getpid())
        self._process_started_s = machine.process_started_s(os.getpid())
        self._lock = threading.RLock()
        self._waiters, self._waiting_since, self._waited_before_s = 0, 0.0, 0.0
        self._making_s: dict[str, float] = {}
        self._on_host: set[str] = set()
        """Runs that have, or wait for, the host; before, only the cache is looked at."""
        self._started = time.time()
        self._written = 0.0

    @property
    def finished_cells(self) -> int:
        """Cells that got their row since this command started."""
        return self.statuses.total() + self.elsewhere + self.unneeded_runs

    @contextmanager
    def working(self, where: str, run_id: str, stage: str) -> Iterator[None]:
        """Show a cell in a stage while the block runs."""
        began = time.time()
        with self._lock:
            self.busy[where] = Busy(self.labels[run_id], stage, began, run_id)
            if stage == "wait":
                self._on_host.add(run_id)
                self._waiters += 1
                self._waiting_since = began if self._waiters == 1 else self._waiting_since
            elif stage == "measure":
                self.time_left.begun(run_id)
            self.changed(at_once=stage in _LASTING and run_id in self._on_host)
        try:
            yield
        finally:
            with self._lock:
                self.busy.pop(where, None)
                self._ended(run_id, stage, time.time() - began)

    def _ended(self, run_id: str, stage: str, seconds: float) -> None:
        if stage == "wait":
            self._waiters -= 1
            self.wait_s += 0 if self._waiters else time.time() - self._waiting_since
        elif stage in {"build", "compile"} and run_id in self._on_host:
            self._making_s[run_id] = self._making_s.get(run_id, 0.0) + seconds
            if stage == "compile":
                self.time_left.made(run_id, self._making_s.pop(run_id))

    def waiting(self, where: str, run_id: str, holder: str) -> None:
        """Show which command a cell waits for."""
        with self._lock:
            since = self.busy[where].since if where in self.busy else time.time()
            self.busy[where] = Busy(self.labels[run_id], "wait", since, run_id, holder)
            self.changed(at_once=True)

    def finished(self, row: Row) -> None:
        """Count a cell that has its row."""
        with self._lock:
            self.statuses[row.status] += 1
            self.retries_s += dict(row.values.get("stage_seconds") or ()).get("measure.retries", 0.0)
            self.time_left.finished(row, self.wait_s - self._waited_before_s)
            self._waited_before_s = self.wait_s
            if row.status not in {"ok", "incompatible"}:
                reason = str(row.values["error"]).partition("\n")[0]
                self.failures.append(f"{row.status} at {row.values['stage']}: {reason}")
                del self.failures[:-_LAST_FAILURES]
            self.changed()

    def skipped(self, run_id: str) -> None:
        """Count a cell that another command has finished."""
        with self._lock:
            self.elsewhere += 1
            self.time_left.dropped(run_id)
            self.changed()

    def unneeded(self, run_id: str) -> None:
        """Count a run whose cell needs no further process."""
        with self._lock:
            self.unneeded_runs += 1
            self.time_left.unneeded(run_id)
            self.changed()

    def changed(self, *, at_once: bool = False) -> None:
        """Write the file: at once, or unless it was written less than half a second ago.

        What isn't written is followed by what is, within that time: a stage that lasts, or the end.
        """
        if at_once or time.monotonic() - self._written >= _FILE_EVERY_S:
            self.write("running")

    def write(self, state: Ending | str) -> None:
        """Write the file, whole or not at all; a full disk must not end a grid."""
        self._written = time.monotonic()
        with suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            fresh = self._file.with_suffix(".tmp")  # of this process alone, as the file
            text = json.dumps(self.document(state), indent=1)
            fresh.write_text(without_secrets(text) + "\n", encoding="utf-8")
            fresh.replace(self._file)

    def finish(self, ending: Ending) -> None:
        """Write the last state, and remove older files of commands that have ended."""
        self.write(ending)
        files = self.paths.all_progress
        for file in files[: files.index(self._file)] if self._file in files else ():
            with suppress(OSError, ValueError):
                if read_state(file)["state"] != "running":
                    file.unlink()

    def document(self, state: str) -> dict[str, Any]:
        """The state as the file has it; times are seconds or ISO 8601."""
        first = self.plan.runs[0].cell.experiment
        with self._lock:
            busy = {at.run_id for at in self.busy.values() if not at.holder}
            return {
                "campaign": first.campaign,
                "state": state,
                "pid": os.getpid(),
                "process_started_s": self._process_started_s,
                "hostname": socket.gethostname(),
                "started_at": _iso(self._started),
                "updated_at": _iso(time.time()),
                "cells": len(self.plan.of_cells),
                "processes": len(self.plan.runs),
                "done_before": len(self.plan.runs) - len(self.plan.queue),
                "excluded": len(self.plan.excluded),
                "finished": self.finished_cells,
                "remaining": len(self.plan.queue) - self.finished_cells,
                "done_elsewhere": self.elsewhere,
                "statuses": dict(self.statuses),
                "busy": [
                    {
                        "where": where,
                        "cell": at.label,
                        "stage": at.stage,
                        "since": _iso(at.since),
                        "holder": at.holder or None,
                    }
                    for where, at in sorted(self.busy.items())
                ],
                "eta_s": (left_s := self.time_left.seconds),
                "eta_after_busy_s": max(0.0, left_s - sum(map(self.time_left.of, busy))),
                "hours": round(self.budget.hours, 4),
                "wait_s": round(self.wait_s, 3),
                "retries_s": round(self.retries_s, 3),
                "usd": self.budget.usd,
                "budget_hours": self.budget.limits.hours,
                "budget_usd": self.budget.limits.usd,
                "order": first.sampling.order,
                "order_seed": first.sampling.order_seed,
                "last_failures": list(self.failures),
                "store": first.store_root,
            }


def read_state(file: Path) -> dict[str, Any]:
    """The state that a command wrote; one that ended without writing so is `stopped`.

    Raises:
        OSError, ValueError: the file is gone, or isn't one of these.
    """
    state: dict[str, Any] = json.loads(file.read_bytes())
    if state["state"] == "running":
        if state["hostname"] == socket.gethostname():
            is_alive = machine.is_running(state["pid"], state.get("process_started_s"))
        else:
            is_alive = time.time() - file.stat().st_mtime < _STALE_S
        state["state"] = "running" if is_alive else "stopped"
    return state


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, timezone.utc).isoformat(timespec="seconds")
