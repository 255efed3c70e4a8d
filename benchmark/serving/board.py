"""Requests in shared memory: the generator writes when each is issued, the copies when they answer it."""

from __future__ import annotations

import mmap
import multiprocessing
from typing import Final

import numpy as np

from benchmark.errors import Incompatible
from benchmark.serving_records import Observed, Requests

MOST_REQUESTS: Final = 2**21
"""Of one load. Memory is taken as it is used."""
_FORK = multiprocessing.get_context("fork")
_COUNTERS: Final = ("count", "issued", "taken", "begin_ns", "stopped")
_TIMES: Final = ("issued", "started", "ended", "first_token")
_FIELDS: Final = ("scheduled", *_TIMES, "room", "first", "prompt", "output", "padded")


class Board:
    """Made before processes are forked; all of them see the same memory."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 8 * (len(_COUNTERS) + len(_FIELDS) * MOST_REQUESTS))
        whole = np.frombuffer(self._memory, np.int64)
        self._counters = whole[: len(_COUNTERS)]
        self.fields = {
            name: whole[len(_COUNTERS) + place * MOST_REQUESTS :][:MOST_REQUESTS]
            for place, name in enumerate(_FIELDS)
        }
        self.ready = _FORK.Semaphore(0)
        """One count for each request in the queue, and at the end one for each copy."""
        self.turn = _FORK.Lock()
        """Held by the copy that takes requests from the queue."""

    def __getitem__(self, counter: str) -> int:
        return int(self._counters[_COUNTERS.index(counter)])

    def __setitem__(self, counter: str, value: int) -> None:
        self._counters[_COUNTERS.index(counter)] = value

    def prepare(self, requests: Requests) -> None:
        """Write the requests of a load.

        Raises:
            Incompatible: it has too many requests.
        """
        if (count := len(requests.scheduled)) > MOST_REQUESTS:
            raise Incompatible(
                f"{count} requests in one load are too many, at most {MOST_REQUESTS}: shorten "
                "scenario.duration_s or scenario.search_s, or lower scenario.rate"
            )
        while self.ready.acquire(block=False):
            pass
        self._counters[:] = 0
        self["count"] = count
        for values in self.fields.values():
            values[:count] = 0
        self.fields["scheduled"][:count] = requests.scheduled
        if requests.lengths is not None:
            self.fields["prompt"][:count], self.fields["output"][:count] = requests.lengths.T

    @property
    def outstanding(self) -> int:
        """Requests without an answer at this moment."""
        issued = self["issued"]
        return issued - int(np.count_nonzero(self.fields["ended"][:issued]))

    def close(self, copies: int) -> None:
        """Let the copies leave once the queue is empty, or at once if the load was stopped."""
        for _ in range(copies):
            self.ready.release()

    def observed(self, growing: float | None) -> Observed:
        """What happened to the requests that were issued; times count from the start of the load."""
        issued, begin = self["issued"], self["begin_ns"]
        found = {name: values[:issued].copy() for name, values in self.fields.items()}
        for name in _TIMES:
            found[name] = np.where(found[name] > 0, found[name] - begin, 0)
        return Observed(**{**found, "first": found["first"] > 0}, growing=growing)
