"""Wait until a moment, and calls of an invented clock that take their time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from benchmark.records import Session

SPIN_NS: Final = 400_000
"""A sleep may end this much late on a quiet host: the rest of a wait spins."""


def wait_until(due_ns: int) -> None:
    """Return at this moment of `time.perf_counter_ns`, to some µs."""
    left = due_ns - time.perf_counter_ns()
    if left > SPIN_NS:
        time.sleep((left - SPIN_NS) / 1e9)
    while time.perf_counter_ns() < due_ns:
        pass


def in_real_time(session: Session) -> Callable[[], Any]:
    """Calls of a session that take as long as its own clock says."""
    if session.clock is time.perf_counter_ns:
        return session.run

    def run() -> Any:
        began, since = time.perf_counter_ns(), session.clock()
        answer = session.run()
        wait_until(began + session.clock() - since)
        return answer

    return run


def generated_in_real_time(session: Session) -> Callable[[int], Sequence[int]]:
    """Generations of a session, likewise."""
    generate = session.generate
    assert generate is not None  # noqa: S101 - asked for sessions that have it only
    if session.clock is time.perf_counter_ns:
        return generate

    def generated(tokens: int) -> Sequence[int]:
        began = time.perf_counter_ns()
        moments = generate(tokens)
        wait_until(began + moments[-1])
        return moments

    return generated
