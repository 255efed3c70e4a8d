"""Train in fresh children, one for each rank, and time the steps. The caller holds the host lock."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.cell import Cell
from benchmark.errors import Unavailable, WrongAnswer
from benchmark.measurement import Measurement, Timing
from benchmark.protocols import Call
from benchmark.records import Workload
from benchmark.stats.intervals import summary
from benchmark.stats.steady_state import drift
from benchmark.training import ranks
from benchmark.training_records import Trained, TrainingOptions

_SAME = 1e-4
"""Greatest relative difference between the parameters of two ranks that average their gradients."""
_MOST_DRIFT = 0.05


def train(cell: Cell, workload: Workload, call: Call, checkpoint: Path) -> Measurement:
    """Train the cell's model; it is saved as `checkpoint`, if that is asked for.

    Raises:
        RunFailure: a rank raised, died or hung.
    """
    return call(_train, cell, workload, checkpoint)


def judge_training(trained: Trained) -> None:
    """Refuse a training that went wrong, however fast it was.

    Raises:
        WrongAnswer: a loss isn't a number, or ranks hold different parameters.
    """
    losses = np.array(trained.losses)
    if not np.isfinite(losses).all():
        step = int(np.flatnonzero(~np.isfinite(losses))[0]) + 1
        raise WrongAnswer(f"the loss of step {step} is {losses[step - 1]}: lower scenario.lr")
    if trained.replica_error is not None and not trained.replica_error <= _SAME:
        raise WrongAnswer(
            f"the parameters of two ranks differ by {trained.replica_error:.3g} of their norm after the last "
            f"step, more than {_SAME:g}: their gradients are not averaged"
        )


def _train(cell: Cell, workload: Workload, checkpoint: Path) -> Measurement:
    """In the child, which starts a process for each rank and computes nothing itself.

    Raises:
        Unavailable: there are fewer cores or cards than ranks.
    """
    from benchmark.training.loop import Job
    from benchmark.training.loop import train as train_rank

    e, began = cell.experiment, time.perf_counter()
    options = _options(cell)
    devices = [device for rank in range(options.ranks) if (device := e.hardware.of_rank(rank))]
    if len(devices) < options.ranks:  # the plan has seen more: the child is bound to fewer
        raise Unavailable(
            f"scenario.ranks={options.ranks}: this process may use {len(devices)} cores or cards: give it "
            "more, or use fewer ranks"
        )
    if options.save:
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        job = Job(
            devices=tuple(devices),
            compiler=e.compiler,
            task=e.task,
            model=e.model,
            workload=replace(
                workload, threads=options.rank_threads(workload.threads, e.hardware.facts().cores)
            ),
            options=options,
            seed=e.seed,
            least_on_cpu=e.sampling.least_on_cpu,
            real=workload.weights if e.inputs == "real" else None,
            folder=Path(folder),
            checkpoint=checkpoint if options.save else None,
            patience_s=e.limits.measure_timeout_s,
            dataset=e.dataset,
        )
        found = ranks.run(options.ranks, partial(_rank, train_rank, job), options.hang_s)
    return _measurement(found, options, e.batch, job.checkpoint, time.perf_counter() - began)


def _rank(work: Any, job: Any, rank: int, progress: ranks.Progress) -> Any:
    return work(job, rank, progress)


def _options(cell: Cell) -> TrainingOptions:
    options = cell.experiment.scenario.training
    assert options is not None  # noqa: S101 - the runner asks those that train only
    return options


def _measurement(
    found: Sequence[Any], options: TrainingOptions, batch: int, checkpoint: Path | None, process_s: float
) -> Measurement:
    """Results of all ranks: the first one's clock, their mean losses, all noise, the greatest memory."""
    first = found[0]
    steps = np.array(first.nanoseconds)
    timed = steps[options.warmup_steps :]
    wall_s = float(timed.sum()) / 1e9
    flags = dict.fromkeys(flag for rank in found for flag in rank.noise.flags)
    trained = Trained(
        step_items=options.step_items(batch),
        losses=tuple(np.mean([rank.losses for rank in found], axis=0).tolist()),
        training_s=float(steps.sum()) / 1e9,
        loading_share=min(1.0, first.loading_s / wall_s),
        flops=first.flops and first.flops * options.ranks * options.accumulation,
        replica_error=first.replica_error,
        answered=first.answered,
        report=first.report,
        checkpoint=str(checkpoint) if checkpoint else None,
    )
    return Measurement(
        timing=Timing(
            nanoseconds=tuple(timed.tolist()),
            warmup_calls=options.warmup_steps,
            warmup_s=float(steps[1 : options.warmup_steps].sum()) / 1e9,
            wall_s=wall_s,
            cpu_s=sum(rank.cpu_s for rank in found),
            steady=drift(timed) <= _MOST_DRIFT,
            stop_reason="enough",
        ),
        summary=summary(timed / 1e6),
        first_call_ns=int(steps[0]),
        answers=(),
        arithmetic=first.arithmetic,
        noise=replace(first.noise, flags=tuple(flags)),
        attempts=1,
        retries_s=0.0,
        harness=first.harness,
        load_s=first.load_s,
        process_s=process_s,
        peak_host_bytes=max(rank.peak_host_bytes for rank in found),
        trained=trained,
    )
