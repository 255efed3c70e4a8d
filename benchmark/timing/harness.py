"""The process that measures: what is fixed in it before the first call, and what the row tells of it."""

from __future__ import annotations

import gc
import os
import platform
import re
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np

from benchmark.measurement import Harness
from benchmark.records import Session
from benchmark.timing.loop import measure_calls

_CALIBRATION_CALLS: Final = 2001
_ALLOCATORS: Final = ("jemalloc", "tcmalloc", "mimalloc", "tbbmalloc", "snmalloc", "hoard")
_DENORMAL: Final = 1e-40


@contextmanager
def quiet_interpreter() -> Iterator[None]:
    """No collection amid the samples, which would be timed as latency.

    What stands already is frozen uncollected: a collection before the first call costs 0.3 s a cell, for a
    forked child copies every page it looks at, and garbage that nobody looks at costs nothing.
    """
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()


def start_on(turn: int) -> None:
    """Move this thread to the CPU of this turn, one after the other; the kernel may move it on at once.

    Left to the kernel, the threads of a young process may share one CPU for as long as it lives while another
    idles: half the speed. And two processes on different CPUs of a virtual machine differed by 3 to 12 %,
    on the same by less than 1 % (2 cores, 2026-11).
    """
    if hasattr(os, "sched_setaffinity"):
        allowed = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {sorted(allowed)[turn % len(allowed)]})
        os.sched_setaffinity(0, allowed)


def described() -> Harness:
    """How calls are made in this process."""
    return Harness(
        timer_ns=round(statistics.median(measure_calls(_nothing, _CALIBRATION_CALLS))),
        affinity=tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else (),
        allocator=_allocator(),
        denormals="flushed" if _flushes_denormals() else "kept",
    )


def varying(session: Session, seed: int) -> Callable[[], None]:
    """What shuffles the values of the session's inputs in place: shapes, types and the set of values stay."""
    rng = np.random.default_rng(seed)

    def vary() -> None:
        for values in session.inputs:
            if isinstance(values, np.ndarray):
                values[...] = rng.permuted(values.ravel()).reshape(values.shape)
            else:
                held = (
                    values.cpu().float() if values.is_floating_point() else values.cpu()
                )  # numpy has no bf16
                shuffled = rng.permuted(held.numpy().ravel()).reshape(tuple(values.shape))
                values.copy_(values.new_tensor(shuffled))

    return vary


def _nothing() -> None:
    """The call whose latency is the clock's own."""


def _allocator() -> str:
    """The library that hands out memory, by what is mapped into this process."""
    maps = Path("/proc/self/maps")
    mapped = maps.read_text(encoding="utf-8", errors="replace") if maps.is_file() else ""
    if found := re.search(rf"\S*lib({'|'.join(_ALLOCATORS)})\S*", mapped):
        return found[1]
    name, version = platform.libc_ver()
    return f"{name} {version}".strip() or "unknown"


def _flushes_denormals() -> bool:
    """Whether this thread's arithmetic takes numbers below 1e-38 for zero, as some libraries set it."""
    return not (np.full(1, _DENORMAL, np.float32) * np.float32(1)).any()
