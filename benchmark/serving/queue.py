"""One copy's side of the queue: take what waits, call, write the times, until the load is over."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from benchmark.serving.board import Board
from benchmark.serving_records import CallSize


class Batching(NamedTuple):
    """How many requests a call answers together, and how long it waits for them."""

    most: int
    delay_ns: int


Answer = Callable[[], Any]
Generate = Callable[[int], Sequence[int]]
"""Makes so many tokens; returns the nanoseconds from its start to each."""


def serve(board: Board, batching: Batching, calls: Mapping[int, Answer]) -> None:
    """Answer requests until the load is over. `calls` are by the number of requests they have room for."""
    clock, fields, room = time.perf_counter_ns, board.fields, _rooms(calls, batching)
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


def generate(board: Board, batching: Batching, calls: Mapping[CallSize, Generate]) -> None:
    """Likewise with answers of as many tokens as each request asks for.

    Requests that are answered together have prompts of the same length, that of the smallest call with room
    for the longest of them. Each has its answer with its own last token; the call goes on for the others.
    """
    clock, fields = time.perf_counter_ns, board.fields
    room, prompts = _rooms({size.room for size in calls}, batching), sorted({size.prompt for size in calls})
    while taken := _taken(board, batching):
        requests = slice(*taken)
        outputs = fields["output"][requests].copy()
        longest = int(fields["prompt"][requests].max())
        size = CallSize(room[len(outputs)], next(prompt for prompt in prompts if prompt >= longest))
        fields["first"][requests.start] = 1
        fields["room"][requests], fields["padded"][requests] = size
        started = clock()
        tokens = started + np.array(calls[size](int(outputs.max())))
        fields["started"][requests] = started
        fields["first_token"][requests] = tokens[0]
        fields["ended"][requests] = tokens[outputs - 1]


def _rooms(sizes: Collection[int], batching: Batching) -> Sequence[int]:
    """The size of the call, by the number of requests that it answers."""
    known = sorted(sizes)
    return [next(size for size in known if size >= taken) for taken in range(batching.most + 1)]


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
