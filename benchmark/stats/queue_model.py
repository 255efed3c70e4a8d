"""One queue before several servers, computed from arrivals and service times."""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

_FIRST_ANSWERED = 1000
"""Requests of a long run that are left out: the queue is empty before the first."""


class QueueModel(NamedTuple):
    """First come, first served; a server that is free takes what waits, up to `max_batch` requests."""

    servers: int
    max_batch: int
    max_delay_s: float
    """How long a server waits for a batch to fill, from the arrival of its first request."""
    services: Mapping[int, np.ndarray]
    """Seconds of measured calls, by the size of the batch that the call had room for."""

    def latencies(self, arrivals: np.ndarray, chance: np.ndarray) -> Any:
        """Seconds from each arrival to its answer; arrivals are in seconds, ascending.

        `chance`, a number from 0 to 1 for each, picks the service time of a call that begins with it.
        """
        drawn = {
            size: times[(chance * len(times)).astype(int)]
            for size, times in self.services.items()
            if len(times)
        }
        if self.max_batch == 1 and self.servers == 1:
            service = drawn[1]
            done = np.cumsum(service)
            started = np.maximum.accumulate(arrivals - (done - service)) + done - service
            return started + service - arrivals
        if self.max_batch == 1:
            return self._one_by_one(arrivals, drawn[1])
        return self._in_batches(arrivals, drawn)

    def late_share(self, rate: float, limit_s: float, gaps: np.ndarray, chance: np.ndarray) -> Any:
        """Whether each answer of a long run is late; `gaps` are exponential with mean 1."""
        return self.latencies(np.cumsum(gaps / rate), chance)[_FIRST_ANSWERED:] > limit_s

    def _one_by_one(self, arrivals: np.ndarray, service: np.ndarray) -> Any:
        free, ends = [0.0] * self.servers, []
        for arrival, seconds in zip(arrivals.tolist(), service.tolist(), strict=True):
            end = max(arrival, free[0]) + seconds
            heapq.heapreplace(free, end)
            ends.append(end)
        return np.array(ends) - arrivals

    def _in_batches(self, arrivals: np.ndarray, drawn: Mapping[int, np.ndarray]) -> Any:
        came, free, first, count = arrivals.tolist(), [0.0] * self.servers, 0, len(arrivals)
        sizes = sorted(drawn)
        room = [
            next((size for size in sizes if size >= taken), sizes[-1]) for taken in range(self.max_batch + 1)
        ]
        ends = np.empty(count)
        while first < count:
            ready = max(came[first], free[0])
            closes = max(ready, came[first] + self.max_delay_s)
            after = min(first + self.max_batch, bisect_right(came, closes, first))
            start = max(ready, came[after - 1]) if after - first == self.max_batch else closes
            end = start + float(drawn[room[after - first]][first])
            heapq.heapreplace(free, end)
            ends[first:after] = end
            first = after
        return ends - arrivals
