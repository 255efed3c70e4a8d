"""Takes samples until the stopping rule is met: enough of them, steady and precise."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

import numpy as np

from benchmark.measurement import StopReason, Timing
from benchmark.records import Sampling
from benchmark.stats.intervals import GROWTH, StoppingRule
from benchmark.stats.steady_state import drift, steady_start
from benchmark.timing.energy import Energy

_LEAST_DRIFT: Final = 0.05
"""Greatest drift that is steady under every sampling; one that asks for less precision allows more."""


class Calls(Protocol):
    """Calls that are made and timed, by one thread or by several."""

    samples: list[int]
    """Nanoseconds of each call, in the order in which they ended."""
    device_ns: list[int]
    token_ns: list[Sequence[int]]
    energy: Energy

    @property
    def wall_s(self) -> float:
        """Seconds in which calls ran."""

    def make(self, min_calls: int, max_calls: int, min_s: float, max_s: float) -> None:
        """Call until both minima are reached in all, or one maximum."""

    def since(self, start: int) -> tuple[float, float]:
        """Wall and CPU seconds of the calls from `start` on."""

    def disturb(self) -> None:
        """Call once, untimed: the analysis of the samples has cooled the caches."""


class _Check(NamedTuple):
    """Result of one check of the samples."""

    start: int | None
    """The first sample of the steady state; null if there is none."""
    enough: bool
    precise: bool


class Sampler:
    """Takes samples and checks them against the stopping rule, each time with half as many again."""

    def __init__(self, sampling: Sampling, warmup: Calls, timed: Calls) -> None:
        self._sampling, self._warmup, self._timed = sampling, warmup, timed
        self._rule = (
            StoppingRule(sampling.precision_percentile / 100, sampling.precision)
            if sampling.precision
            else None
        )
        self._analysis_s = 0.0

    def timing(self) -> Timing:
        """Warm up and take samples; return those from the steady state on."""
        sampling = self._sampling
        self._warmup.make(sampling.warmup_calls, sampling.max_calls, sampling.warmup_s, sampling.max_s)
        check, reason = self._sampled()
        start = check.start or 0
        wall_s, cpu_s = self._timed.since(start)
        joules, calls = self._timed.energy.joules, len(self._timed.samples)
        return Timing(
            nanoseconds=tuple(self._timed.samples[start:]),
            warmup_calls=len(self._warmup.samples) + start,
            warmup_s=self._warmup.wall_s + self._timed.wall_s - wall_s,
            wall_s=wall_s,
            cpu_s=cpu_s,
            steady=drift(self._timed.samples[start:]) <= max(_LEAST_DRIFT, sampling.repeat_precision or 0),
            stop_reason=reason,
            analysis_s=self._analysis_s,
            energy_j=None if joules is None else joules * (calls - start) / calls,
            device_nanoseconds=tuple(self._timed.device_ns[start:]),
            token_nanoseconds=tuple(map(tuple, self._timed.token_ns[start:])),
        )

    def _sampled(self) -> tuple[_Check, StopReason]:
        sampling, timed, samples = self._sampling, self._timed, self._timed.samples
        calls = sampling.min_calls
        while True:
            timed.make(calls, sampling.max_calls, sampling.min_s, sampling.max_s)
            check = self._check()
            if check.enough and check.precise:
                return check, "precision" if self._rule else "enough"
            if len(samples) >= sampling.max_calls:
                return check, "max_calls"
            if timed.wall_s >= sampling.max_s:
                return check, "max_s"
            calls = int(len(samples) * GROWTH) + 1
            timed.disturb()

    def _check(self) -> _Check:
        began = time.perf_counter()
        before, samples = len(self._warmup.samples), self._timed.samples
        trace = np.array([*self._warmup.samples, *samples], float)
        steady = steady_start(trace)
        start = None if steady is None else max(0, steady - before)
        left = trace[before + (start or 0) :]
        precise = self._rule is None or (self._rule.is_met(left) and start is not None)
        self._analysis_s += time.perf_counter() - began
        return _Check(start, len(left) >= self._sampling.min_calls, precise)
