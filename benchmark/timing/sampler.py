"""Takes samples until they are as steady, as many and as precise as was asked for."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from benchmark.measurement import StopReason, Timing
from benchmark.records import Sampling
from benchmark.timing.loop import GROWTH, Stopping, steady_start


class Calls(Protocol):
    """Calls that are made and timed, by one caller or by several."""

    samples: list[int]
    """Nanoseconds of each call, in the order in which they ended."""
    device_ns: list[int]
    token_ns: list[Sequence[int]]

    @property
    def wall_s(self) -> float:
        """Seconds in which calls ran."""

    def make(self, min_calls: int, max_calls: int, min_s: float, max_s: float) -> None:
        """Call until there are both minima in all, or one maximum."""

    def since(self, start: int) -> tuple[float, float]:
        """Wall and CPU seconds of the calls from `start` on."""

    def disturb(self) -> None:
        """Call once, untimed: looking at samples has cooled the caches."""


class _Look(NamedTuple):
    """What the samples told when they were last looked at."""

    start: int | None
    """The first sample of the steady state; null where there is none."""
    enough: bool
    precise: bool


class Sampler:
    """Looks at the samples now and then, each time at half as many again, until they are as asked for."""

    def __init__(self, sampling: Sampling, warmup: Calls, timed: Calls) -> None:
        self._sampling, self._warmup, self._timed = sampling, warmup, timed
        self._stopping = (
            Stopping(sampling.precision_percentile / 100, sampling.precision) if sampling.precision else None
        )
        self._analysis_s = 0.0

    def timing(self) -> Timing:
        """Warm up, take samples, and tell of those that count."""
        wanted = self._sampling
        self._warmup.make(wanted.warmup_calls, wanted.max_calls, wanted.warmup_s, wanted.max_s)
        look, reason = self._sampled()
        start = look.start or 0
        wall_s, cpu_s = self._timed.since(start)
        return Timing(
            nanoseconds=tuple(self._timed.samples[start:]),
            warmup_calls=len(self._warmup.samples) + start,
            warmup_s=self._warmup.wall_s + self._timed.wall_s - wall_s,
            wall_s=wall_s,
            cpu_s=cpu_s,
            steady=look.start is not None,
            stop_reason=reason,
            analysis_s=self._analysis_s,
            device_nanoseconds=tuple(self._timed.device_ns[start:]),
            token_nanoseconds=tuple(map(tuple, self._timed.token_ns[start:])),
        )

    def _sampled(self) -> tuple[_Look, StopReason]:
        wanted, timed, samples = self._sampling, self._timed, self._timed.samples
        calls = wanted.min_calls
        while True:
            timed.make(calls, wanted.max_calls, wanted.min_s, wanted.max_s)
            look = self._look()
            if look.enough and look.precise:
                return look, "precision" if self._stopping else "enough"
            if len(samples) >= wanted.max_calls:
                return look, "max_calls"
            if timed.wall_s >= wanted.max_s:
                return look, "max_s"
            calls = int(len(samples) * GROWTH) + 1
            timed.disturb()

    def _look(self) -> _Look:
        began = time.perf_counter()
        before, samples = len(self._warmup.samples), self._timed.samples
        trace = np.array([*self._warmup.samples, *samples], float)
        found = steady_start(trace)
        start = None if found is None else max(0, found - before)
        left = trace[before + (start or 0) :]
        precise = self._stopping is None or (self._stopping.look(left) and start is not None)
        self._analysis_s += time.perf_counter() - began
        return _Look(start, len(left) >= self._sampling.min_calls, precise)
