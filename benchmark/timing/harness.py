"""The process that measures: its timing loop, its settings before the first call, and its description."""

from __future__ import annotations

import gc
import os
import platform
import re
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmark.measurement import Harness
from benchmark.records import Session

_CALIBRATION_CALLS: Final = 2001
_ALLOCATORS: Final = ("jemalloc", "tcmalloc", "mimalloc", "tbbmalloc", "snmalloc", "hoard")
_DENORMAL: Final = 1e-40


@contextmanager
def quiet_interpreter() -> Iterator[None]:
    """Stop the garbage collector, whose runs would be timed as latency.

    Existing objects are frozen without a collection before: in a forked child it copies every page that it
    visits, which costs 0.3 s a cell, and garbage that is never visited costs nothing.
    """
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()


def start_on(turn: int) -> None:
    """Move this thread to the CPU of this turn; turns go round all CPUs. The kernel may move it on at once.

    Without this, the threads of a new process may share one CPU for its whole life while another idles: half
    the speed. And two processes on different CPUs of a virtual machine differed by 3 to 12 %,
    on the same by less than 1 % (2 cores, 2026-11).
    """
    if hasattr(os, "sched_setaffinity"):
        allowed = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {sorted(allowed)[turn % len(allowed)]})
        os.sched_setaffinity(0, allowed)


def measure_calls(
    fn: Callable[[], Any], n: int, clock: Callable[[], int] = time.perf_counter_ns
) -> list[int]:
    """Latencies of `n` calls in nanoseconds, in order. The list is allocated before the first call."""
    latencies = [0] * n
    for index in range(n):
        start = clock()
        fn()
        latencies[index] = clock() - start
    return latencies


def describe() -> Harness:
    """Timer cost, CPUs, allocator and denormals of this process, for the row."""
    return Harness(
        timer_ns=round(statistics.median(measure_calls(_nothing, _CALIBRATION_CALLS))),
        affinity=tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else (),
        allocator=_allocator(),
        denormals="flushed" if _flushes_denormals() else "kept",
    )


def shuffler(session: Session, seed: int) -> Callable[[], None]:
    """A function that shuffles the values of the session's inputs in place; shapes and types stay."""
    rng = np.random.default_rng(seed)

    def shuffle() -> None:
        for values in session.inputs:
            if isinstance(values, np.ndarray):
                values[...] = rng.permuted(values.ravel()).reshape(values.shape)
            else:
                held = (
                    values.cpu().float() if values.is_floating_point() else values.cpu()
                )  # numpy has no bf16
                shuffled = rng.permuted(held.numpy().ravel()).reshape(tuple(values.shape))
                values.copy_(values.new_tensor(shuffled))

    return shuffle


def replace_inputs(session: Session, arrays: Sequence[np.ndarray]) -> None:
    """Write these values into the session's inputs, which stay where they are; types stay too.

    Inputs that a library adds after the workload's own keep their values.
    """
    for values, array in zip(session.inputs, arrays, strict=False):
        if isinstance(values, np.ndarray):
            values[...] = array
        else:
            values.copy_(values.new_tensor(array))


def peak_host_bytes() -> int:
    """Peak memory of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _nothing() -> None:
    """An empty call: its latency is that of the clock."""


def _allocator() -> str:
    """The library that allocates memory, by the files mapped into this process."""
    maps = Path("/proc/self/maps")
    mapped = maps.read_text(encoding="utf-8", errors="replace") if maps.is_file() else ""
    if found := re.search(rf"/lib({'|'.join(_ALLOCATORS)})[^/\n]*$", mapped, re.MULTILINE):
        return found[1]
    name, version = platform.libc_ver()
    return f"{name} {version}".strip() or "unknown"


def _flushes_denormals() -> bool:
    """Whether this thread computes with numbers below 1e-38 as zero, which some libraries switch on."""
    return not (np.full(1, _DENORMAL, np.float32) * np.float32(1)).any()
