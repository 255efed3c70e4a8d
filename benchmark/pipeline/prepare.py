"""Before anything is timed: build and compile what a grid needs, several cells at a time.

Cells that share an artefact are prepared once. The host is held as soon as a child has to work, so that no
timing of another command runs beside it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmark.cache.compile_cache import CompileCache
from benchmark.cache.lookup import NotCached, nobody
from benchmark.cell import PlannedRun
from benchmark.errors import RunFailure
from benchmark.execution.forkserver import inline
from benchmark.execution.host_lock import HostLock
from benchmark.execution.interpreters import Interpreters
from benchmark.paths import CampaignPaths
from benchmark.pipeline.budget import BudgetTracker
from benchmark.protocols import Call, Observer
from benchmark.records import Artifact, ChildLimits, Failure, Workload
from benchmark.stages.build import build
from benchmark.stages.compile import compile_

_GRACE_S = 5.0
"""How long those who were told to stop are waited for."""
INTERRUPTED = "stopped by the user or the system"


class Prepared(NamedTuple):
    """What the cells of a group need to be timed, or why they can't be."""

    run: PlannedRun
    """For which it was made, before the others of the group."""
    workload: Workload | None
    artifact: Artifact | None
    failure: Failure | None
    seconds: Mapping[str, float]
    """By stage."""


class StageClock:
    """Which stage a cell is in, and how long each took."""

    def __init__(self, observer: Observer, where: str, label: str) -> None:
        self.current = "plan"
        self.seconds: dict[str, float] = {}
        self._observer, self._where, self._label = observer, where, label

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage and show it."""
        self.current = name
        start = time.perf_counter()
        try:
            with self._observer.working(self._where, self._label, name):
                yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    def told(self, error: BaseException) -> Failure:
        """Say where it failed and why."""
        if isinstance(error, RunFailure):
            text = "\n".join([line for line in str(error).splitlines() if line.strip()][:5])[:2000]
            return Failure(
                status=error.status,
                stage=self.current,
                error=text or type(error).__name__,
                error_class=error.raised,
                unsupported_ops=error.operators,
            )
        return Failure(status="interrupted", stage=self.current, error=INTERRUPTED)


def prepare(  # noqa: PLR0913, PLR0917 - it introduces them all to each other
    runs: Sequence[PlannedRun],
    cache: CompileCache,
    interpreters: Interpreters,
    observer: Observer,
    budget: BudgetTracker,
    workers: int,
) -> Iterator[Prepared]:
    """Build and compile for runs that share no artefact, as they come; the brake is asked before each.

    Raises:
        KeyboardInterrupt: after what was under way has been told as interrupted.
    """
    workers = min(workers, len(runs))
    host_lock = HostLock()
    waiting, under_way = iter(runs), dict[Future[Prepared], tuple[PlannedRun, str]]()
    slots = [f"compile {number}" for number in range(workers, 0, -1)]
    try:
        while True:
            while slots and not budget.reason() and (run := next(waiting, None)):
                slot = slots.pop()
                stages = StageClock(observer, slot, run.cell.label)
                job = _begin(partial(_prepared, run, cache, interpreters, host_lock, stages, workers))
                under_way[job] = (run, slot)
            if not under_way:
                return
            for job in wait(under_way, return_when=FIRST_COMPLETED).done:
                slots.append(under_way.pop(job)[1])
                yield job.result()
    except KeyboardInterrupt:
        interpreters.end_children()
        wait(under_way, _GRACE_S)
        for job, (run, _) in under_way.items():
            yield _cut_short(job.result() if job.done() else Prepared(run, None, None, None, {}))
        raise
    finally:
        interpreters.end_children()
        host_lock.release()


def _begin(work: Callable[[], Prepared]) -> Future[Prepared]:
    """Start a thread that doesn't hold up the end of the program: it may wait for another command's lock."""
    job: Future[Prepared] = Future()

    def worked() -> None:
        try:
            job.set_result(work())
        except BaseException as error:  # noqa: BLE001 - whoever asks for the result gets it
            job.set_exception(error)

    threading.Thread(target=worked, daemon=True).start()
    return job


def _prepared(  # noqa: PLR0913, PLR0917 - all that a thread needs
    run: PlannedRun,
    cache: CompileCache,
    interpreters: Interpreters,
    host_lock: HostLock,
    stages: StageClock,
    workers: int,
) -> Prepared:
    workload, artifact, failure = None, None, None
    try:
        with suppress(NotCached):
            with stages.stage("build"):
                workload = build(run.cell, run.environment, cache, nobody)
            with stages.stage("compile"):
                artifact = compile_(run.cell, workload, run.environment, cache, nobody)
        if artifact is None:  # somebody has to work: the host first, then the keys of the cache, as all do it
            with stages.stage("wait"):
                host_lock.acquire()
            call = calls_of(run, interpreters)
            with stages.stage("build"):
                workload = build(run.cell, run.environment, cache, call["build"])
            with stages.stage("compile"):
                artifact = compile_(run.cell, workload, run.environment, cache, call["compile"], workers)
    except RunFailure as error:
        failure = stages.told(error)
    return Prepared(run, workload, artifact, failure, stages.seconds)


def _cut_short(found: Prepared) -> Prepared:
    """What was ended amid its work failed for that reason and no other."""
    if found.failure is None and found.workload is not None:
        return found
    stage = found.failure.stage if found.failure else "build"
    return found._replace(failure=Failure(status="interrupted", stage=stage, error=INTERRUPTED))


def log_of(run: PlannedRun) -> Path:
    """Where the children of a run write."""
    return CampaignPaths(folder=Path(run.cell.experiment.output_folder)).log(run.run_id)


def picture_of(run: PlannedRun) -> Path:
    """Where its measuring child saves what it draws."""
    return CampaignPaths(folder=Path(run.cell.experiment.output_folder)).picture(run.run_id)


def calls_of(run: PlannedRun, interpreters: Interpreters) -> dict[str, Call]:
    """By stage: where its heavy part runs, within the limits of that stage."""
    e = run.cell.experiment
    if not e.hardware.isolated:
        return dict.fromkeys(("build", "compile", "measure"), inline)
    call = interpreters.call_in(e.compiler.python)
    memory = None if e.limits.memory_gib is None else int(e.limits.memory_gib * 2**30)
    seconds = {
        "build": e.limits.build_timeout_s,
        "compile": e.limits.compile_timeout_s,
        "measure": e.limits.measure_timeout_s,
    }
    return {
        stage: partial(call, ChildLimits(log=log_of(run), timeout_s=limit, memory_bytes=memory))
        for stage, limit in seconds.items()
    }
