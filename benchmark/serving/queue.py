"""One copy's side of the queue: take what waits, call, write the times, until the load is over."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from benchmark.serving.board import Board


class Batching(NamedTuple):
    """How many requests a call answers together, and how long it waits for them."""

    most: int
    delay_ns: int


def serve(board: Board, batching: Batching, calls: Mapping[int, Callable[[], Any]]) -> None:
    """Answer requests until the load is over. `calls` are by the number of requests they have room for."""
    clock, fields = time.perf_counter_ns, board.fields
    sizes = sorted(calls)
    room = [next(size for size in sizes if size >= taken) for taken in range(batching.most + 1)]
    while taken := _taken(board, batching):
        first, after = taken
        call = calls[room[after - first]]
        fields["first"][first] = 1
        fields["room"][first:after] = room[after - first]
        started = clock()
        call()
        ended = clock()
        fields["started"][first:after] = started
        fields["ended"][first:after] = ended


def _taken(board: Board, batching: Batching) -> tuple[int, int] | None:
    """The next requests, from the first on; None at the end of the load."""
    if batching.most == 1:
        board.ready.acquire()
        with board.turn:
            return _take(board, 1)
    with board.turn:  # held while the batch fills: what comes meanwhile is part of it
        board.ready.acquire()
        first, count = board["taken"], 1
        closes = int(board.fields["issued"][first]) + batching.delay_ns
        while count < batching.most and first + count <= board["issued"]:
            left = (closes - time.perf_counter_ns()) / 1e9
            if not board.ready.acquire(block=left > 0, timeout=max(0.0, left)):
                break
            if first + count >= board["issued"]:  # it says that the load is over
                board.ready.release()
                break
            count += 1
        return _take(board, count)


def _take(board: Board, count: int) -> tuple[int, int] | None:
    first = board["taken"]
    if board["stopped"] or first >= board["issued"]:
        return None
    board["taken"] = first + count
    return first, first + count
