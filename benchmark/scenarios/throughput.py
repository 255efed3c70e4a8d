"""Throughput: a closed loop with several callers for each of several copies of the model."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

from pydantic import PositiveInt

from benchmark.measurement import Timing
from benchmark.protocols import Asking, Compiler, Dataset, Device, ScenarioDefaults, Task
from benchmark.records import Sampling, Session, Shape, frozen
from benchmark.timing.callers import Caller, call_together, calls_per_ns, in_order
from benchmark.timing.energy import Energy
from benchmark.timing.sampler import Sampler

_BLOCK_NS = 500_000_000
"""Callers run for about this long between checks of the limits; their last calls add little to it."""


@frozen
class Throughput(ScenarioDefaults):
    """`replicas` copies of the model, each called by `workers` threads without a pause.

    Same as NeuronPerf's n_models and workers_per_model. Where a device has cores to give, as CPUs and Neuron
    devices have, each copy is a process with its own; else all are in one process. Latencies are those of
    the callers, and include waiting for each other.
    """

    replicas: PositiveInt = 1
    """Copies of the model that are loaded."""
    workers: PositiveInt = 1
    """Threads that call each copy."""
    search: bool = False
    """Find the best replicas, workers and batch first, within the cores, `max_workers` and `max_batch`."""
    max_workers: PositiveInt = 2
    """Most workers that a search tries."""
    max_batch: PositiveInt = 32
    """Most batches of the cell in one call that a search tries: it tries powers of two."""

    name: ClassVar[str] = "throughput"

    def refuse(
        self,
        task: Task,  # noqa: ARG002 - the same for all
        compiler: Compiler,  # noqa: ARG002
        device: Device,  # noqa: ARG002
        shape: Shape,  # noqa: ARG002
        dataset: Dataset | None = None,  # noqa: ARG002
    ) -> str | None:
        """Refuse what a search ignores."""
        if self.search and (self.replicas, self.workers) != (1, 1):
            return (
                f"scenario.search=true finds replicas and workers itself: leave out scenario.replicas="
                f"{self.replicas} and scenario.workers={self.workers}"
            )
        return None

    @property
    def sizes(self) -> tuple[int, ...]:
        """Of a search powers of two up to `max_batch`."""
        return tuple(2**power for power in range(self.max_batch.bit_length())) if self.search else (1,)

    def variants(self, cores: int) -> Sequence[Throughput]:
        """Of a search: copies in powers of two up to the cores, and as many as cores; workers likewise."""
        if not self.search:
            return ()
        return tuple(
            Throughput(replicas=replicas, workers=workers)
            for replicas in _powers(cores)
            for workers in _powers(self.max_workers)
        )

    def measure(
        self,
        sessions: Sequence[Session],
        sampling: Sampling,
        asking: Asking | None = None,  # noqa: ARG002 - its inputs are always the same
    ) -> Timing:
        """Warm up, then let all callers run until the stopping rule of `sampling` is met."""
        copies = self.replicas if sessions[0].block else len(sessions)
        callers = copies * self.workers
        with ThreadPoolExecutor(callers) as threads:  # of copies in processes of their own none is started
            warmup, timed = (_Callers(sessions, self.workers, callers, threads) for _ in range(2))
            return Sampler(sampling, warmup, timed).timing()


def _powers(most: int) -> list[int]:
    """Powers of two up to this number, and the number."""
    return sorted({most, *(2**power for power in range(most.bit_length()))})


class _Callers:
    """Calls of several callers, made in blocks during which all of them call."""

    def __init__(
        self, sessions: Sequence[Session], workers: int, callers: int, threads: ThreadPoolExecutor
    ) -> None:
        self._sessions, self._workers, self._callers, self._threads = sessions, workers, callers, threads
        self.energy = Energy(sessions[0].energy_j)  # of one device, whichever copy reads it
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
            most = max(1, (max_calls - len(self.samples)) // self._callers)
            self._block(most, min(_BLOCK_NS, int(left_s * 1e9) + 1))

    def _block(self, most: int, block_ns: int) -> None:
        for copy in self._sessions:
            if copy.before_block:
                copy.before_block()
        cpu_s = time.process_time()
        with self.energy.counted():
            callers, elsewhere_s = self._called(most, block_ns)
        calls = sum(len(caller.latencies) for caller in callers)
        cpu_s = time.process_time() - cpu_s + elsewhere_s
        self._blocks.append((calls, calls / calls_per_ns(callers) / 1e9, cpu_s))
        self.samples += in_order(callers)

    def _called(self, most: int, block_ns: int) -> tuple[list[Caller], float]:
        """The callers of one block, and the CPU seconds of other processes."""
        (first, *_) = self._sessions
        if first.block:
            return first.block(self._workers, most, block_ns)
        called = [session for session in self._sessions for _ in range(self._workers)]
        return call_together(self._threads, called, most, block_ns), 0.0

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
        for copy in self._sessions:
            copy.run()
