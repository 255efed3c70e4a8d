"""A loaded model under load: processes for its copies, one for the generator, and the loads that they run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from benchmark.cell import Cell
from benchmark.execution.team import Barrier, Team
from benchmark.records import Sampling, Workload
from benchmark.serving.board import Board
from benchmark.serving.generator import Generator
from benchmark.serving.queue import Batching, generate, serve
from benchmark.serving_records import CallSize, CallTimes, Observed, Requests, ServingOptions
from benchmark.stats.saturation import growth
from benchmark.timing.copies import First, Replica, Replicas
from benchmark.timing.noise import Usage, usage
from benchmark.timing.session import load
from benchmark.timing.waiting import generated_in_real_time, in_real_time

_LEAD_S: Final = 0.05
"""From the order to the start of a load: all processes are ready then."""
_LOOK_S: Final = 0.02
"""Between looks at the queue."""
_AGAIN_S: Final = 1.0
"""A queue that grows has to go on growing for this long: a device that stalls once is not saturated."""
_NULL_CALLS, _NULL_GAP_S = 101, 0.002
_SERVICE_CALLS, _SERVICE_S = 20, 1.0
"""Calls of each size before the first load, and seconds after which fewer do."""


class Loaded(NamedTuple):
    """What one size of calls needs: the compiled workload."""

    size: CallSize
    workload: Workload
    folder: Path | None


class _Copy(Replica):
    """One copy of the model in a process of its own, with a session for each size of calls."""

    def __init__(  # noqa: PLR0913, PLR0917 - what it loads, and its place among the others
        self,
        cell: Cell,
        sizes: Sequence[Loaded],
        shares: Sequence[Sequence[int]],
        board: Board,
        number: int,
        barrier: Barrier,
    ) -> None:
        first, *others = sizes
        super().__init__(cell, first.workload, first.folder, shares, number, barrier)
        e, (session,) = cell.experiment, self.sessions
        loaded = {first.size: session}
        for other in others:
            loaded[other.size], seconds = load(
                e.hardware, e.compiler, other.workload, other.folder, shares[number]
            )
            self.load_s += seconds
        self._calls = {size.room: in_real_time(one) for size, one in loaded.items()}
        self._generators = {
            size: generated_in_real_time(one) for size, one in loaded.items() if session.generate
        }
        self._board = board

    def warm_up(self, sampling: Sampling) -> dict[int, CallTimes]:
        """Call each size in a closed loop; return the calls after the warm-up, by room.

        Generations have their full length; of several prompts those of the longest count.
        """
        found: dict[int, CallTimes] = {}
        longest = self._cell.shape.output_length or 1
        for size, generator in sorted(self._generators.items()):
            found[size.room] = self._times(partial(generator, longest), sampling)
        for room, call in () if found else self._calls.items():
            found[room] = self._times(call, sampling)
        return found

    def _times(self, call: Callable[[], Any], sampling: Sampling) -> CallTimes:
        calls, began = 0, time.perf_counter()
        while calls < sampling.warmup_calls or time.perf_counter() - began < sampling.warmup_s:
            call()
            calls += 1
        times, began = list[tuple[float, float, float]](), time.perf_counter()
        while len(times) < _SERVICE_CALLS and (not times or time.perf_counter() - began < _SERVICE_S):
            since = time.perf_counter()
            answer = call()
            seconds = time.perf_counter() - since
            times.append((seconds, *_of_tokens(answer if self._generators else ())))
        return CallTimes(*map(np.array, zip(*times, strict=True)))

    def serve(self, batching: Batching) -> None:
        """Answer requests until the load is over."""
        if self._generators:
            generate(self._board, batching, self._generators)
        else:
            serve(self._board, batching, self._calls)

    def serve_nothing(self) -> None:
        """Take requests and return at once: what remains is the cost of the transport."""
        serve(self._board, Batching(1, 0), {1: _nothing})


class Station:
    """Runs loads, one after the other."""

    def __init__(self, copies: Team, generator: Team, board: Board, options: ServingOptions) -> None:
        self._copies, self._generator, self._board, self._options = copies, generator, board, options
        self.replicas = Replicas(copies)

    def first_call(self) -> First:
        """Load all copies and call each once."""
        return self.replicas.first_call(None)

    def warm_up(self, sampling: Sampling) -> dict[int, CallTimes]:
        """Times of calls by size, of all copies at the same time."""
        found: list[dict[int, CallTimes]] = self._copies.call("warm_up", sampling)
        return {room: CallTimes.joined([one[room] for one in found]) for room in found[0]}

    def transport_ms(self) -> float:
        """Median time from a request's issue to the start of its call, while copies wait for requests."""
        schedule = (np.arange(_NULL_CALLS) * _NULL_GAP_S * 1e9).astype(np.int64)
        seen = self._run(Requests(schedule), "serve_nothing")
        return float(np.median(seen.started - seen.issued)) / 1e6

    def run(self, requests: Requests) -> Observed:
        """Run one load. It stops early if the queue grows."""
        options = self._options
        return self._run(requests, "serve", Batching(options.max_batch, round(options.max_delay_ms * 1e6)))

    def usage(self) -> Usage:
        """CPU time of this process, of all copies and of the generator."""
        members = [*self._copies.call("usage"), *self._generator.call("usage")]
        return Usage(*map(sum, zip(usage(), *members, strict=True)))

    def _run(self, requests: Requests, method: str, *arguments: object) -> Observed:
        board = self._board
        board.prepare(requests)
        board["begin_ns"] = time.perf_counter_ns() + round(_LEAD_S * 1e9)
        with ThreadPoolExecutor(2) as threads:
            serving = threads.submit(self._copies.call, method, *arguments)
            issuing = threads.submit(self._generator.call, "issue")
            try:
                growing = self._watched(serving, issuing)
            finally:  # also if a process has died: the others must not wait for it
                board["stopped"] = int(not issuing.done() or board["stopped"])
                issuing.exception()
                board.close(self._options.replicas)
            serving.result()
            issuing.result()
        return board.observed(growing)

    def _watched(self, serving: Future[Any], issuing: Future[Any]) -> float | None:
        """Wait until the generator is done; stop it if the queue goes on growing, and return by how much."""
        board, began = self._board, self._board["begin_ns"]
        moments, outstanding, grows_since = list[float](), list[int](), None
        while not issuing.done():
            time.sleep(_LOOK_S)
            if serving.done() and not board["stopped"]:
                return None
            now = (time.perf_counter_ns() - began) / 1e9
            moments.append(now)
            outstanding.append(board.outstanding)
            if len(moments) % 10:
                continue
            found = growth(np.array(moments), np.array(outstanding), board["issued"])
            if found is None:
                grows_since = None
            elif grows_since is None:
                grows_since = now
            elif now - grows_since >= _AGAIN_S:
                board["stopped"] = 1
                return found
        return growth(np.array(moments), np.array(outstanding), board["issued"])


def _of_tokens(moments: Sequence[int]) -> tuple[float, float]:
    """Seconds to the first token, and per token after it, from the nanoseconds of each."""
    first, last = (moments[0], moments[-1]) if len(moments) else (0, 0)
    return first / 1e9, (last - first) / 1e9 / (len(moments) - 1) if len(moments) > 1 else np.nan


def _nothing() -> None:
    """A call that takes no time."""


@contextmanager
def opened(
    cell: Cell, sizes: Sequence[Loaded], options: ServingOptions, shares: Sequence[Sequence[int]]
) -> Iterator[Station]:
    """Start the processes, each copy with its share of the device's cores; they end with the block."""
    board = Board()
    shares = shares or ((),) * options.replicas
    with (
        Team(lambda _, __: Generator(board), 1) as generator,
        Team(partial(_Copy, cell, sizes, shares, board), options.replicas) as copies,
    ):
        yield Station(copies, generator, board, options)
