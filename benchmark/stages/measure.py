"""Load the artefact in a fresh child, and time its calls. Whoever calls this holds the host."""

from __future__ import annotations

import gc
import resource
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.cell import Cell
from benchmark.protocols import Call
from benchmark.records import Artifact, Measured, Workload


def measure(cell: Cell, workload: Workload, artifact: Artifact, call: Call) -> Measured:
    """Time the cell.

    Raises:
        RunFailure: the model couldn't be loaded or called, or how its process ended.
    """
    return call(_measure, cell, workload, artifact.folder)


def _measure(cell: Cell, workload: Workload, folder: Path | None) -> Measured:
    """In the child: load, call once for the answers, then let the scenario time."""
    e = cell.experiment
    e.hardware.settle()
    start = time.perf_counter()
    session = e.compiler.load(workload, folder)
    load_s = time.perf_counter() - start
    session = replace(session, run=e.hardware.synchronised(session.run))
    gc.disable()  # a collection amid the samples would be timed as latency; one beforehand costs 0.3 s
    try:
        called = session.clock()
        outputs = session.run()
        first_call_ns = session.clock() - called
        answers = tuple(_host_array(output) for output in _several(outputs))
        timing = e.scenario.measure(session, e.sampling)
    finally:
        gc.enable()  # simulated devices measure in the parent, which lives on
    return Measured(
        timing=timing,
        first_call_ns=first_call_ns,
        answers=answers,
        arithmetic=session.arithmetic,
        load_s=load_s,
        peak_host_bytes=_peak_host_bytes(),
    )


def _several(outputs: Any) -> Iterable[Any]:
    return outputs if isinstance(outputs, (tuple, list)) else (outputs,)


def _host_array(output: Any) -> np.ndarray:
    """A copy as float32: some runtimes hand out a buffer that the next call overwrites."""
    if hasattr(output, "detach"):
        output = output.detach().float().cpu().numpy()
    return np.array(output, dtype=np.float32)


def _peak_host_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
