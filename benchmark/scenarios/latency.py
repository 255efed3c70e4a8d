"""Closed loop, one call in flight."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import numpy as np

from benchmark.measured import StopReason, Timing
from benchmark.records import Sampling, Session, frozen
from benchmark.statistics import GROWTH, Stopping, measure_calls, steady_start

_BLOCK_NS = 100_000_000
"""Between looks at the clock and the limits, calls run back to back for about this long."""


@frozen
class Latency:
    """The next call starts when the last has answered; every sample is kept."""

    name: ClassVar[str] = "latency"

    def measure(self, session: Session, sampling: Sampling) -> Timing:
        """Warm up, then call until the samples are steady, and as many and as precise as was asked for."""
        warmup = _Calls(session)
        warmup.make(sampling.warmup_calls, sampling.max_calls, sampling.warmup_s, sampling.max_s)
        timed = _Calls(session)
        return _Sampler(sampling, warmup, timed, session).timing()


class _Look(NamedTuple):
    """What the samples told when they were last looked at."""

    start: int | None
    """The first sample of the steady state; null where there is none."""
    enough: bool
    precise: bool


class _Calls:
    """Calls of one session, taken in blocks so that looking at the limits costs nothing per call."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.samples: list[int] = []
        self.device_ns: list[int] = []
        self.token_ns: list[Sequence[int]] = []
        self.blocks: list[tuple[int, int, float]] = []
        """Of each block: calls, nanoseconds of wall time, CPU seconds."""

    @property
    def wall_s(self) -> float:
        return sum(wall_ns for _, wall_ns, _ in self.blocks) / 1e9

    def make(self, min_calls: int, max_calls: int, min_s: float, max_s: float) -> None:
        """Call until there are both minima in all, or one maximum."""
        while True:
            elapsed_s = self.wall_s
            enough = len(self.samples) >= min_calls and elapsed_s >= min_s
            if enough or len(self.samples) >= max_calls or elapsed_s >= max_s:
                return
            typical = max(1, self.samples[-1]) if self.samples else _BLOCK_NS
            block = max(1, min(_BLOCK_NS // typical, max_calls - len(self.samples)))
            if elapsed_s >= min_s:
                block = min(block, max(1, min_calls - len(self.samples)))
            self._block(block)

    def _block(self, calls: int) -> None:
        if self._session.before_block:
            self._session.before_block()
        self._told()  # of calls outside of blocks: forgotten
        clock, cpu_s = self._session.clock, time.process_time()
        started = clock()
        self.samples += measure_calls(self._session.run, calls, clock)
        self.blocks.append((calls, clock() - started, time.process_time() - cpu_s))
        device_ns, token_ns = self._told()
        self.device_ns += device_ns
        self.token_ns += token_ns

    def _told(self) -> tuple[Sequence[int], Sequence[Sequence[int]]]:
        """What the device and the model's tokens tell of the calls since this was last asked."""
        session = self._session
        return (
            session.device_ns() if session.device_ns else (),
            session.token_ns() if session.token_ns else (),
        )

    def since(self, start: int) -> tuple[float, float]:
        """Wall and CPU seconds of the calls from `start` on; of a block that it cuts, the part it leaves."""
        wall_ns, cpu_s, end = 0.0, 0.0, 0
        for calls, block_ns, block_cpu_s in self.blocks:
            first, end = end, end + calls
            left = max(0, end - max(first, start)) / calls
            if 0 < left < 1:
                own = self.samples[first:end]
                left = sum(own[start - first :]) / max(1, sum(own))
            wall_ns, cpu_s = wall_ns + left * block_ns, cpu_s + left * block_cpu_s
        return wall_ns / 1e9, cpu_s


class _Sampler:
    """Looks at the samples now and then, each time at half as many again, until they are as asked for."""

    def __init__(self, sampling: Sampling, warmup: _Calls, timed: _Calls, session: Session) -> None:
        self._sampling, self._warmup, self._timed, self._session = sampling, warmup, timed, session
        self._stopping = (
            Stopping(sampling.precision_percentile / 100, sampling.precision) if sampling.precision else None
        )
        self._analysis_s = 0.0

    def timing(self) -> Timing:
        """Take samples, and tell of those that count."""
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
            self._session.run()  # apart: looking has cooled the caches

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
