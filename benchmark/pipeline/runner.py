"""The sentence: build and compile what a grid needs, then measure, verify and store it cell by cell."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

from benchmark.cell import MemoryLimits, Plan, PlannedRun
from benchmark.errors import Dominated, RunFailure, Unavailable
from benchmark.execution.forkserver import undisturbed
from benchmark.execution.host_lock import HostLock
from benchmark.execution.stage_calls import stage_calls
from benchmark.pipeline.budget import Ending
from benchmark.pipeline.prepare import Prepared, prepare
from benchmark.pipeline.row_writer import RowWriter
from benchmark.pipeline.services import Services
from benchmark.pipeline.stage_clock import StageClock
from benchmark.protocols import Device
from benchmark.records import Artifact, Workload
from benchmark.stages.build import build
from benchmark.stages.compile import compile_
from benchmark.stages.measure import measure
from benchmark.stages.peak import peak
from benchmark.stages.row import Attempt, row
from benchmark.stages.verify import compare, judge
from benchmark.store.rows_since import RowsSince
from benchmark.timing.roofline import Peak


class DoneElsewhere(Exception):
    """Another command has stored the row of this run since the grid was planned."""


class Pipeline:
    """Gives every run of a plan its row; a failure is a row too, and the grid goes on."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._rows = RowWriter(services.store, services.observer)
        self._rows_since = RowsSince(services.store)
        self._host_lock = HostLock()
        self._prepared: dict[Any, Prepared] = {}
        self._memory_limits = MemoryLimits()
        self._peaks: dict[tuple[Device, str], Peak | None] = {}

    def run(self, plan: Plan, workers: int = 1) -> Ending:
        """Run the queue to its end, or until the user or the budget stops it; compile `workers` at a time.

        Raises:
            KeyboardInterrupt: after the current run has left an `interrupted` row.
        """
        with self._rows:
            for run in plan.refused:
                self._leave(self._attempt(run))
            self._rows.flush()
            self._prepare([run for run in plan.pending if run.cell.experiment.hardware.isolated], workers)
            for run in plan.pending:
                if self._failed_to_prepare(run):
                    continue
                if reason := self._services.budget.stop_reason():
                    return reason
                self._measure_next(run)
        return "done"

    def _prepare(self, runs: Sequence[PlannedRun], workers: int) -> None:
        """Build and compile for all runs; those for which that fails leave their rows at once."""
        groups: dict[Any, list[PlannedRun]] = {}
        for run in runs:
            groups.setdefault(run.artifact_group, []).append(run)
        since, started_at = time.monotonic(), _now()
        for prepared in prepare([group[0] for group in groups.values()], self._services, workers):
            self._services.budget.spend(time.monotonic() - since, prepared.run)
            since = time.monotonic()
            self._prepared[prepared.run.artifact_group] = prepared
            if prepared.failure is None:
                continue
            interrupted = prepared.failure.status == "interrupted"
            for run in [prepared.run] if interrupted else groups[prepared.run.artifact_group]:
                attempt = Attempt(
                    planned=run,
                    started_at=started_at,
                    finished_at=_now(),
                    stage_seconds=prepared.seconds if run is prepared.run else {},
                    workload=prepared.workload,
                    failure=prepared.failure,
                )
                self._store(attempt)  # `prepare` raises KeyboardInterrupt itself, after the last one

    def _failed_to_prepare(self, run: PlannedRun) -> bool:
        prepared = self._prepared.get(run.artifact_group)
        return prepared is not None and prepared.failure is not None

    def _measure_next(self, run: PlannedRun) -> None:
        since = time.monotonic()
        try:
            self._leave(self._attempt(run))
        except DoneElsewhere:
            self._services.observer.skipped(run.run_id, run.cell.label)
        finally:
            self._host_lock.release()  # not earlier: a command that waits for the host looks for the row
            self._services.budget.spend(time.monotonic() - since, run)

    def _attempt(self, run: PlannedRun) -> Attempt:
        """Run one cell; stop at the first stage that fails."""
        clock = StageClock(self._services.observer, run.cell.experiment.hardware.name, run.cell.label)
        attempt = Attempt(planned=run, started_at=_now())
        try:
            with clock.stage("plan"):
                self._refuse(run)
            workload, artifact = self._compiled(run, clock)
            attempt = replace(attempt, workload=workload, artifact=artifact)
            self._take_host(run, clock)
            attempt = replace(attempt, peak=self._peak(run, clock))
            with clock.stage("measure"):
                call = stage_calls(run, self._services.interpreters).measure
                measured = measure(run.cell, workload, artifact, call, run.picture)
            attempt = replace(attempt, measured=measured)
            with clock.stage("verify"):
                quality = compare(workload, measured)
                attempt = replace(attempt, quality=quality)
                judge(run.cell, quality)
        except (RunFailure, KeyboardInterrupt) as error:
            attempt = replace(attempt, failure=clock.failure(error))
        return replace(attempt, finished_at=_now(), stage_seconds=clock.seconds)

    def _refuse(self, run: PlannedRun) -> None:
        if run.refusal:
            raise run.refusal
        if smaller := self._memory_limits.dominate(run.cell, run.environment):
            raise Dominated(smaller)

    def _compiled(self, run: PlannedRun, clock: StageClock) -> tuple[Workload, Artifact]:
        """Workload and artefact: prepared before, or made here on devices that compute nothing."""
        prepared = self._prepared.get(run.artifact_group)
        if prepared is None or prepared.workload is None or prepared.artifact is None:
            calls = stage_calls(run, self._services.interpreters)
            with clock.stage("build"):
                workload = build(run.cell, run.environment, self._services.cache, calls.build)
            with clock.stage("compile"):
                cache = self._services.cache
                return workload, compile_(run.cell, workload, run.environment, cache, calls.compile)
        artifact = prepared.artifact
        if prepared.run is run:
            clock.seconds.update(prepared.seconds)
        elif artifact.cache_hit is False:
            artifact = replace(artifact, cache_hit=True)  # made in this command, but for another run
        return prepared.workload, artifact

    def _take_host(self, run: PlannedRun, clock: StageClock) -> None:
        """Wait until no other command uses this host.

        Raises:
            Unavailable: nothing is to be timed.
            DoneElsewhere: another command has stored the row in the meantime.
        """
        e = run.cell.experiment
        if e.stage == "compile":
            clock.current = "measure"
            why = e.hardware.missing() or "stage=compile; the same without it times it"
            raise Unavailable(f"compiled, not timed: {why}")
        if e.hardware.isolated:
            with clock.stage("wait"):
                self._host_lock.acquire()
                if self._rows_since.has(run.run_id, e.campaign):
                    raise DoneElsewhere

    def _peak(self, run: PlannedRun, clock: StageClock) -> Peak | None:
        """What the run's machine reaches at most: measured once for all runs on it."""
        environment, hardware = run.environment, run.cell.experiment.hardware
        machine = (hardware, environment.environment_id)
        if machine not in self._peaks and hardware.isolated:
            call = stage_calls(run, self._services.interpreters).measure
            with clock.stage("peak"):
                self._peaks[machine] = peak(hardware, environment, self._services.cache, call)
        return self._peaks.get(machine)

    def _leave(self, attempt: Attempt) -> None:
        """Store the row of an attempt.

        Raises:
            KeyboardInterrupt: the attempt was interrupted.
        """
        self._store(attempt)
        if attempt.failure and attempt.failure.status == "interrupted":
            raise KeyboardInterrupt

    def _store(self, attempt: Attempt) -> None:
        run = attempt.planned
        if attempt.failure and attempt.failure.status in {"oom_host", "oom_device"}:
            self._memory_limits.add_run(run)
        computed = run.refusal is None and run.cell.experiment.hardware.isolated
        with undisturbed():
            self._rows.write(row(attempt), at_once=computed)


def _now() -> datetime:
    return datetime.now(timezone.utc)
