"""Load the artefact in a fresh child, and time its calls. The caller holds the host lock."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from benchmark import placement
from benchmark.cell import Cell
from benchmark.errors import Crashed
from benchmark.labelled.exam import Asking, Exam
from benchmark.measurement import Measurement, Noise, Timing
from benchmark.protocols import Call
from benchmark.records import Artifact, Workload
from benchmark.stats.intervals import summary
from benchmark.timing import harness
from benchmark.timing.copies import Copies, Replicas, opened
from benchmark.timing.noise import Watch


def measure(  # noqa: PLR0913, PLR0917 - what it needs of the stages before
    cell: Cell,
    workload: Workload,
    artifact: Artifact,
    call: Call,
    picture: Path | None = None,
    exam: Exam | None = None,
) -> Measurement:
    """Time the cell; an image that it makes is saved as `picture`. A labelled scenario answers the exam.

    Raises:
        RunFailure: the model couldn't be loaded or called, or how its process ended.
    """
    return call(_measure, cell, workload, artifact.folder, picture, exam)


class _Attempt(NamedTuple):
    timing: Timing
    noise: Noise
    seconds: float

    @property
    def quiet(self) -> tuple[int, float]:
        """Sort key: greater is quieter."""
        return -len(self.noise.flags), self.noise.on_cpu or 0.0


def _measure(
    cell: Cell, workload: Workload, folder: Path | None, picture: Path | None, exam: Exam | None
) -> Measurement:
    """In the child: load, call once for the answers, then let the scenario time."""
    began, e = time.perf_counter(), cell.experiment
    asking = _asking(cell, workload, exam) if exam else None
    shares = e.hardware.shares(e.scenario.replicas)
    with (
        opened(cell, workload, folder, shares) as copies,
        harness.quiet_interpreter(),  # simulated devices measure in the parent process
    ):
        first = copies.first_call(picture)
        attempts = _attempts(cell, copies, asking)
        peak_host_bytes = copies.peak_host_bytes()
        second_answers = copies.second_answers()
    best = max(attempts, key=lambda attempt: attempt.quiet)
    return Measurement(
        timing=best.timing,
        summary=summary(np.array(best.timing.nanoseconds) / 1e6),
        first_call_ns=first.call_ns,
        answers=first.answers,
        second_answers=second_answers,
        arithmetic=first.arithmetic,
        noise=best.noise,
        attempts=len(attempts),
        retries_s=sum(attempt.seconds for attempt in attempts if attempt is not best),
        harness=harness.describe(),
        load_s=first.load_s,
        peak_host_bytes=peak_host_bytes,
        picture=picture if first.drew_picture else None,
        placement=_placement(cell, shares),
        kv_cache=_kv_cache(cell, workload, keeps=first.keeps_states),
        kv_bytes_per_token=first.kv_bytes_per_token,
        process_s=time.perf_counter() - began,
    )


def _placement(cell: Cell, shares: Sequence[Sequence[int]]) -> Mapping[str, str]:
    if not shares:
        return {}
    e = cell.experiment
    planned = placement.placement(e.task, e.model, e.compiler, e.hardware, e.scenario)
    return placement.column(placement.moved(planned, shares))


def _kv_cache(cell: Cell, workload: Workload, *, keeps: bool) -> Literal["device", "host"] | None:
    """Where keys and values are between tokens: with the device where torch computes on it, too."""
    if not any(part.states for part in workload.parts):
        return None
    return "device" if keeps or cell.experiment.hardware.torch_device else "host"


def _asking(cell: Cell, workload: Workload, exam: Exam) -> Asking:
    """The items of the exam, and how this model is asked them.

    Raises:
        Crashed: the data set has changed since the reference answered it.
    """
    from benchmark.labelled.questions import questions

    e = cell.experiment
    items = e.labelled_data.items("test")
    if items.digest != exam.digest:
        raise Crashed(
            f"dataset={e.labelled_data.name} has changed since the reference answered it: run it again"
        )
    asked = questions(e.model, workload, items, stated=bool(e.labelled_data.classes), head=exam.head)
    return Asking(items.items, asked, cell.shape.batch_size, exam.input_names, exam.blocks)


def _attempts(cell: Cell, copies: Copies | Replicas, asking: Asking | None) -> list[_Attempt]:
    """Time it once, and again while it is noisy, at most `noise_retries` times. Items are answered once."""
    e, attempts = cell.experiment, list[_Attempt]()
    retries = 0 if asking else e.sampling.noise_retries
    while not attempts or (attempts[-1].noise.flags and len(attempts) <= retries):
        if attempts:
            copies.start_on(len(attempts))
        began = time.perf_counter()
        watch = None if e.hardware.simulated else Watch(e.hardware.state(), copies.usage)
        timing = e.scenario.measure(copies.sessions, e.sampling, asking)
        noise = watch.noise(e.hardware.state(), e.sampling.least_on_cpu) if watch else Noise()
        attempts.append(_Attempt(timing, noise, time.perf_counter() - began))
    return attempts
