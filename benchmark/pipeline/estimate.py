"""Estimate a grid: which artefacts the cache has, how long it takes, and what it costs.

It counts the seconds that a budget counts: all, from the first preparation to the last row. Only waiting for
other commands can't be known before.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping
from typing import Final, Literal, NamedTuple

from benchmark.cache.compile_cache import Entries
from benchmark.cache.lookup import cache_only
from benchmark.cell import Plan, PlannedRun
from benchmark.errors import RunFailure
from benchmark.formatting import counted
from benchmark.pipeline.budget import hourly
from benchmark.stages.build import build
from benchmark.stages.compile import compile_
from benchmark.store.durations import Case, Durations, Known

Need = Literal["run", "cached", "compile"]
"""What a run needs: nothing to compile (run), an artefact that is cached, or one to compile."""

_OVERHEAD_S: Final = 0.3
"""Of a process beside its calls, for small models on two cores (2026-11); likewise the next three."""
_START_S: Final = 0.1
_BUILD_S: Final = 2.0
_COMPILE_S: Final = 6.0
_INLINE_S: Final = 0.01
"""Of a run that computes nothing."""


class Estimate(NamedTuple):
    """Seconds that one run takes once it has the host and its artefact."""

    work_s: float
    start_s: float = 0.0
    """Until its process begins to work."""
    known: Known | None = None
    """What it rests on; None: the minima of the sampling."""

    @property
    def seconds(self) -> float:
        """Both together."""
        return self.work_s + self.start_s


class Making(NamedTuple):
    """Seconds to build and compile for a group of runs."""

    seconds: float
    guessed: bool
    """No stored row is like it."""


class Forecast(NamedTuple):
    """Seconds and dollars of a grid."""

    runs: Mapping[str, Estimate]
    """By run_id, for runs that will be measured."""
    shares: Mapping[str, float]
    """By run_id: how likely its cell needs this process."""
    making: Mapping[str, Making]
    """By the first run of each group that needs it."""
    compile_s: float
    """Wall time with the configured number of workers."""
    measure_s: float
    usd: float | None
    """None where no machine of the grid has a price."""
    unpriced: int
    """Runs whose machine has no price."""
    at_least: bool
    """Whether some run rests on minima and may take longer: its model was never called here, it ends by a
    precision, or it answers a data set, whose items aren't counted before."""

    @property
    def seconds(self) -> float:
        """Of the whole command."""
        return self.compile_s + self.measure_s

    @property
    def by_minima(self) -> int:
        """Runs whose estimate rests on the minima of their sampling."""
        return sum(estimate.known is None for estimate in self.runs.values())

    @property
    def basis(self) -> str:
        """What the estimate rests on, as the end of a sentence."""
        rows = sum({id(known): known.rows for _, _, known in self.runs.values() if known}.values())
        earlier = f"estimated from {counted(rows, 'earlier run')} with this sampling"
        if not self.by_minima:
            basis = earlier
        elif not rows:
            basis = "estimated from the minimum times of this sampling"
        else:
            basis = f"{earlier}, {self.by_minima} of {len(self.runs)} processes from its minimum times"
        return basis + (
            ", compile time is a guess" if any(one.guessed for one in self.making.values()) else ""
        )


def forecast(plan: Plan, cache: Entries, past: Durations, workers: int) -> Forecast:
    """Estimate without building, hashing or running anything."""
    pending = [run for run in plan.queue if run.fate == "run"]
    cells = {run.processes_of: run for run in pending}
    of_cells = {cell: (estimate(run, past), expected_processes(run, past)) for cell, run in cells.items()}
    runs = {run.run_id: of_cells[run.processes_of][0] for run in pending}
    shares = {run.run_id: _share(run.repeat, of_cells[run.processes_of][1]) for run in pending}
    making = dict(_making(pending, cache, past))
    measure_s = usd = 0.0
    unpriced = 0
    compile_s = wall_of([one.seconds for one in making.values()], workers)
    per_made_s = compile_s / max(1, len(making))
    for run in pending:
        seconds = runs[run.run_id].seconds * shares[run.run_id]
        measure_s += seconds
        price = hourly(run)
        unpriced += price is None
        usd += (price or 0.0) * (seconds + per_made_s * (run.run_id in making)) / 3600
    return Forecast(
        runs=runs,
        shares=shares,
        making=making,
        compile_s=compile_s,
        measure_s=measure_s,
        usd=usd if len(pending) > unpriced else None,
        unpriced=unpriced,
        at_least=any(
            runs[run.run_id].known is None
            and run.cell.experiment.hardware.isolated
            and (
                run.cell.experiment.sampling.precision
                or run.cell.experiment.scenario.labelled
                or past.call(_case(run)) is None
            )
            for run in pending
        ),
    )


def estimate(run: PlannedRun, past: Durations) -> Estimate:
    """Seconds of a run by rows with the same sampling, else by what its sampling takes at least."""
    e = run.cell.experiment
    if e.stage == "compile":
        return Estimate(0.0)
    case = _case(run)
    start_s = past.start(case)
    if start_s is None:
        start_s = _START_S if e.hardware.isolated else 0.0
    serving = e.scenario.serving  # takes as long as its options say, whatever earlier runs with others took
    if not serving and (known := past.process(case, e.sampling)):
        return Estimate(known.value, start_s, known)
    overhead_s = past.overhead(case)
    if overhead_s is None:
        overhead_s = _OVERHEAD_S if e.hardware.isolated else _INLINE_S
    least_s = 0.0 if e.hardware.simulated and not serving else _least_s(run, past.call(case) or 0.0)
    return Estimate(overhead_s + least_s, start_s)


def expected_processes(run: PlannedRun, past: Durations) -> float:
    """Number of processes in which the cell of a run is measured, where their spread decides.

    The middle of the fewest and the most; with rows of the same sampling, halfway from there to theirs. A
    host that is steadier or less steady than it was then asks for fewer or more: the same twelve cells took
    65 s and 88 s (`tests/benchmarks/eta.py`, 2026-12).
    """
    sampling = run.cell.experiment.sampling
    least = min(sampling.min_repeats, sampling.repeats)
    if sampling.repeat_precision is None or least == sampling.repeats:
        return sampling.repeats
    middle = math.sqrt(least * sampling.repeats)
    known = past.processes(_case(run), sampling)
    return middle if known is None else math.sqrt(middle * max(least, known))


def need_of(run: PlannedRun, cache: Entries) -> Need:
    """Go through build and compile with the cache alone, and see whether they need more."""
    if not run.cell.experiment.compiler.leaves_artifact:
        return "run"
    return "compile" if _lacking(run, cache) else "cached"


def fates(plan: Plan, needs: Mapping[str, Need]) -> Counter[str]:
    """Number of cells by fate; those to be measured by what they need."""
    counts = Counter[str](needs.get(run.run_id, run.fate) for run in plan.of_cells)
    return counts + Counter(excluded=len(plan.excluded))


def wall_of(seconds: list[float], workers: int) -> float:
    """Wall time of jobs that so many workers share."""
    return max([sum(seconds) / workers, *seconds])


def _share(repeat: int, processes: float) -> float:
    return min(1.0, max(0.0, processes - repeat))


def _case(run: PlannedRun) -> Case:
    e = run.cell.experiment
    return Case(run.cell.cell_id, e.model.name, e.hardware.name, e.compiler.name)


def _least_s(run: PlannedRun, call_s: float) -> float:
    """Seconds of warm-up and samples; `call_s` is 0 where it is unknown."""
    e = run.cell.experiment
    if training := e.scenario.training:
        return call_s * training.steps_of(training.items, e.batch)
    if serving := e.scenario.serving:
        return e.sampling.warmup_s + (serving.search_s if serving.searches else serving.duration_s)
    sampling, apart_s = e.sampling, call_s / (e.scenario.replicas * e.scenario.workers)
    warmup_s = max(sampling.warmup_s, sampling.warmup_calls * apart_s)
    calls_s = max(sampling.min_s, sampling.min_calls * apart_s)
    if call_s:
        calls_s = min(calls_s, sampling.max_calls * apart_s)
    return min(warmup_s, max(sampling.max_s, call_s)) + min(calls_s, max(sampling.max_s, call_s))


def _making(pending: list[PlannedRun], cache: Entries, past: Durations) -> Iterator[tuple[str, Making]]:
    """What has to be built and compiled, by the first run of its group, for devices that compute."""
    groups: set[Hashable] = set()
    built: set[Hashable] = set()
    for run in pending:
        e = run.cell.experiment
        if not e.hardware.isolated or run.artifact_group in groups:
            continue
        groups.add(run.artifact_group)
        lacking = _lacking(run, cache)
        model = (id(e.model), id(e.task), e.weights, e.seed, e.inputs, run.cell.shape)
        stages = [stage for stage in lacking if stage != "build" or model not in built]
        if lacking[:1] == ["build"]:
            built.add(model)
        known = {stage: past.making(_case(run), stage) for stage in stages}
        if stages:
            guess = {"build": _BUILD_S, "compile": _COMPILE_S}
            seconds = sum(guess[stage] if took is None else took for stage, took in known.items())
            yield run.run_id, Making(seconds, guessed=None in known.values())


def _lacking(run: PlannedRun, cache: Entries) -> list[Literal["build", "compile"]]:
    """The stages of a run that the cache can't answer; where it lacks the first, it is taken to lack both."""
    e = run.cell.experiment
    leaves_artifact = e.compiler.leaves_artifact and e.scenario.training is None
    try:
        workload = build(run.cell, run.environment, cache, cache_only)
    except RunFailure:
        return ["build", "compile"] if leaves_artifact else ["build"]
    try:
        compile_(run.cell, workload, run.environment, cache, cache_only)
    except RunFailure:
        return ["compile"]
    return []
