"""Load the model with requests in a fresh child, and time their answers. The caller holds the host lock."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmark import placement
from benchmark.cell import Cell
from benchmark.errors import Saturated
from benchmark.formatting import significant
from benchmark.measurement import Measurement, Noise, Summary, Timing
from benchmark.protocols import Call
from benchmark.records import Artifact, Workload
from benchmark.serving.figures import Replication
from benchmark.serving.loads import Search, one_load, served
from benchmark.serving.replications import Kept
from benchmark.serving.requests import Source
from benchmark.serving.station import Loaded, Station, opened
from benchmark.serving_records import CallSize, CallTimes, Served, ServingOptions
from benchmark.stats.intervals import summary
from benchmark.timing import harness
from benchmark.timing.noise import Watch

_NOTHING = Summary(**dict.fromkeys(("mean", "p50", "p90", "p95", "p99"), (None,) * 3), effective_samples=None)


def serve(
    cell: Cell, compiled: Mapping[CallSize, tuple[Workload, Artifact]], call: Call, loads: Path
) -> Measurement:
    """Run the loads of the cell's scenario. `compiled` has a workload for each size of call.

    Finished replications are kept in the folder `loads`, and not made again.

    Raises:
        RunFailure: the model couldn't be loaded or called, no rate keeps the limits, or its process ended.
    """
    sizes = [Loaded(size, workload, artifact.folder) for size, (workload, artifact) in compiled.items()]
    return call(_serve, cell, sizes, loads)


def judge_load(found: Served) -> None:
    """Refuse a load that was more than the model can answer, whatever its latencies.

    Raises:
        Saturated: the queue grew.
    """
    load = found.load
    if load.growing is not None:
        raise Saturated(
            f"{significant(load.offered_per_s)} requests/s are more than it answers: the queue grew by "
            f"{significant(load.growing)} a second, to {load.outstanding[1]:g}: lower scenario.rate, or use "
            "more scenario.replicas"
        )


class _Made(NamedTuple):
    """What the loads of a run gave."""

    row: Sequence[Replication]
    """Replications that the row is about."""
    served: Served
    attempts: int


def _serve(cell: Cell, sizes: Sequence[Loaded], loads: Path) -> Measurement:
    """In the child, which starts a process for each copy and one for the generator."""
    began, e, options = time.perf_counter(), cell.experiment, _options(cell)
    shares = e.hardware.shares(options.replicas)
    with opened(cell, sizes, options, shares) as station:
        first = station.first_call()
        warming = time.perf_counter()
        alone = station.warm_up(e.sampling)
        warmup_s = time.perf_counter() - warming
        watch = None if e.hardware.simulated else Watch(e.hardware.state(), station.usage)
        made = _made(Source(options, cell.shape), alone, station, Kept(loads), e.sampling.noise_retries)
        noise = watch.noise(e.hardware.state(), e.sampling.least_on_cpu) if watch else Noise()
        peak_host_bytes = station.replicas.peak_host_bytes()
        second_answers = station.replicas.second_answers()
    timing = _timing(made, warmup_s)
    return Measurement(
        timing=timing,
        summary=summary(np.array(timing.nanoseconds) / 1e6) if timing.nanoseconds else _NOTHING,
        first_call_ns=first.call_ns,
        answers=first.answers,
        second_answers=second_answers,
        arithmetic=first.arithmetic,
        noise=noise,
        attempts=made.attempts,
        retries_s=0.0,
        harness=harness.describe(),
        load_s=first.load_s,
        peak_host_bytes=peak_host_bytes,
        served=made.served,
        placement=_placement(cell, shares),
        process_s=time.perf_counter() - began,
    )


def _options(cell: Cell) -> ServingOptions:
    options = cell.experiment.scenario.serving
    assert options is not None  # noqa: S101 - the runner asks those that serve only
    return options


def _made(
    source: Source, alone: Mapping[int, CallTimes], station: Station, kept: Kept, retries: int
) -> _Made:
    """Measure the transport, then run one load, or search."""
    null_ms, options = station.transport_ms(), source.options
    if not options.searches:
        load, attempts = one_load(source, station.run, kept, retries)
        return _Made([load], served(options, [load], [load], null_ms, None, late=False), attempts)
    search = Search(source, alone, station.run, kept)
    found = search.made()
    row = search.confirming or search.late
    every = search.replications or search.late
    made = served(options, row, every, null_ms, found, late=found is None)
    return _Made(row, made, 1)


def _timing(made: _Made, warmup_s: float) -> Timing:
    """Latencies of the requests of the row, where they are those of the model."""
    wall_s = sum(one.length_s for one in made.row)
    latencies = [one.seen.latencies_s[one.counted] for one in made.row]
    known = bool(made.served.load.latency_ms)
    return Timing(
        nanoseconds=tuple((np.concatenate(latencies) * 1e9).astype(int).tolist()) if known else (),
        warmup_calls=0,
        warmup_s=warmup_s,
        wall_s=wall_s,
        cpu_s=0.0,
        steady=True,
        stop_reason="enough",
    )


def _placement(cell: Cell, shares: Sequence[Sequence[int]]) -> Mapping[str, str]:
    e = cell.experiment
    if not placement.of_replica(e.task, e.model, e.compiler, 1):  # its models have no core of their own
        return {}
    planned = placement.placement(e.task, e.model, e.compiler, e.hardware, e.scenario)
    return placement.column(placement.moved(planned, shares))
