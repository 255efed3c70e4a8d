"""Throughput: a closed loop with several callers for each of several copies of the model."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import numpy as np
from pydantic import PositiveInt

from benchmark.measurement import Timing
from benchmark.protocols import ScenarioDefaults
from benchmark.records import Sampling, Session, frozen
from benchmark.timing.energy import Energy
from benchmark.timing.harness import measure_calls
from benchmark.timing.sampler import Sampler

_BLOCK_NS = 500_000_000
"""Callers run for about this long between checks of the limits; their last calls add little to it."""


@frozen
class Throughput(ScenarioDefaults):
    """`replicas` copies of the model in one process, each called by `workers` threads without a pause.

    Same as NeuronPerf's n_models and workers_per_model: on Neuron devices each copy is loaded to the next of
    `hardware.cores`. Latencies are those of the callers, and include waiting for each other.
    """

    replicas: PositiveInt = 1
    """Copies of the model that are loaded."""
    workers: PositiveInt = 1
    """Threads that call each copy."""

    name: ClassVar[str] = "throughput"

    def measure(self, sessions: Sequence[Session], sampling: Sampling) -> Timing:
        """Warm up, then let all callers run until the stopping rule of `sampling` is met."""
        callers = [session for session in sessions for _ in range(self.workers)]
        with ThreadPoolExecutor(len(callers)) as threads:
            return Sampler(sampling, _Callers(callers, threads), _Callers(callers, threads)).timing()


class _Callers:
    """Calls of several threads, made in blocks during which all threads call."""

    def __init__(self, sessions: Sequence[Session], threads: ThreadPoolExecutor) -> None:
        self._sessions, self._threads = sessions, threads
        self.energy = Energy(sessions[0].energy_j)  # of one device, whichever copy reads it
        self._copies = {id(session): session for session in sessions}.values()
        self.samples: list[int] = []
        self.device_ns: list[int] = []
        self.token_ns: list[Sequence[int]] = []
        self._blocks: list[tuple[int, float, float]] = []
        """For each block: calls, seconds that as many calls take at the rate of all callers, CPU seconds."""

    @property
    def wall_s(self) -> float:
        return sum(wall_s for _, wall_s, _ in self._blocks)

    def make(self, min_calls: int, max_calls: int, min_s: float, max_s: float) -> None:
        """Call until both minima are reached, counted over all calls, or one maximum (+1 call per caller)."""
        while True:
            left_s = max_s - self.wall_s
            if len(self.samples) >= min_calls and self.wall_s >= min_s:
                return
            if len(self.samples) >= max_calls or left_s <= 0:
                return
            most = max(1, (max_calls - len(self.samples)) // len(self._sessions))
            self._block(most, min(_BLOCK_NS, int(left_s * 1e9) + 1))

    def _block(self, most: int, block_ns: int) -> None:
        for copy in self._copies:
            if copy.before_block:
                copy.before_block()
        cpu_s = time.process_time()
        with self.energy.counted():
            submit = self._threads.submit
            jobs = [submit(_call_repeatedly, session, most, block_ns) for session in self._sessions]
            found = [job.result() for job in jobs]
        per_ns = sum(len(latencies) / max(1, sum(latencies)) for latencies in found)
        calls = sum(map(len, found))
        self._blocks.append((calls, calls / per_ns / 1e9, time.process_time() - cpu_s))
        ends = np.concatenate([np.cumsum(latencies) for latencies in found])
        self.samples += np.concatenate(found)[np.argsort(ends, kind="stable")].tolist()

    def since(self, start: int) -> tuple[float, float]:
        """Wall and CPU seconds of the calls from `start` on; a block that `start` divides counts in part."""
        wall_s, cpu_s, end = 0.0, 0.0, 0
        for calls, block_s, block_cpu_s in self._blocks:
            first, end = end, end + calls
            left = max(0, end - max(first, start)) / calls
            wall_s, cpu_s = wall_s + left * block_s, cpu_s + left * block_cpu_s
        return wall_s, cpu_s

    def disturb(self) -> None:
        """Call each copy once, untimed."""
        for copy in self._copies:
            copy.run()


def _call_repeatedly(session: Session, most: int, block_ns: int) -> list[int]:
    """Latencies of one caller, back to back for `block_ns` or `most` calls."""
    latencies: list[int] = []
    spent = 0
    while len(latencies) < most and spent < block_ns:
        typical = max(1, latencies[-1]) if latencies else block_ns
        calls = max(1, min((block_ns - spent) // typical, most - len(latencies)))
        made = measure_calls(session.run, calls, session.clock)
        latencies += made
        spent += sum(made)
    return latencies
