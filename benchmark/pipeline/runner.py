"""The sentence: build and compile what a grid needs, then measure, verify and store it cell by cell."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone

from benchmark.cell import CellProcesses, MemoryLimits, Plan, PlannedRun, cell_of
from benchmark.errors import Dominated, RunFailure, Unavailable
from benchmark.execution.forkserver import defer_signals
from benchmark.execution.host_lock import HostLock
from benchmark.execution.stage_calls import stage_calls
from benchmark.labelled.answers import Blocks
from benchmark.labelled.exam import Exam
from benchmark.labelled.scores import table
from benchmark.measurement import Measurement
from benchmark.pipeline.budget import Ending
from benchmark.pipeline.prepare import Preparation
from benchmark.pipeline.row_writer import RowWriter
from benchmark.pipeline.services import Services
from benchmark.pipeline.stage_clock import StageClock, by_accident
from benchmark.protocols import Device
from benchmark.records import Artifact, Workload
from benchmark.serving.replications import Kept
from benchmark.serving_records import CallSize
from benchmark.stages.items import prepare_exam
from benchmark.stages.measure import measure
from benchmark.stages.peak import peak
from benchmark.stages.row import Attempt, row
from benchmark.stages.score import judge_floor, scored
from benchmark.stages.seek import seek
from benchmark.stages.serve import judge_load, serve
from benchmark.stages.train import judge_training, train
from benchmark.stages.verify import compare, judge
from benchmark.store.history import RowsSince
from benchmark.timing.roofline import Peak

Compiled = Mapping[CallSize, tuple[Workload, Artifact]]
"""What a run calls, by the size of the call; that of its cell comes first."""


class DoneElsewhere(Exception):
    """Another command has stored the row of this run since the grid was planned."""


class Pipeline:
    """Gives every run of a plan its row; a failure is a row too, and the grid goes on."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._rows = RowWriter(services.store, services.observer)
        self._rows_since = RowsSince(services.store)
        self._host_lock = HostLock(services.cache.root)
        self._preparation = Preparation(services)
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
            self.prepare(plan.pending, workers)
            for run in plan.pending:
                if self._preparation.failed(run):
                    continue
                if plan.processes.enough(run):
                    self._services.observer.unneeded(run.run_id)
                    continue
                if reason := self._services.budget.stop_reason():
                    return reason
                self._measure_next(run, plan.processes)
        return "done"

    def prepare(self, runs: Sequence[PlannedRun], workers: int) -> None:
        """Build and compile for these runs, `workers` at a time; store the rows of those that fail so."""
        computed = [run for run in runs if run.cell.experiment.hardware.isolated]
        for attempt in self._preparation.run(computed, workers):
            self._store(attempt)

    def _measure_next(self, run: PlannedRun, processes: CellProcesses) -> None:
        since = time.monotonic()
        try:
            attempt = self._attempt(run)
            if by_accident(attempt.failure):  # once more: the server of its child is started again
                attempt = self._attempt(run)
            processes.add(run, attempt.status, attempt.p50_ms)
            self._leave(attempt)
        except DoneElsewhere:
            self._services.observer.skipped(run.run_id)
        finally:
            self._host_lock.release()  # not earlier: a command that waits for the host looks for the row
            self._services.budget.spend(time.monotonic() - since, run)

    def _attempt(self, run: PlannedRun) -> Attempt:
        """Run one cell; stop at the first stage that fails."""
        clock = StageClock(self._services.observer, run.cell.experiment.hardware.name, run.run_id)
        attempt = Attempt(planned=run, started_at=_now())
        try:
            with clock.stage("plan"):
                self._refuse(run)
            workload, artifact = self._preparation.compiled(run, clock)
            attempt = replace(attempt, workload=workload, artifact=artifact)
            self._refuse_to_time(run, clock)
            self._take_host(run, clock)
            attempt = replace(attempt, peak=self._peak(run, clock))
            exam = self._exam(run, workload, artifact, clock)
            attempt = replace(attempt, exam=exam)
            own = next(iter(run.of_calls))
            compiled: Compiled = {own: (workload, artifact), **self._preparation.others(run, clock)}
            run, compiled = self._fastest(run, compiled, clock)
            workload, artifact = _own(compiled)
            attempt = replace(attempt, chosen=run.cell, workload=workload, artifact=artifact)
            with clock.stage("measure"):
                measured = self._measured(run, compiled, exam)
            attempt = replace(attempt, measured=measured)
            with clock.stage("verify"):
                if measured.trained:
                    judge_training(measured.trained)
                quality = compare(workload, measured, run.cell.experiment.compiler.tolerance)
                attempt = replace(attempt, quality=quality, score=scored(run.cell, exam) if exam else None)
                judge(run.cell, quality)
                if measured.served:
                    judge_load(measured.served)
                judge_floor(attempt.score)
        except (RunFailure, KeyboardInterrupt) as error:
            attempt = replace(attempt, failure=clock.failure(error))
        return replace(attempt, finished_at=_now(), stage_seconds=clock.finished())

    def _exam(
        self, run: PlannedRun, workload: Workload, artifact: Artifact, clock: StageClock
    ) -> Exam | None:
        """The items that a labelled scenario answers."""
        if not run.cell.experiment.scenario.labelled:
            return None
        call, cache = stage_calls(run, self._services.interpreters).build, self._services.cache
        with clock.stage("items"):
            return prepare_exam(run.cell, run.environment, workload, artifact, cache, call, run.answers)

    def _fastest(self, run: PlannedRun, compiled: Compiled, clock: StageClock) -> tuple[PlannedRun, Compiled]:
        """The run with the fastest of its scenario's variants and batches, where there are several."""
        e = run.cell.experiment
        variants = e.scenario.variants(e.hardware.facts().cores)
        if not variants:
            return run, compiled
        call = stage_calls(run, self._services.interpreters).measure
        with clock.stage("seek"):
            by_batch = {size.room: made for size, made in compiled.items()}
            best = seek(run.of_sizes, variants, by_batch, call)
        of_batch = run.of_sizes[best.size].cell
        cell = cell_of(replace(of_batch.experiment, scenario=variants[best.variant]))
        return replace(run, cell=cell), {CallSize(best.size): by_batch[best.size]}

    def _measured(self, run: PlannedRun, compiled: Compiled, exam: Exam | None) -> Measurement:
        """Train, load with requests, or call what was compiled, by the requests that one call answers."""
        call = stage_calls(run, self._services.interpreters).measure
        workload, artifact = _own(compiled)
        if run.cell.experiment.scenario.training:
            return train(run.cell, workload, call, run.checkpoint)
        if run.cell.experiment.scenario.serving:
            return serve(run.cell, compiled, call, run.loads)
        return measure(run.cell, workload, artifact, call, run.picture, exam)

    def _refuse(self, run: PlannedRun) -> None:
        if run.refusal:
            raise run.refusal
        if smaller := self._memory_limits.dominate(run.cell, run.environment):
            raise Dominated(smaller)

    @staticmethod
    def _refuse_to_time(run: PlannedRun, clock: StageClock) -> None:
        e = run.cell.experiment
        if e.stage == "compile":
            clock.current = "measure"
            why = e.hardware.missing() or "stage=compile; the same without it times it"
            raise Unavailable(f"compiled, not timed: {why}")

    def _take_host(self, run: PlannedRun, clock: StageClock) -> None:
        """Wait until no other command uses this host.

        Raises:
            DoneElsewhere: another command has stored the row in the meantime.
        """
        e = run.cell.experiment
        if e.hardware.isolated:
            with clock.stage("wait"):
                self._host_lock.acquire(e.campaign, clock.waiting)
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
        if attempt.failure and attempt.failure.status == "interrupted" and not by_accident(attempt.failure):
            raise KeyboardInterrupt

    def _store(self, attempt: Attempt) -> None:
        run = attempt.planned
        if attempt.failure and attempt.failure.status in {"oom_host", "oom_device"}:
            self._memory_limits.add_run(run)
        computed = run.refusal is None and run.cell.experiment.hardware.isolated
        with defer_signals():
            if attempt.score:
                self._services.store.keep_answers(run.run_id, table(attempt.score))
            loads = Kept(run.loads)
            if (requests := loads.table()) is not None:
                self._services.store.keep_loads(run.run_id, requests)
            self._rows.write(row(attempt), at_once=computed)
            if attempt.score and attempt.exam:
                Blocks(attempt.exam.blocks).discard()
            if attempt.status != "interrupted":
                loads.discard()
        self._rows.compact_if_due()


def _own(compiled: Compiled) -> tuple[Workload, Artifact]:
    """What was compiled for the cell itself."""
    return next(iter(compiled.values()))


def _now() -> datetime:
    return datetime.now(timezone.utc)
