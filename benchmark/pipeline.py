"""The sentence: each pending cell is built, compiled, measured, verified and stored, one after the other."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

from benchmark.cell import Plan, PlannedRun
from benchmark.compile_cache import CompileCache
from benchmark.errors import RunFailure
from benchmark.isolation import Forkserver, inline, undisturbed
from benchmark.paths import CampaignPaths
from benchmark.protocols import Call, Observer
from benchmark.records import Artifact, ChildLimits, Failure, Measured, Quality, Workload
from benchmark.results import ResultsStore
from benchmark.stages.build import build
from benchmark.stages.compile import compile_
from benchmark.stages.measure import measure
from benchmark.stages.store import Attempt, row
from benchmark.stages.verify import compare, judge


def run(
    plan: Plan, store: ResultsStore, cache: CompileCache, forkserver: Forkserver, observer: Observer
) -> None:
    """Give every pending cell its row; a failure is a row too, and the grid goes on.

    Raises:
        KeyboardInterrupt: after the current cell has left an `interrupted` row.
    """
    for planned in plan.pending:
        observer.started(planned.cell.label)
        outcome = attempt(planned, cache, forkserver, observer)
        with undisturbed():  # what has been measured gets its row
            stored = row(outcome, planned.cell.experiment.resolved)
            store.append(stored)
            observer.finished(stored)
        if outcome.failure is not None and outcome.failure.status == "interrupted":
            raise KeyboardInterrupt


def attempt(planned: PlannedRun, cache: CompileCache, forkserver: Forkserver, observer: Observer) -> Attempt:
    """Take one cell through the stages, as far as it comes."""
    cell, environment = planned.cell, planned.environment
    progress = _Progress(observer)
    log = CampaignPaths(folder=Path(cell.experiment.output_folder)).log(planned.run_id)
    call = _calls(planned, forkserver, log)
    workload: Workload | None = None
    artifact: Artifact | None = None
    measured: Measured | None = None
    quality: Quality | None = None
    failure: Failure | None = None
    started_at = datetime.now(timezone.utc)
    try:
        with progress.stage("plan"):
            if planned.refusal:
                raise planned.refusal
        with progress.stage("build"):
            workload = build(cell, cache, call["build"])
        with progress.stage("compile"):
            artifact = compile_(cell, workload, environment, cache, call["compile"])
        with progress.stage("measure"):
            measured = measure(cell, workload, artifact, call["measure"])
        with progress.stage("verify"):
            quality = compare(workload, measured)
            judge(cell, quality)
    except RunFailure as error:
        told = _first_lines(str(error)) or type(error).__name__
        failure = Failure(status=error.status, stage=progress.current, error=told)
    except KeyboardInterrupt:
        failure = Failure(
            status="interrupted", stage=progress.current, error="stopped by the user or the system"
        )
    return Attempt(
        planned=planned,
        started_at=started_at,
        finished_at=datetime.now(timezone.utc),
        stage_seconds=progress.seconds,
        log=log,
        workload=workload,
        artifact=artifact,
        measured=measured,
        quality=quality,
        failure=failure,
    )


class _Progress:
    """Which stage a cell is in, and how long each took."""

    def __init__(self, observer: Observer) -> None:
        self.current = "plan"
        self.seconds: dict[str, float] = {}
        self._observer = observer

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        self.current = name
        start = time.perf_counter()
        try:
            with self._observer.stage(name):
                yield
        finally:
            self.seconds[name] = time.perf_counter() - start


def _calls(planned: PlannedRun, forkserver: Forkserver, log: Path) -> dict[str, Call]:
    """By stage: where its heavy part runs, within the limits of that stage."""
    e = planned.cell.experiment
    if not e.hardware.isolated:
        return dict.fromkeys(("build", "compile", "measure"), inline)
    memory = None if e.limits.memory_gib is None else int(e.limits.memory_gib * 2**30)
    seconds = {
        "build": e.limits.build_timeout_s,
        "compile": e.limits.compile_timeout_s,
        "measure": e.limits.measure_timeout_s,
    }
    return {
        stage: partial(forkserver.call, ChildLimits(log=log, timeout_s=limit, memory_bytes=memory))
        for stage, limit in seconds.items()
    }


def _first_lines(text: str, most: int = 5) -> str:
    return "\n".join([line for line in text.splitlines() if line.strip()][:most])[:2000]
