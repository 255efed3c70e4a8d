"""Load a compiled workload for timing, in a measuring child."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.protocols import Compiler, Device
from benchmark.records import Session, Workload


def load(
    device: Device,
    compiler: Compiler,
    workload: Workload,
    folder: Path | None,
    share: Sequence[int] = (),
) -> tuple[Session, float]:
    """Configure the process for the device and load; return the synchronised session and its load time.

    `share` is one of `Device.shares`; empty, the device chooses.
    """
    device.configure_process(share)
    if share:
        workload = _with_threads(workload)
    start = time.perf_counter()
    if workload.parts:
        from benchmark.models import composite

        sessions = {
            part.name: compiler.load(part, folder and part_folder(folder, part)) for part in workload.parts
        }
        session = composite.composite_session(workload, sessions)
    else:
        session = compiler.load(workload, folder and part_folder(folder, workload))
    seconds = time.perf_counter() - start
    return device.synchronized(session), seconds


def _with_threads(workload: Workload) -> Workload:
    """The same with no more threads than CPUs that this process may use: copies divide them."""
    if workload.threads is None or not hasattr(os, "sched_getaffinity"):
        return workload
    threads = min(workload.threads, len(os.sched_getaffinity(0)))
    return replace(workload, threads=threads, parts=tuple(map(_with_threads, workload.parts)))


def part_folder(artifact: Path, part: Workload) -> Path:
    """Folder of a part's files in its artefact."""
    return artifact / part.name


def host_arrays(outputs: Any) -> tuple[np.ndarray, ...]:
    """Copies of a call's outputs as float32: the next call of some runtimes overwrites the buffer."""
    several: Iterable[Any] = outputs if isinstance(outputs, (tuple, list)) else (outputs,)
    return tuple(_host_array(output) for output in several)


def _host_array(output: Any) -> np.ndarray:
    if hasattr(output, "detach"):
        output = output.detach().float().cpu().numpy()
    return np.array(output, dtype=np.float32)
