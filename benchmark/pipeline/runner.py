"""The sentence: what a grid needs is built and compiled, then each cell is measured, verified and stored."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

from benchmark.cache.compile_cache import CompileCache
from benchmark.cell import Plan, PlannedRun
from benchmark.errors import Dominated, RunFailure, Unavailable
from benchmark.execution.forkserver import undisturbed
from benchmark.execution.host_lock import HostLock
from benchmark.execution.interpreters import Interpreters
from benchmark.measurement import Measurement
from benchmark.pipeline.budget import BudgetTracker, Ending
from benchmark.pipeline.prepare import Prepared, StageClock, calls_of, log_of, picture_of, prepare
from benchmark.protocols import Device, Observer
from benchmark.records import Row
from benchmark.stages.build import build
from benchmark.stages.compile import compile_
from benchmark.stages.measure import measure
from benchmark.stages.peak import peak
from benchmark.stages.plan import MemoryLimits, artifact_group
from benchmark.stages.row import Attempt, row
from benchmark.stages.verify import compare, judge
from benchmark.store.history import Exhausted
from benchmark.store.results import ResultsStore
from benchmark.store.rows_since import RowsSince
from benchmark.timing.roofline import Peak

_MOST_HELD, _LONGEST_HELD_S = 100, 0.5
"""So many rows of which nothing was measured, or for so long, wait for the file they share."""
COMPACT_EVERY = 1000
"""Rows after which their files are merged, so that no folder grows with its grid."""


class DoneElsewhere(Exception):
    """Another command has left the row of this run since the grid was planned."""


class Pipeline:
    """Gives every cell of a queue its row; a failure is a row too, and the grid goes on."""

    def __init__(
        self,
        store: ResultsStore,
        cache: CompileCache,
        interpreters: Interpreters,
        observer: Observer,
        budget: BudgetTracker,
    ) -> None:
        self._store, self._cache, self._interpreters = store, cache, interpreters
        self._observer, self._brake = observer, budget
        self._lease = HostLock()
        self._ready: dict[Any, Prepared] = {}
        self._exhausted = MemoryLimits()
        self._meanwhile = RowsSince(store)
        self._peaks: dict[tuple[Device, str], Peak | None] = {}
        self._rows = 0
        self._held: list[Row] = []
        self._held_since: float | None = None

    def run(self, plan: Plan, workers: int = 1) -> Ending:
        """Work through the queue until it is empty or the brake is pulled.

        Raises:
            KeyboardInterrupt: after the current cell has left an `interrupted` row.
        """
        try:
            return self._run(plan, workers)
        finally:
            self._flush()

    def _run(self, plan: Plan, workers: int) -> Ending:
        for planned in plan.queue:
            if planned.refusal:
                self._leave(self._attempt(planned))
        self._flush()
        self._prepare(
            [run for run in plan.queue if run.fate == "run" and run.cell.experiment.hardware.isolated],
            workers,
        )
        for planned in plan.queue:
            if planned.refusal or self._has_failed(planned):
                continue
            if reason := self._brake.reason():
                return reason
            since = time.monotonic()
            try:
                self._leave(self._attempt(planned))
            except DoneElsewhere:
                self._observer.skipped(planned.run_id, planned.cell.label)
            finally:
                self._lease.release()  # not before the row is there: who waits for the host looks for it
                self._brake.spend(time.monotonic() - since, planned)
        return "done"

    def _prepare(self, runs: Sequence[PlannedRun], workers: int) -> None:
        """Build and compile for all; cells that can't be brought further leave their rows at once."""
        members: dict[Any, list[PlannedRun]] = {}
        for run in runs:
            members.setdefault(artifact_group(run), []).append(run)
        since = time.monotonic()
        firsts = [group[0] for group in members.values()]
        for prepared in prepare(
            firsts, self._cache, self._interpreters, self._observer, self._brake, workers
        ):
            group = artifact_group(prepared.run)
            self._brake.spend(time.monotonic() - since, prepared.run)
            since = time.monotonic()
            self._ready[group] = prepared
            if prepared.failure and prepared.failure.status == "interrupted":
                self._store_row(self._attempt(prepared.run))  # prepare raises once all are told
            elif prepared.failure:
                for run in members[group]:
                    self._leave(self._attempt(run))

    def _has_failed(self, planned: PlannedRun) -> bool:
        prepared = self._ready.get(artifact_group(planned))
        return prepared is not None and prepared.failure is not None

    def _attempt(self, planned: PlannedRun) -> Attempt:
        """Take one cell through the stages, as far as it comes."""
        stages = StageClock(self._observer, planned.cell.experiment.hardware.name, planned.cell.label)
        found: dict[str, Any] = {}
        started_at = datetime.now(timezone.utc)
        try:
            with stages.stage("plan"):
                self._refuse(planned)
            found |= self._made(planned, stages)
            if "failure" not in found:
                if planned.cell.experiment.stage == "compile":
                    stages.current = "measure"
                    raise Unavailable(_not_timed(planned))
                if planned.cell.experiment.hardware.isolated:
                    with stages.stage("wait"):
                        self._take_host(planned)
                    found["peak"] = self._peak(planned, stages)
                found["measured"] = self._measured(planned, found, stages)
                with stages.stage("verify"):
                    found["quality"] = compare(found["workload"], found["measured"])
                    judge(planned.cell, found["quality"])
        except (RunFailure, KeyboardInterrupt) as error:
            found["failure"] = stages.told(error)
        return Attempt(
            planned=planned,
            started_at=started_at,
            finished_at=datetime.now(timezone.utc),
            stage_seconds=stages.seconds,
            log=log_of(planned),
            **found,
        )

    def _refuse(self, planned: PlannedRun) -> None:
        if planned.refusal:
            raise planned.refusal
        if limit := self._exhausted.dominate(planned.cell, planned.environment):
            raise Dominated(limit)

    def _made(self, planned: PlannedRun, stages: StageClock) -> dict[str, Any]:
        """Workload and artefact: as prepared, or made here where nothing is computed."""
        prepared = self._ready.get(artifact_group(planned))
        if prepared is None:
            call = calls_of(planned, self._interpreters)
            with stages.stage("build"):
                workload = build(planned.cell, planned.environment, self._cache, call["build"])
            with stages.stage("compile"):
                artifact = compile_(planned.cell, workload, planned.environment, self._cache, call["compile"])
            return {"workload": workload, "artifact": artifact}
        shared = prepared.artifact
        if prepared.run.run_id == planned.run_id:
            stages.seconds.update(prepared.seconds)
        elif shared is not None and shared.cache_hit is False:
            shared = replace(shared, cache_hit=True)  # made in this command, but for another cell
        made = {"workload": prepared.workload, "artifact": shared, "failure": prepared.failure}
        return {name: value for name, value in made.items() if value is not None}

    def _take_host(self, planned: PlannedRun) -> None:
        """Be alone on this host.

        Raises:
            DoneElsewhere: another command has left the row while this one waited.
        """
        self._lease.acquire()
        if self._meanwhile.has(planned.run_id, planned.cell.experiment.campaign):
            raise DoneElsewhere

    def _peak(self, planned: PlannedRun, stages: StageClock) -> Peak | None:
        """What the cell's machine does at best: asked for once, whatever else is measured on it."""
        environment, hardware = planned.environment, planned.cell.experiment.hardware
        place = (hardware, environment.environment_id)
        if place not in self._peaks:
            call = calls_of(planned, self._interpreters)["measure"]
            with stages.stage("peak"):
                self._peaks[place] = peak(hardware, environment, self._cache, call)
        return self._peaks[place]

    def _measured(self, planned: PlannedRun, made: Mapping[str, Any], stages: StageClock) -> Measurement:
        call = calls_of(planned, self._interpreters)["measure"]
        with stages.stage("measure"):
            return measure(planned.cell, made["workload"], made["artifact"], call, picture_of(planned))

    def _leave(self, attempt: Attempt) -> None:
        """Store the row and tell of it.

        Raises:
            KeyboardInterrupt: the row says `interrupted`.
        """
        self._store_row(attempt)
        status = attempt.failure.status if attempt.failure else "ok"
        if status in {"oom_host", "oom_device"}:
            self._exhausted.add(_limit(attempt.planned))
        if status == "interrupted":
            raise KeyboardInterrupt

    def _store_row(self, attempt: Attempt) -> None:
        """Store what was measured at once; rows that cost nothing to make again share a file, soon."""
        planned = attempt.planned
        with undisturbed():  # what has been measured gets its row
            self._held.append(row(attempt, planned.cell.experiment.resolved))
            free = planned.refusal or not planned.cell.experiment.hardware.isolated
            now = time.monotonic()
            self._held_since = self._held_since or now
            if not free or len(self._held) >= _MOST_HELD or now - self._held_since >= _LONGEST_HELD_S:
                self._flush()

    def _flush(self) -> None:
        if not self._held:
            return
        with undisturbed():
            self._store.append(*self._held)
            for stored in self._held:
                self._observer.finished(stored)
            self._rows += len(self._held)
            self._held, self._held_since = [], None
            if self._rows >= COMPACT_EVERY and self._store.is_local:
                self._rows = 0
                self._store.compact(thorough=False)


def _not_timed(planned: PlannedRun) -> str:
    absent = planned.cell.experiment.hardware.missing()
    return f"compiled, not timed: {absent or 'stage=compile; the same without it times it'}"


def _limit(planned: PlannedRun) -> Exhausted:
    cell = planned.cell
    return Exhausted(
        family_id=cell.family_id,
        environment_id=planned.environment.environment_id,
        batch_size=cell.experiment.batch,
        sequence_length=cell.sequence_length,
        memory_gib=cell.experiment.limits.memory_gib,
        run_id=planned.run_id,
    )
