"""Time that the rest of a grid takes: the forecast, corrected by what its cells take.

An event costs the same, however large the grid is.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Hashable
from statistics import median

from benchmark.cell import Plan, PlannedRun
from benchmark.pipeline.estimate import Forecast
from benchmark.records import Row
from benchmark.store.durations import work_and_start

_LATEST = 21
"""Runs whose waits say how long the next ones wait."""


class _Ratio:
    """Seconds that things took over their estimates; to begin with, one that took what was estimated."""

    def __init__(self, usual_s: float) -> None:
        self._took_s = self._estimated_s = usual_s

    def add(self, took_s: float, estimated_s: float) -> None:
        self._took_s += took_s
        self._estimated_s += estimated_s

    @property
    def value(self) -> float:
        return self._took_s / self._estimated_s if self._estimated_s else 1.0


class TimeLeft:
    """Seconds until a grid has all its rows, kept up to date with its events."""

    def __init__(self, plan: Plan, ahead: Forecast, workers: int, timed_at_once: int = 1) -> None:
        """`timed_at_once`: runs that are timed at the same time, each on a host of its own."""
        self.ahead = ahead._replace(measure_s=ahead.measure_s / timed_at_once)
        self._timed_at_once = timed_at_once
        self._workers = workers
        self._making = {run_id: one.seconds for run_id, one in ahead.making.items()}
        self._making_s = sum(self._making.values())
        self._shares = dict(ahead.shares)
        self._left_s = sum(share * ahead.runs[run_id].seconds for run_id, share in self._shares.items())
        self._runs = {run.run_id: run for run in plan.queue if run.run_id in self._shares}
        self._cells: dict[Hashable, list[PlannedRun]] = defaultdict(list)
        for run in self._runs.values():
            self._cells[run.processes_of].append(run)
        self._work = _Ratio(self._left_s / max(1, len(self._runs)))
        self._made = _Ratio(self._making_s / max(1, len(self._making)))
        self._waits: deque[float] = deque(maxlen=_LATEST)
        self._processes = sum(self._shares.values())

    @property
    def seconds(self) -> float:
        """From now on. Other commands are expected to hold the host as long as before."""
        making_s = self._made.value * self._making_s / max(1, min(self._workers, len(self._making)))
        waits_s = median(self._waits) * self._processes if self._waits else 0.0
        return max(0.0, making_s + (self._work.value * self._left_s + waits_s) / self._timed_at_once)

    def of(self, run_id: str) -> float:
        """Seconds of these that this run takes."""
        if run_id in self._making:
            return self._made.value * self._making[run_id]
        estimate = self.ahead.runs.get(run_id)
        return self._work.value * self._shares.get(run_id, 0.0) * estimate.seconds if estimate else 0.0

    def made(self, run_id: str, seconds: float) -> None:
        """Something was built and compiled for this run and those that share it."""
        if run_id in self._making:
            estimated_s = self._making.pop(run_id)
            self._making_s -= estimated_s
            self._made.add(seconds, estimated_s)

    def begun(self, run_id: str) -> None:
        """A process begins to measure. If it wasn't expected, its cell may need still more."""
        self._making.clear()  # all that is needed is prepared before
        self._making_s = 0.0
        if self._shares.get(run_id, 1.0) < 1.0:
            run = self._runs[run_id]
            middle = math.sqrt((run.repeat + 1) * run.cell.experiment.sampling.repeats)
            for other in self._cells[run.processes_of]:
                if other.repeat >= run.repeat:
                    self._set(other.run_id, min(1.0, max(0.0, middle - other.repeat)))

    def finished(self, row: Row, waited_s: float) -> None:
        """The run has its row, after waiting so long for the host."""
        estimate = self.ahead.runs.get(row.run_id)
        if estimate and row.values.get("samples"):
            work_s, _ = work_and_start(dict(row.values.get("stage_seconds") or ()))
            self._work.add(work_s, estimate.work_s)
            self._waits.append(waited_s)
        self.dropped(row.run_id)

    def dropped(self, run_id: str) -> None:
        """The run leaves no row of this command."""
        self._making_s -= self._making.pop(run_id, 0.0)
        if run_id in self._shares:
            self._set(run_id, 0.0)
            del self._shares[run_id]

    def unneeded(self, run_id: str) -> None:
        """The cell of this run needs no further process."""
        for run in self._cells[self._runs[run_id].processes_of] if run_id in self._runs else ():
            self.dropped(run.run_id)

    def _set(self, run_id: str, share: float) -> None:
        if run_id in self._shares:
            change = share - self._shares[run_id]
            self._shares[run_id] = share
            self._processes += change
            self._left_s += change * self.ahead.runs[run_id].seconds
