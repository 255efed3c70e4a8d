"""The process that issues requests: it waits for the scheduled time of each, whatever the model does."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import Final

from benchmark.serving.board import Board
from benchmark.timing.noise import Usage, usage
from benchmark.timing.waiting import SPIN_NS, wait_until

_LONGEST_SLEEP_NS: Final = 50_000_000
"""Between looks whether the load was stopped."""


class Generator:
    """Puts requests into the queue of a board; a member of a team."""

    def __init__(self, board: Board) -> None:
        self._board = board
        _first_in_line()

    def issue(self) -> None:
        """Issue every request of the schedule, or as many as until the load is stopped."""
        board, clock, release = self._board, time.perf_counter_ns, self._board.ready.release
        scheduled, issued = board.fields["scheduled"], board.fields["issued"]
        begin = board["begin_ns"]
        for number, offset in enumerate(scheduled[: board["count"]].tolist()):
            due = begin + offset
            while due - clock() > _LONGEST_SLEEP_NS + SPIN_NS and not board["stopped"]:
                time.sleep(_LONGEST_SLEEP_NS / 1e9)
            wait_until(due)
            if board["stopped"]:
                return
            issued[number] = clock()
            board["issued"] = number + 1
            release()

    def usage(self) -> Usage:
        """CPU time of this process."""
        return usage()


def _first_in_line() -> None:
    """Run before the copies of the model where the system allows it: a request comes when it is due.

    It takes CAP_SYS_NICE. Without it, and on systems without this class, lateness is a little greater.
    """
    with suppress(AttributeError, OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
