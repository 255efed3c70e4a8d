"""One queue before several servers, computed from arrivals and measured calls."""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

_FIRST_ANSWERED = 1000
"""Requests of a long run that are left out: the queue is empty before the first."""


class Calls(NamedTuple):
    """Measured calls that had room for the same number of requests."""

    seconds: np.ndarray
    slack: np.ndarray
    """Seconds that a request may wait for this call and still have its answer in time; negative: none."""

    def drawn(self, chance: np.ndarray) -> Calls:
        """A call for each of these numbers from 0 to 1."""
        picked = (chance * len(self.seconds)).astype(int)
        return Calls(self.seconds[picked], self.slack[picked])


class Waited(NamedTuple):
    """What the queue did to each request."""

    wait: np.ndarray
    """Seconds from its arrival to the start of its call."""
    slack: np.ndarray
    """Seconds that it may wait."""


class QueueModel(NamedTuple):
    """First come, first served; a server that is free takes what waits, up to `max_batch` requests."""

    servers: int
    max_batch: int
    max_delay_s: float
    """How long a server waits for a batch to fill, from the arrival of its first request."""
    calls: Mapping[int, Calls]
    """Measured calls, by the size of the batch that they had room for."""

    def waited(self, arrivals: np.ndarray, chance: np.ndarray) -> Waited:
        """How long each request waits for its call; arrivals are in seconds, ascending.

        `chance`, a number from 0 to 1 for each, picks the call that begins with it.
        """
        drawn = {size: calls.drawn(chance) for size, calls in self.calls.items() if len(calls.seconds)}
        if self.max_batch > 1:
            return self._in_batches(arrivals, drawn)
        seconds, slack = drawn[1]
        if self.servers > 1:
            return Waited(self._one_by_one(arrivals, seconds), slack)
        before = np.cumsum(seconds) - seconds
        return Waited(np.maximum.accumulate(arrivals - before) + before - arrivals, slack)

    def late(self, arrivals: np.ndarray, chance: np.ndarray) -> Any:
        """Whether each answer is late."""
        wait, slack = self.waited(arrivals, chance)
        return wait > slack

    def late_in_the_long_run(self, rate: float, gaps: np.ndarray, chance: np.ndarray) -> Any:
        """Whether each answer of a long run at this rate is late; `gaps` are exponential with mean 1."""
        return self.late(np.cumsum(gaps / rate), chance)[_FIRST_ANSWERED:]

    def _one_by_one(self, arrivals: np.ndarray, service: np.ndarray) -> Any:
        free, starts = [0.0] * self.servers, []
        for arrival, seconds in zip(arrivals.tolist(), service.tolist(), strict=True):
            start = max(arrival, free[0])
            heapq.heapreplace(free, start + seconds)
            starts.append(start)
        return np.array(starts) - arrivals

    def _in_batches(self, arrivals: np.ndarray, drawn: Mapping[int, Calls]) -> Waited:
        came, free, first, count = arrivals.tolist(), [0.0] * self.servers, 0, len(arrivals)
        sizes = sorted(drawn)
        room = [
            next((size for size in sizes if size >= taken), sizes[-1]) for taken in range(self.max_batch + 1)
        ]
        starts, slack = np.empty(count), np.empty(count)
        while first < count:
            ready = max(came[first], free[0])
            closes = max(ready, came[first] + self.max_delay_s)
            after = min(first + self.max_batch, bisect_right(came, closes, first))
            start = max(ready, came[after - 1]) if after - first == self.max_batch else closes
            call = drawn[room[after - first]]
            heapq.heapreplace(free, start + float(call.seconds[first]))
            starts[first:after], slack[first:after] = start, call.slack[first]
            first = after
        return Waited(starts - arrivals, slack)
