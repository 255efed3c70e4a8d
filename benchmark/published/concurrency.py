"""Copies of the model and callers of each, behind a published row that doesn't print them.

Calls in flight are rate x latency / batch (Little's law). NeuronPerf, by which AWS made its tables, loads a
copy on each core and calls each copy from one or two threads (archive/neuronperf/neuronperf_api.rst of
aws-neuron-sdk at 81ce03ae). So two calls in flight are two copies, also under the heading Real Time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from benchmark.cloud.instances import Instance

_SHARES: Final = (0.85, 1.1)
"""Fewest and most calls in flight for each caller. Callers wait between calls, so there may be fewer. More
are impossible but for a median that isn't the mean, to which `lint` gives the same room. Most rows of AWS's
tables of 2024 and 2026 have 0.98 to 1.04; the lowest that is believed has 0.89, outliers 0.04, 1.103, 3.5."""
_MOST_WORKERS: Final = 2


def calls_in_flight(value: Callable[[str], Any]) -> float | None:
    """Mean number of calls that are computed at the same time, by columns; None where one is missing."""
    rate, batch, p50_ms = map(value, ("throughput_per_s", "batch_size", "latency_p50_ms"))
    return rate * p50_ms / 1000 / batch if rate and batch and p50_ms else None


def derived(values: Mapping[str, Any], instance: Instance) -> dict[str, Any]:
    """`replicas`, `workers` and `scenario` by the calls in flight; `outlier` where none explain them.

    Empty where a figure is missing. A row that leaves chips of its instance idle is an outlier too: its rate
    and its cost aren't those of the instance.
    """
    in_flight, cores = calls_in_flight(values.get), instance.cores
    if in_flight is None or cores is None:
        return {}
    callers = min((*range(1, cores + 1), cores * _MOST_WORKERS), key=lambda number: abs(number - in_flight))
    if not _SHARES[0] <= in_flight / callers <= _SHARES[1]:
        return {
            "outlier": f"{in_flight:.3g} calls in flight by its figures (rate x p50 / batch), "
            f"which no copies and callers on {cores} cores explain"
        }
    if instance.devices > 1 and callers < cores:
        return {"outlier": f"{callers} of {cores} cores busy by its figures (rate x p50 / batch)"}
    replicas = min(callers, cores)
    return {
        "replicas": replicas,
        "workers": callers // replicas,
        "scenario": "throughput" if callers > 1 else "latency",
    }
