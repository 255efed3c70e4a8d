"""Load the artefact in a fresh child, and time its calls. The caller holds the host lock."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors.numpy import load_file

from benchmark.cell import Cell
from benchmark.errors import CompileFailed, RunFailure
from benchmark.execution.failures import cause, describe, is_ours
from benchmark.measurement import Measurement, Noise, Timing
from benchmark.protocols import Call
from benchmark.records import Artifact, Session, Workload
from benchmark.stats.intervals import summary
from benchmark.timing import harness
from benchmark.timing.choice import fastest
from benchmark.timing.noise import Watch
from benchmark.timing.session import load


def measure(
    cell: Cell, workload: Workload, artifact: Artifact, call: Call, picture: Path | None = None
) -> Measurement:
    """Time the cell; an image that it makes is saved as `picture`.

    Raises:
        RunFailure: the model couldn't be loaded or called, or how its process ended.
    """
    return call(_measure, cell, workload, artifact.folder, picture)


class _Attempt(NamedTuple):
    timing: Timing
    noise: Noise
    seconds: float

    @property
    def quiet(self) -> tuple[int, float]:
        """Sort key: greater is quieter."""
        return -len(self.noise.flags), self.noise.on_cpu or 0.0


def _measure(cell: Cell, workload: Workload, folder: Path | None, picture: Path | None) -> Measurement:
    """In the child: load, call once for the answers, then let the scenario time."""
    e, began = cell.experiment, time.perf_counter()
    with _explained(cell, "loaded"):
        loaded = [load(e.hardware, e.compiler, workload, folder) for _ in range(e.scenario.replicas)]
    session = loaded[0][0]
    with harness.quiet_interpreter():  # simulated devices measure in the parent process
        with _explained(cell, "called"):
            session = fastest(session)
            called = session.clock()
            outputs = session.run()
            first_call_ns = session.clock() - called
            if session.answers and workload.reference:
                outputs = session.answers(workload.reference)
        drawn = bool(picture and session.save_image and session.save_image(picture))
        answers = _host_arrays(outputs)
        copies = [copy for copy, _ in loaded]
        if e.sampling.inputs == "varied":
            copies = [replace(copy, before_block=harness.shuffler(copy, e.seed)) for copy in copies]
        attempts = _attempts(cell, copies)
        peak_host_bytes = harness.peak_host_bytes()
        second_answers = _second_answers(session, workload)
    best = max(attempts, key=lambda attempt: attempt.quiet)
    return Measurement(
        timing=best.timing,
        summary=summary(np.array(best.timing.nanoseconds) / 1e6),
        first_call_ns=first_call_ns,
        answers=answers,
        second_answers=second_answers,
        arithmetic=session.arithmetic,
        noise=best.noise,
        attempts=len(attempts),
        retries_s=sum(attempt.seconds for attempt in attempts if attempt is not best),
        harness=harness.describe(),
        load_s=sum(load_s for _, load_s in loaded),
        peak_host_bytes=peak_host_bytes,
        picture=picture if drawn else None,
        process_s=time.perf_counter() - began,
    )


@contextmanager
def _explained(cell: Cell, what: str) -> Iterator[None]:
    """Say that what the compiler made can't be used, where a library raises its own error.

    Raises:
        CompileFailed: with the reason; other failures and errors of memory stay as they are.
    """
    try:
        yield
    except Exception as error:
        compiler, (status, text) = cell.experiment.compiler, describe(error)
        of_a_library = status == "crashed" and not isinstance(error, RunFailure) and not is_ours(error)
        if not (of_a_library and compiler.leaves_artifact):
            raise
        first = (
            f"compiler={compiler.name}: what it made can't be {what}: {cause(error)}; use another compiler"
        )
        raise CompileFailed(f"{first}\n{text}") from error


def _attempts(cell: Cell, copies: Sequence[Session]) -> list[_Attempt]:
    """Time it once, and again while it is noisy, at most `noise_retries` times."""
    e, attempts = cell.experiment, list[_Attempt]()
    while not attempts or (attempts[-1].noise.flags and len(attempts) <= e.sampling.noise_retries):
        if attempts:
            harness.start_on(len(attempts))  # perhaps its own threads disturbed each other
        began = time.perf_counter()
        watch = None if e.hardware.simulated else Watch(e.hardware.state())
        timing = e.scenario.measure(copies, e.sampling)
        noise = watch.noise(e.hardware.state(), e.sampling.least_on_cpu) if watch else Noise()
        attempts.append(_Attempt(timing, noise, time.perf_counter() - began))
    return attempts


def _second_answers(session: Session, workload: Workload) -> tuple[np.ndarray, ...]:
    """Answers to the second inputs, by the same session as was timed; empty where it can't take them."""
    second = workload.second_reference
    if second is None or not session.inputs:
        return ()
    stored = load_file(second / "inputs.safetensors")
    harness.replace_inputs(session, [stored[name] for name in workload.input_names])
    return _host_arrays(session.answers(second) if session.answers else session.run())


def _host_arrays(outputs: Any) -> tuple[np.ndarray, ...]:
    several: Iterable[Any] = outputs if isinstance(outputs, (tuple, list)) else (outputs,)
    return tuple(_host_array(output) for output in several)


def _host_array(output: Any) -> np.ndarray:
    """A copy as float32: the next call of some runtimes overwrites the buffer."""
    if hasattr(output, "detach"):
        output = output.detach().float().cpu().numpy()
    return np.array(output, dtype=np.float32)
