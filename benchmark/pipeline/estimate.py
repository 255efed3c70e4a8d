"""Estimate a grid: which artefacts the cache has, how long it takes, and what it costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from benchmark.cache.compile_cache import Entries
from benchmark.cache.lookup import cache_only
from benchmark.cell import Plan, PlannedRun
from benchmark.errors import RunFailure
from benchmark.pipeline.budget import hourly
from benchmark.stages.build import build
from benchmark.stages.compile import compile_
from benchmark.store.history import Medians

Need = Literal["run", "cached", "compile"]
"""What a run needs: nothing to compile (run), an artefact that is cached, or one to compile."""


class Forecast(NamedTuple):
    """Seconds and dollars, by the rows of the store."""

    needs: dict[str, Need]
    """By run_id, for runs that will be measured."""
    compile_s: float
    """Wall time with the configured number of workers."""
    measure_s: float
    usd: float | None
    """None where no machine of the grid has a price."""
    unknown: int
    """Runs without a similar row in the store; the figures don't include them."""
    unpriced: int
    """Runs whose machine has no price."""


def forecast(plan: Plan, cache: Entries, medians: Medians, workers: int) -> Forecast:
    """Estimate without building, hashing or running anything."""
    needs: dict[str, Need] = {}
    compiled: set[Any] = set()
    compile_s = measure_s = usd = 0.0
    unknown = unpriced = 0
    for run in plan.queue:
        if run.fate != "run":
            continue
        needs[run.run_id] = need = need_of(run, cache)
        seconds = timing_s(run, medians)
        wants = need == "compile" and run.artifact_group not in compiled
        making = _median(run, medians, "compile") if wants else 0.0
        compiled.add(run.artifact_group)
        unknown += seconds is None or making is None
        price = hourly(run)
        unpriced += price is None
        compile_s += (making or 0.0) / workers
        measure_s += seconds or 0.0
        usd += (price or 0.0) * ((making or 0.0) / workers + (seconds or 0.0)) / 3600
    priced = len(needs) > unpriced
    return Forecast(needs, compile_s, measure_s, usd if priced else None, unknown, unpriced)


def timing_s(run: PlannedRun, medians: Medians) -> float | None:
    """Seconds that a run uses its device: median for the same model, hardware and compiler."""
    if run.cell.experiment.stage == "compile":
        return 0.0
    return _median(run, medians, "measure")


def need_of(run: PlannedRun, cache: Entries) -> Need:
    """Go through build and compile with the cache alone, and see whether they need more."""
    if not run.cell.experiment.compiler.leaves_artifact:
        return "run"
    try:
        workload = build(run.cell, run.environment, cache, cache_only)
        compile_(run.cell, workload, run.environment, cache, cache_only)
    except RunFailure:
        return "compile"
    return "cached"


def _median(run: PlannedRun, medians: Medians, stage: str) -> float | None:
    e = run.cell.experiment
    return medians.seconds(e.model.name, e.hardware.name, e.compiler.name, stage)


def fates(plan: Plan, needs: Mapping[str, Need]) -> Counter[str]:
    """Number of cells by fate; those to be measured by what they need."""
    counts = Counter[str](needs.get(run.run_id, run.fate) for run in plan.of_cells)
    return counts + Counter(excluded=len(plan.excluded))
