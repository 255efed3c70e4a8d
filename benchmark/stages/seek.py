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


class Best(NamedTuple):
    """The fastest of the trials."""

    variant: int
    """Its place among the variants."""
    size: int
    """Its batch, in batches of the cell."""


def seek(
    runs: Mapping[int, PlannedRun],
    variants: Sequence[Scenario],
    compiled: Mapping[int, tuple[Workload, Artifact]],
    call: Call,
) -> Best:
    """Try the variants of a scenario with growing batches; `runs` and `compiled` are by batches of the cell.

    Raises:
        RunFailure: the first trial failed, or how its process ended.
    """
    cells = {size: run.cell for size, run in runs.items()}
    folders = {size: (workload, artifact.folder) for size, (workload, artifact) in compiled.items()}
    return call(_seek, cells, variants, folders)


def _seek(
    cells: Mapping[int, Cell],
    variants: Sequence[Scenario],
    compiled: Mapping[int, tuple[Workload, Path | None]],
) -> Best:
    """In the child, which starts a process for each copy."""
    best, most = Best(0, 1), 0.0
    bytes_of_copy = dict.fromkeys(compiled, 0)
    for place, scenario in enumerate(variants):
        before = 0.0
        for size in sorted(compiled):
            if scenario.replicas * bytes_of_copy[size] > psutil.virtual_memory().available:
                logger.info(
                    "%d copies with batch x %d don't fit into memory: not tried", scenario.replicas, size
                )
                break
            e = replace(cells[size].experiment, scenario=scenario)
            items_per_s, peak = _trial(replace(cells[size], experiment=e), *compiled[size])
            bytes_of_copy[size] = peak // scenario.replicas
            logger.info(
                "%d replicas x %d workers, batch %d: %.4g items/s",
                scenario.replicas,
                scenario.workers,
                e.batch,
                items_per_s,
            )
            if items_per_s > most:
                best, most = Best(place, size), items_per_s
            if items_per_s < _BETTER * before:
                break
            before = items_per_s
    return best


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
