"""Build and compile what a grid needs before anything is timed, several cells at a time.

Cells that share an artefact are prepared once. As soon as a child has to work, this command holds the host,
so that no other command times anything beside it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from typing import NamedTuple

from benchmark.cache.lookup import NotCached, cache_only
from benchmark.cell import PlannedRun
from benchmark.errors import RunFailure
from benchmark.execution.host_lock import HostLock
from benchmark.execution.stage_calls import stage_calls
from benchmark.pipeline.services import Services
from benchmark.pipeline.stage_clock import INTERRUPTED, StageClock, by_accident
from benchmark.records import Artifact, Failure, Workload
from benchmark.serving_records import CallSize
from benchmark.stages.build import build
from benchmark.stages.compile import compile_
from benchmark.stages.row import Attempt

_GRACE_S = 5.0
"""How long threads are waited for after their children were ended."""


class Prepared(NamedTuple):
    """Workload and artefact of a group of runs, or the failure that keeps them from being measured."""

    run: PlannedRun
    """The run that they were made for, the first of its group."""
    workload: Workload | None
    artifact: Artifact | None
    failure: Failure | None
    seconds: Mapping[str, float]
    """By stage."""


class Preparation:
    """Builds and compiles for a grid, and keeps what its runs share."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._groups: dict[Hashable, Prepared] = {}
        self._failed: set[str] = set()

    def run(self, runs: Sequence[PlannedRun], workers: int) -> Iterator[Attempt]:
        """Prepare every group of runs, `workers` at a time; yield an attempt for each run that fails so.

        Raises:
            KeyboardInterrupt: after the attempts under way were yielded as interrupted.
        """
        members: dict[Hashable, list[PlannedRun]] = {}
        firsts: dict[Hashable, PlannedRun] = {}
        for run in runs:
            for one in run.of_calls.values():
                members.setdefault(one.artifact_group, []).append(run)
                firsts.setdefault(one.artifact_group, one)
        since, started_at = time.monotonic(), datetime.now(timezone.utc)
        for prepared in _prepare([*firsts.values()], self._services, workers):
            self._services.budget.spend(time.monotonic() - since, prepared.run)
            since = time.monotonic()
            group = prepared.run.artifact_group
            self._groups[group] = prepared
            if prepared.failure is None:
                continue
            stopped = prepared.failure.status == "interrupted" and not by_accident(prepared.failure)
            for run in members[group][:1] if stopped else members[group]:
                if run.run_id in self._failed:  # another size of it has failed
                    continue
                self._failed.add(run.run_id)
                yield Attempt(
                    planned=run,
                    started_at=started_at,
                    finished_at=datetime.now(timezone.utc),
                    stage_seconds=prepared.seconds if run.run_id == prepared.run.run_id else {},
                    workload=prepared.workload,
                    failure=prepared.failure,
                )

    def failed(self, run: PlannedRun) -> bool:
        """Whether the run has its attempt already."""
        return run.run_id in self._failed

    def others(self, run: PlannedRun, clock: StageClock) -> dict[CallSize, tuple[Workload, Artifact]]:
        """Workload and artefact of each size of the run's calls but that of its cell."""
        others = {size: one for size, one in run.of_calls.items() if one is not run}
        return {size: self.compiled(one, clock) for size, one in others.items()}

    def compiled(self, run: PlannedRun, clock: StageClock) -> tuple[Workload, Artifact]:
        """Workload and artefact of a run: prepared before, or made now on devices that compute nothing."""
        prepared = self._groups.get(run.artifact_group)
        if prepared is None or prepared.workload is None or prepared.artifact is None:
            calls, cache = stage_calls(run, self._services.interpreters), self._services.cache
            with clock.stage("build"):
                workload = build(run.cell, run.environment, cache, calls.build)
            with clock.stage("compile"):
                return workload, compile_(run.cell, workload, run.environment, cache, calls.compile)
        artifact = prepared.artifact
        if prepared.run is run:
            clock.seconds.update(prepared.seconds)
        elif artifact.cache_hit is False:
            artifact = replace(artifact, cache_hit=True)  # made in this command, but for another run
        return prepared.workload, artifact


def _prepare(runs: Sequence[PlannedRun], services: Services, workers: int) -> Iterator[Prepared]:
    """Build and compile for runs that share no artefact; yield each as it is ready.

    No further one is begun once the budget is used up or the user wants to stop.

    Raises:
        KeyboardInterrupt: after those under way were yielded as interrupted.
    """
    workers = min(workers, len(runs))
    host_lock = HostLock(services.cache.root)
    waiting, under_way = iter(runs), dict[Future[Prepared], tuple[PlannedRun, str]]()
    slots = [f"compile {number}" for number in range(workers, 0, -1)]
    try:
        while True:
            while slots and not services.budget.stop_reason() and (run := next(waiting, None)):
                slot = slots.pop()
                clock = StageClock(services.observer, slot, run.run_id)
                job = _start(partial(_prepared, run, services, host_lock, clock, workers))
                under_way[job] = (run, slot)
            if not under_way:
                return
            for job in wait(under_way, return_when=FIRST_COMPLETED).done:
                slots.append(under_way.pop(job)[1])
                yield job.result()
    except KeyboardInterrupt:
        services.interpreters.end_children()
        wait(under_way, _GRACE_S)
        for job, (run, _) in under_way.items():
            yield _cancelled(job.result() if job.done() else Prepared(run, None, None, None, {}))
        raise
    finally:
        services.interpreters.end_children()
        host_lock.release()


def _start(work: Callable[[], Prepared]) -> Future[Prepared]:
    """Work in a daemon thread: one that waits for another command's lock must not delay the program's end."""
    job: Future[Prepared] = Future()

    def worked() -> None:
        try:
            job.set_result(work())
        except BaseException as error:  # noqa: BLE001 - `result` raises it
            job.set_exception(error)

    threading.Thread(target=worked, daemon=True).start()
    return job


def _prepared(
    run: PlannedRun, services: Services, host_lock: HostLock, clock: StageClock, workers: int
) -> Prepared:
    prepared = _attempted(run, services, host_lock, clock, workers)
    if by_accident(prepared.failure):  # once more: the server of its child is started again
        prepared = _attempted(run, services, host_lock, clock, workers)
    return prepared._replace(seconds=clock.finished())


def _attempted(
    run: PlannedRun, services: Services, host_lock: HostLock, clock: StageClock, workers: int
) -> Prepared:
    workload, artifact, failure = None, None, None
    cell, environment, cache = run.cell, run.environment, services.cache
    try:
        with suppress(NotCached):
            here = cache.local()  # what is pulled keeps this host busy too
            with clock.stage("build"):
                workload = build(cell, environment, here, cache_only)
            with clock.stage("compile"):
                artifact = compile_(cell, workload, environment, here, cache_only)
        if artifact is None:  # first the host, then the locks of the cache: every command in this order
            with clock.stage("wait"):
                host_lock.acquire(cell.experiment.campaign, clock.waiting)
            calls = stage_calls(run, services.interpreters)
            with clock.stage("build"):
                workload = build(cell, environment, cache, calls.build)
            with clock.stage("compile"):
                artifact = compile_(cell, workload, environment, cache, calls.compile, workers)
    except RunFailure as error:
        failure = clock.failure(error)
    return Prepared(run, workload, artifact, failure, {})


def _cancelled(prepared: Prepared) -> Prepared:
    """Mark a cancelled preparation `interrupted`, whatever error the kill caused."""
    if prepared.failure is None and prepared.workload is not None:
        return prepared
    stage = prepared.failure.stage if prepared.failure else "build"
    return prepared._replace(failure=Failure(status="interrupted", stage=stage, error=INTERRUPTED))
