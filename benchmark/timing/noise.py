"""Noise of the host: readings before and after the calls of a measurement, and the flags that they raise.

The best reading is the share of the wanted CPU time that the process got: at 0.97 and more the median of a
tiny BERT varies by 4 %, below by 14 % (measured with one thread, 2026-11).
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from operator import sub
from pathlib import Path
from typing import Final, NamedTuple

from benchmark.host import sensors
from benchmark.measurement import DeviceState, Noise

_MOST_SWITCHES_PER_S: Final = 100.0
_MOST_STEAL: Final = 0.01
_MOST_OTHERS: Final = 0.25
"""Cores that others may use before the host counts as busy."""
_CLOCK_LOSS: Final = 0.95
_SHORTEST_S: Final = 0.05
"""The kernel counts CPU time in ticks of 10 ms: a shorter time says nothing about the host."""


class Usage(NamedTuple):
    """CPU time of the processes that measure, so far."""

    cpu_s: float
    ran_ns: int
    """Time in which their threads ran."""
    queued_ns: int
    """Time in which their threads waited for a core."""
    switches: int
    """Involuntary context switches."""


class _Reading(NamedTuple):
    wall_s: float
    usage: Usage
    host: sensors.Ticks | None
    quota: sensors.Throttling | None
    device: DeviceState


def usage() -> Usage:
    """CPU time of this process."""
    ran, queued = _run_queue()
    switches = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
    return Usage(cpu_s=time.process_time(), ran_ns=ran, queued_ns=queued, switches=switches)


class Watch:
    """Reads the host when it is made and when `noise` is called; nothing in between."""

    def __init__(self, device: DeviceState, usage: Callable[[], Usage] = usage) -> None:
        self._load, self._usage = sensors.load_average(), usage
        self._before = _read(device, usage())

    def noise(self, device: DeviceState, least_on_cpu: float) -> Noise:
        """Noise since it was made, with flags for what may have disturbed the calls."""
        before, after = self._before, _read(device, self._usage())
        wall_s = max(after.wall_s - before.wall_s, 1e-9)
        cpu_s, ran, queued, switches = map(sub, after.usage, before.usage)
        host_cpu, steal = _host(before.host, after.host) if wall_s >= _SHORTEST_S else (None, None)
        own = cpu_s / wall_s
        others = None if host_cpu is None else max(0.0, host_cpu * (os.cpu_count() or 1) - own)
        found = Noise(
            on_cpu=ran / (ran + queued) if ran > 0 else None,
            involuntary_switches_per_s=switches / wall_s,
            steal=steal,
            host_cpu=host_cpu,
            others_cores=others,
            load=self._load,
            governor=sensors.governor(),
            boost=sensors.boost(),
            device=device,
        )
        return replace(found, flags=tuple(_flags(found, before, after, least_on_cpu)))


def _read(device: DeviceState, usage: Usage) -> _Reading:
    return _Reading(
        wall_s=time.perf_counter(),
        usage=usage,
        host=sensors.cpu_ticks(),
        quota=sensors.throttling(),
        device=device,
    )


def _run_queue() -> tuple[int, int]:
    """Nanoseconds in which this process's threads ran, and in which they waited for a core; Linux only."""
    ran = queued = 0
    for task in Path("/proc/self/task").glob("*/schedstat"):
        with suppress(OSError, ValueError):  # a thread may end meanwhile
            on_cpu, waiting, _ = map(int, task.read_text().split())
            ran, queued = ran + on_cpu, queued + waiting
    return ran, queued


def _host(before: sensors.Ticks | None, after: sensors.Ticks | None) -> tuple[float | None, float | None]:
    """Shares of the host's CPU time: used, and stolen."""
    if before is None or after is None or after.total <= before.total:
        return None, None
    total = after.total - before.total
    return 1 - (after.idle - before.idle) / total, (after.steal - before.steal) / total


def _flags(noise: Noise, before: _Reading, after: _Reading, least_on_cpu: float) -> Iterator[str]:
    """Names of what may have disturbed the calls; `schema.md` explains them."""
    if noise.on_cpu is not None and noise.on_cpu < least_on_cpu:
        yield "contended"
    if (noise.involuntary_switches_per_s or 0) > _MOST_SWITCHES_PER_S:
        yield "preempted"
    if (noise.steal or 0) > _MOST_STEAL:
        yield "stolen"
    if (noise.others_cores or 0) > _MOST_OTHERS:
        yield "busy_host"
    if before.quota and after.quota and after.quota.throttled > before.quota.throttled:
        yield "quota"
    was, is_ = before.device, after.device
    if is_.throttle_reasons or (is_.throttle_count or 0) > (was.throttle_count or 0):
        yield "throttled"
    if was.clock_mhz and is_.clock_mhz and is_.clock_mhz < _CLOCK_LOSS * was.clock_mhz:
        yield "slowed"
    if is_.other_processes:
        yield "shared_device"
    if is_.errors:
        yield "device_errors"
