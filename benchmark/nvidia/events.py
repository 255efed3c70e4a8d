"""Times calls by the card's own clock, and waits for what a thread has asked of the card, not for others.

A thread that isn't the one that loaded the model gets a stream of its own, so that callers of one model run
side by side; the loading thread keeps torch's current stream, as a loop by hand has it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final, Protocol

PAIRS: Final = 16_384
"""Pairs of events: more than the calls of a block, as no call takes less than 6 microseconds."""


class Timer:
    """Calls a model and waits for the card; keeps the times of the loading thread's calls."""

    def __init__(self, run: Callable[[], Any], cuda: Any) -> None:
        """`cuda` is torch.cuda. Every event is recorded now: torch creates it when it is first recorded."""
        self._run, self._cuda = run, cuda
        self._threads = threading.local()
        self._threads.caller = self._ring = _Ring(run, cuda)

    def call(self) -> Any:
        """Call it; return when the card has done the work."""
        caller: _Caller | None = getattr(self._threads, "caller", None)
        if caller is None:
            caller = self._threads.caller = _Waiter(self._run, self._cuda)
        return caller.call()

    def device_ns(self) -> list[int]:
        """Duration of each call of the loading thread since this was last called."""
        return self._ring.device_ns()


class _Caller(Protocol):
    def call(self) -> Any: ...


class _Ring:
    """Pairs of events that are used again and again."""

    def __init__(self, run: Callable[[], Any], cuda: Any) -> None:
        self._run = run
        self._starts, self._ends = ([cuda.Event(enable_timing=True) for _ in range(PAIRS)] for _ in range(2))
        for event in (*self._starts, *self._ends):
            event.record()
        cuda.synchronize()
        self._calls, self._read, self._early = 0, 0, list[int]()

    def call(self) -> Any:
        place = self._calls % PAIRS
        if self._calls - self._read >= PAIRS:  # else the oldest time would be lost
            self._early.append(self._time(place))
            self._read += 1
        self._starts[place].record()
        outputs = self._run()
        self._ends[place].record()
        self._ends[place].synchronize()
        self._calls += 1
        return outputs

    def device_ns(self) -> list[int]:
        early, self._early = self._early, []
        times = [*early, *(self._time(call % PAIRS) for call in range(self._read, self._calls))]
        self._read = self._calls
        return times

    def _time(self, place: int) -> int:
        return int(self._starts[place].elapsed_time(self._ends[place]) * 1e6 + 0.5)


class _Waiter:
    """A thread beside the loading one: its own stream, no times."""

    def __init__(self, run: Callable[[], Any], cuda: Any) -> None:
        self._run = run
        cuda.synchronize()  # the inputs were copied on another stream
        cuda.set_stream(cuda.Stream())
        self._end = cuda.Event()
        self._end.record()

    def call(self) -> Any:
        outputs = self._run()
        self._end.record()
        self._end.synchronize()
        return outputs
