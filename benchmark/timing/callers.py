"""Callers that call at the same time: what each of them did, and the rate of all together."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Executor
from typing import NamedTuple

import numpy as np

from benchmark.records import Session
from benchmark.timing.harness import measure_calls


class Caller(NamedTuple):
    """The calls of one caller in one block, back to back."""

    began_ns: int
    """By a clock that all processes of the host share; an invented clock begins at 0 in each block."""
    ended_ns: int
    latencies: list[int]
    """Nanoseconds of each call, in order."""

    @property
    def ends(self) -> np.ndarray:
        """Moments at which its calls ended; the time between calls is spread over them."""
        spent: np.ndarray = np.cumsum(self.latencies, dtype=float)
        ends: np.ndarray = self.began_ns + spent * ((self.ended_ns - self.began_ns) / max(1.0, spent[-1]))
        return ends


def call_repeatedly(session: Session, most: int, block_ns: int) -> Caller:
    """Be one caller: call back to back for `block_ns`, or `most` calls."""
    shared = session.clock is time.perf_counter_ns
    began, latencies, spent = session.clock() if shared else 0, list[int](), 0
    while len(latencies) < most and spent < block_ns:
        typical = max(1, latencies[-1]) if latencies else block_ns
        calls = max(1, min((block_ns - spent) // typical, most - len(latencies)))
        made = measure_calls(session.run, calls, session.clock)
        latencies += made
        spent += sum(made)
    return Caller(began, session.clock() if shared else spent, latencies)


def call_together(threads: Executor, sessions: Sequence[Session], most: int, block_ns: int) -> list[Caller]:
    """Let one caller for each of these call at the same time, in `threads`; one alone calls in this thread.

    So a single caller is timed as in a plain loop: PyTorch's operators may be slower in another thread.
    """
    if len(sessions) == 1:
        return [call_repeatedly(sessions[0], most, block_ns)]
    jobs = [threads.submit(call_repeatedly, session, most, block_ns) for session in sessions]
    return [job.result() for job in jobs]


def calls_per_ns(callers: Sequence[Caller]) -> float:
    """Rate in the time in which all of them called; calls that reach beyond it count in part."""
    since, until = max(caller.began_ns for caller in callers), min(caller.ended_ns for caller in callers)
    if since >= until:  # they made few short calls, one after the other
        return sum(len(one.latencies) / max(1, one.ended_ns - one.began_ns) for one in callers)
    return sum(_calls_between(caller, since, until) for caller in callers) / (until - since)


def in_order(callers: Sequence[Caller]) -> list[int]:
    """Latencies of all callers, in the order in which their calls ended."""
    ends = np.concatenate([caller.ends for caller in callers])
    found = np.concatenate([caller.latencies for caller in callers])
    order: list[int] = found[np.argsort(ends, kind="stable")].tolist()
    return order


def _calls_between(caller: Caller, since: int, until: int) -> float:
    moments = np.array([caller.began_ns, *caller.ends])
    first, last = np.interp([since, until], moments, np.arange(len(moments)))
    return float(last - first)
