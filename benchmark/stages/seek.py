"""Look for the fastest replicas, workers and batch. The caller holds the host lock."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import psutil

from benchmark.cell import Cell, PlannedRun
from benchmark.execution.team import Team
from benchmark.protocols import Call, Scenario
from benchmark.records import Artifact, Sampling, Workload
from benchmark.timing.copies import Replica, Replicas

logger = logging.getLogger(__name__)

_TRIAL_S: Final = 1.0
"""Longest time of one trial."""
_BETTER: Final = 1.02
"""A larger batch has to be so many times as fast as the one before, or no larger one is tried."""


class Trial(NamedTuple):
    """One variant with one batch."""

    variant: int
    """Its place among the variants."""
    size: int
    """Its batch, in batches of the cell."""
    items_per_s: float
    """0 where its copies don't fit into memory."""


def seek(
    runs: Mapping[int, PlannedRun],
    variants: Sequence[Scenario],
    compiled: Mapping[int, tuple[Workload, Artifact]],
    call: Call,
) -> Trial:
    """Try variants of a scenario with growing batches; `runs` and `compiled` are by batches of the cell.

    Returns the fastest; the log has all.

    Raises:
        RunFailure: a trial failed, or how its process ended.
    """
    cells = {size: run.cell for size, run in runs.items()}
    folders = {size: (workload, artifact.folder) for size, (workload, artifact) in compiled.items()}
    trials: list[Trial] = call(_seek, cells, variants, folders)
    for trial in trials:
        scenario, batch = variants[trial.variant], cells[trial.size].experiment.batch
        rate = f"{trial.items_per_s:.4g} items/s" if trial.items_per_s else "doesn't fit into memory"
        logger.info(
            "%d replicas x %d workers, batch %d: %s", scenario.replicas, scenario.workers, batch, rate
        )
    return max(trials, key=lambda trial: trial.items_per_s)


def _seek(
    cells: Mapping[int, Cell],
    variants: Sequence[Scenario],
    compiled: Mapping[int, tuple[Workload, Path | None]],
) -> list[Trial]:
    """In the child, which starts a process for each copy."""
    trials = list[Trial]()
    bytes_of_copy = dict.fromkeys(compiled, 0)
    for place, scenario in enumerate(variants):
        before = 0.0
        for size in sorted(compiled):
            if scenario.replicas * bytes_of_copy[size] > psutil.virtual_memory().available:
                trials.append(Trial(place, size, 0.0))
                break
            e = replace(cells[size].experiment, scenario=scenario)
            items_per_s, peak = _trial(replace(cells[size], experiment=e), *compiled[size])
            bytes_of_copy[size] = peak // scenario.replicas
            trials.append(Trial(place, size, items_per_s))
            if items_per_s < _BETTER * before:
                break
            before = items_per_s
    return trials


def _trial(cell: Cell, workload: Workload, folder: Path | None) -> tuple[float, int]:
    """Items per second of one trial, and the peak memory of all its copies."""
    e = cell.experiment
    scenario = e.scenario
    shares = e.hardware.shares(scenario.replicas) or ((),) * scenario.replicas
    with Team(partial(Replica, cell, workload, folder, shares), scenario.replicas) as team:
        copies = Replicas(team)
        copies.first_call(None)
        timing = scenario.measure(copies.sessions, _short(e.sampling))
        peak = copies.peak_host_bytes()
    return len(timing.nanoseconds) * cell.shape.batch_size / timing.wall_s, peak


def _short(sampling: Sampling) -> Sampling:
    """The same for a trial."""
    longest = min(sampling.max_s, _TRIAL_S)
    return replace(
        sampling,
        warmup_s=min(sampling.warmup_s, 0.1),
        min_calls=1,
        min_s=longest / 2,
        max_s=longest,
        precision=None,
    )
