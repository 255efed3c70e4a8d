"""Latency: a closed loop with one call at a time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import ClassVar

from benchmark.measurement import Timing
from benchmark.protocols import Asking, ScenarioDefaults
from benchmark.records import Sampling, Session, frozen
from benchmark.timing.energy import Energy
from benchmark.timing.harness import measure_calls
from benchmark.timing.sampler import Sampler

_BLOCK_NS = 100_000_000
"""Calls run back to back for about this long between checks of the limits."""


@frozen
class Latency(ScenarioDefaults):
    """Each call starts when the one before has returned. Every latency is kept."""

    name: ClassVar[str] = "latency"
    replicas: ClassVar[int] = 1
    workers: ClassVar[int] = 1

    def measure(
        self,
        sessions: Sequence[Session],
        sampling: Sampling,
        asking: Asking | None = None,  # noqa: ARG002 - its inputs are always the same
    ) -> Timing:
        """Warm up, then call until the stopping rule of `sampling` is met."""
        (session,) = sessions
        return Sampler(sampling, _Calls(session), _Calls(session)).timing()


class _Calls:
    """Calls of one session, made in blocks: checking the limits costs no time per call."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.energy = Energy(session.energy_j)
        self.samples: list[int] = []
        self.device_ns: list[int] = []
        self.token_ns: list[Sequence[int]] = []
        self.blocks: list[tuple[int, int, float]] = []
        """For each block: calls, nanoseconds of wall time, CPU seconds."""

    @property
    def wall_s(self) -> float:
        return sum(wall_ns for _, wall_ns, _ in self.blocks) / 1e9

    def make(self, min_calls: int, max_calls: int, min_s: float, max_s: float) -> None:
        """Call until both minima are reached, counted over all calls, or one maximum."""
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
        self._new_times()  # drops those of calls outside of blocks
        with self.energy.counted():
            clock, cpu_s = self._session.clock, time.process_time()
            started = clock()
            self.samples += measure_calls(self._session.run, calls, clock)
            self.blocks.append((calls, clock() - started, time.process_time() - cpu_s))
        device_ns, token_ns = self._new_times()
        self.device_ns += device_ns
        self.token_ns += token_ns

    def disturb(self) -> None:
        """Call once, untimed."""
        self._session.run()

    def _new_times(self) -> tuple[Sequence[int], Sequence[Sequence[int]]]:
        """Times by the device's clock and times of tokens, of the calls since the last request."""
        session = self._session
        return (
            session.device_ns() if session.device_ns else (),
            session.token_ns() if session.token_ns else (),
        )

    def since(self, start: int) -> tuple[float, float]:
        """Wall and CPU seconds of the calls from `start` on; a block that `start` divides counts in part."""
        wall_ns, cpu_s, end = 0.0, 0.0, 0
        for calls, block_ns, block_cpu_s in self.blocks:
            first, end = end, end + calls
            left = max(0, end - max(first, start)) / calls
            if 0 < left < 1:
                own = self.samples[first:end]
                left = sum(own[start - first :]) / max(1, sum(own))
            wall_ns, cpu_s = wall_ns + left * block_ns, cpu_s + left * block_cpu_s
        return wall_ns / 1e9, cpu_s
