"""Closed loop, one call in flight."""

from __future__ import annotations

import time
from typing import ClassVar

from benchmark.records import Sampling, Session, Timing, frozen
from benchmark.statistics import measure_calls

_BLOCK_NS = 100_000_000
"""Between looks at the clock and the limits, calls run back to back for about this long."""


@frozen
class Latency:
    """The next call starts when the last has answered; every sample is kept."""

    name: ClassVar[str] = "latency"

    def measure(self, session: Session, sampling: Sampling) -> Timing:
        """Warm up, then call until both minima are reached, or one maximum."""
        started = session.clock()
        warmup = _calls(session, sampling.warmup_calls, sampling.max_calls, sampling.warmup_s, sampling.max_s)
        warmed, cpu = session.clock(), time.process_time()
        samples = _calls(session, sampling.min_calls, sampling.max_calls, sampling.min_s, sampling.max_s)
        return Timing(
            nanoseconds=tuple(samples),
            warmup_calls=len(warmup),
            warmup_s=(warmed - started) / 1e9,
            wall_s=(session.clock() - warmed) / 1e9,
            cpu_s=time.process_time() - cpu,
        )


def _calls(session: Session, min_calls: int, max_calls: int, min_s: float, max_s: float) -> list[int]:
    """Latencies of enough calls, taken in blocks so that looking at the limits costs nothing per call."""
    samples: list[int] = []
    start = session.clock()
    while True:
        elapsed_s = (session.clock() - start) / 1e9
        enough = len(samples) >= min_calls and elapsed_s >= min_s
        if enough or len(samples) >= max_calls or elapsed_s >= max_s:
            return samples
        typical = max(1, samples[-1]) if samples else _BLOCK_NS
        block = max(1, min(_BLOCK_NS // typical, max_calls - len(samples)))
        if elapsed_s >= min_s:
            block = min(block, max(1, min_calls - len(samples)))
        samples += measure_calls(session.run, block, session.clock)
