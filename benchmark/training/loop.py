"""The training loop of one rank, and what it measures."""

from __future__ import annotations

import gc
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmark.measurement import Harness, Noise
from benchmark.models import numerics
from benchmark.protocols import Compiler, Dataset, Device, Task
from benchmark.records import Arithmetic, CompileReport, Model, Workload
from benchmark.timing import harness
from benchmark.timing.noise import Watch
from benchmark.training.batches import Batches, Tensors
from benchmark.training.data import Data, data
from benchmark.training.learner import Learner, keep_no_activations, optimizer, step_flops
from benchmark.training.ranks import Progress
from benchmark.training.sharing import Sharing
from benchmark.training_records import Answered, TrainingOptions, TrainingSetup

_WEIGHTS = {".safetensors", ".bin", ".pt", ".h5", ".msgpack"}
"""Suffixes of weights."""

_KEPT: list[Any] = []
"""What must not be freed: freeing a process group waits for its threads, and some never end (torch 2.13)."""


class Job(NamedTuple):
    """What all ranks of a run do."""

    devices: tuple[Device, ...]
    """One for each rank."""
    compiler: Compiler
    task: Task
    model: Model
    workload: Workload
    """Its threads are those of one rank."""
    options: TrainingOptions
    seed: int
    least_on_cpu: float
    real: Path | None
    """Folder with the processors of real inputs; null: the inputs are random."""
    folder: Path
    """Of files that end with the run."""
    checkpoint: Path | None
    """Where to save the trained model."""
    patience_s: float
    """How long a rank waits for another one."""
    dataset: Dataset | None = None
    """Null: synthetic items."""

    def data(self) -> Data:
        """What it is trained on."""
        return data(self.task, self.model, self.workload, self.options, self.dataset, self.seed, self.real)


class RankResult(NamedTuple):
    """What one rank found."""

    nanoseconds: list[int]
    """Duration of each step, from the first on."""
    losses: list[float]
    """Of the rank's own items."""
    loading_s: float
    """Seconds of the timed steps that waited for data."""
    cpu_s: float
    """CPU seconds of this process in the timed steps."""
    load_s: float
    """Seconds until the first step."""
    flops: int | None
    """Of one backward pass of this rank."""
    arithmetic: Arithmetic
    report: CompileReport
    noise: Noise
    harness: Harness
    peak_host_bytes: int
    replica_error: float | None
    answered: Answered | None
    """Answers to items that it wasn't trained on, of the first rank."""


def train(job: Job, rank: int, progress: Progress) -> RankResult:
    """Train as one rank of several: every rank of the job calls it in a process of its own."""
    began = time.perf_counter()
    gc.freeze()  # a collection would visit, and copy, every page of the process that this one is forked from
    job.devices[rank].configure_process()
    sharing = Sharing(job.options, rank, job.workload.torch_device, job.folder / "meeting", job.patience_s)
    learning = prepared(job, rank, sharing)
    _KEPT.extend((sharing, learning))
    load_s = time.perf_counter() - began
    measured = _measured(learning, job, rank, progress)
    result = RankResult(
        nanoseconds=measured.nanoseconds,
        losses=[float(loss) for loss in learning.losses],
        loading_s=measured.loading_s,
        cpu_s=measured.cpu_s,
        load_s=load_s,
        flops=learning.flops,
        arithmetic=learning.setup.arithmetic,
        report=learning.setup.report(),
        noise=measured.noise,
        harness=harness.describe(),
        peak_host_bytes=harness.peak_host_bytes(),
        replica_error=sharing.replica_error(learning.model),
        answered=_answered(learning, job, rank),
    )
    if job.checkpoint:
        weights = sharing.whole(learning.model)
        if rank == 0:
            _save(learning.model, weights, job, job.checkpoint)
    return result


def prepared(job: Job, rank: int, sharing: Sharing) -> Learning:
    """Load, share and wrap the model for compilation; count its operations."""
    options, device, batch = job.options, job.workload.torch_device, job.workload.shape.batch_size
    found = job.data()
    torch.manual_seed(job.seed + rank)  # of dropout; the weights are those of the workload
    setup = job.compiler.for_training(job.workload, job.folder / f"rank-{rank}")
    learner = Learner(job.workload.load_module(), _objective(job)).to(device).train()
    flops = step_flops(learner, [tensor[: options.pass_items(batch)] for tensor in found.tensors])
    if options.checkpointing:  # counted before: what is computed again is no progress
        keep_no_activations(learner.model)
    passes = Batches(found.tensors, options, batch, rank, job.seed).passes(device)
    return Learning(learner, setup, passes, sharing, job, flops, found)


def _objective(job: Job) -> Any:
    assert job.task.objective is not None  # noqa: S101 - refused otherwise
    return job.task.objective


def _answered(learning: Learning, job: Job, rank: int) -> Answered | None:
    """Ask the trained model. Of ranks that hold a part each all have to compute."""
    options = job.options
    idle = options.ranks > 1 and options.strategy == "ddp" and rank > 0
    exam = learning.data.exam
    return exam.answered(learning.learner.network, job.workload.torch_device) if exam and not idle else None


class Learning:
    """Steps of the optimizer, one call each."""

    def __init__(  # noqa: PLR0913, PLR0917 - what a step is made of
        self,
        learner: Learner,
        setup: TrainingSetup,
        passes: Iterator[Tensors],
        sharing: Sharing,
        job: Job,
        flops: int | None,
        found: Data,
    ) -> None:
        """`flops` are those of one backward pass, with its forward pass."""
        self.data, self.learner = found, learner
        self.model, self.setup, self.flops = learner.model, setup, flops
        shared = sharing.shared(learner)
        self._compiled, self._passes, self._sharing = setup.compiled(shared), passes, sharing
        self._optimizer = optimizer(shared.parameters(), job.options)
        self._parts = job.options.accumulation
        device, autocast = job.workload.torch_device, setup.autocast
        dtype = numerics.TYPES[autocast or "bf16"]
        self._autocast = torch.autocast(device, dtype, enabled=autocast is not None)
        self._scaler = torch.amp.GradScaler(device, enabled=autocast == "fp16")  # its gradients would vanish
        self.losses: list[torch.Tensor] = []
        self.loading_ns = 0

    def step(self) -> None:
        """Forward and backward passes over the rank's items, then the optimizer."""
        self._optimizer.zero_grad(set_to_none=True)
        total = 0.0
        for part in range(1, self._parts + 1):
            asked = time.perf_counter_ns()
            tensors = next(self._passes)
            self.loading_ns += time.perf_counter_ns() - asked
            with self._sharing.accumulating(part == self._parts):
                with self._autocast:
                    loss = self._compiled(*tensors)
                    if self._parts > 1:
                        loss = loss / self._parts
                self._scaler.scale(loss).backward()
            total = loss.detach() if part == 1 else total + loss.detach()
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self.losses.append(total)


class _Measured(NamedTuple):
    nanoseconds: list[int]
    loading_s: float
    cpu_s: float
    noise: Noise


def _measured(learning: Learning, job: Job, rank: int, progress: Progress) -> _Measured:
    """Do all steps; time each, and read the host over those after the warm-up."""
    options, cuda = job.options, job.workload.torch_device == "cuda"
    steps = options.steps_of(learning.data.items, job.workload.shape.batch_size)
    progress.expect(steps)
    marks = _Marks(cuda=cuda)
    watch, cpu_s = None, 0.0
    marks.mark()
    for step in range(1, steps + 1):
        learning.step()
        marks.mark()
        progress.done(rank, step)
        if step == options.warmup_steps:
            watch, cpu_s, learning.loading_ns = Watch(job.devices[rank].state()), time.process_time(), 0
            marks.pause()
    nanoseconds = marks.nanoseconds()
    assert watch is not None  # noqa: S101 - fewer steps are refused
    return _Measured(
        nanoseconds=nanoseconds,
        loading_s=learning.loading_ns / 1e9,
        cpu_s=time.process_time() - cpu_s,
        noise=watch.noise(job.devices[rank].state(), job.least_on_cpu),
    )


class _Marks:
    """Moments between steps: by the host's clock, or by the card's, for which the host doesn't wait."""

    def __init__(self, *, cuda: bool) -> None:
        self._cuda, self._moments, self._resumed = cuda, list[Any](), dict[int, Any]()

    def mark(self) -> None:
        """A step begins or ends now."""
        self._moments.append(self._now())

    def pause(self) -> None:
        """What happened since the last mark belongs to no step."""
        if self._cuda:
            torch.cuda.synchronize()
        self._resumed[len(self._moments) - 1] = self._now()

    def nanoseconds(self) -> list[int]:
        """Time between each mark and the next."""
        starts = [self._resumed.get(number, moment) for number, moment in enumerate(self._moments)]
        steps = zip(starts, self._moments[1:], strict=False)
        if not self._cuda:
            return [end - start for start, end in steps]
        torch.cuda.synchronize()
        return [round(start.elapsed_time(end) * 1e6) for start, end in steps]

    def _now(self) -> Any:
        if not self._cuda:
            return time.perf_counter_ns()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event


def _save(model: Any, weights: dict[str, torch.Tensor], job: Job, folder: Path) -> None:
    """Save the model as `save_pretrained` does, whole or not at all, with the first weights' processors."""
    temporary = folder.with_name(f".{folder.name}")
    shutil.rmtree(temporary, ignore_errors=True)
    model.save_pretrained(temporary, state_dict=weights)
    for file in job.workload.weights.iterdir() if job.workload.weights else ():
        is_weight = file.suffix in _WEIGHTS or file.name.endswith(("manifest.json", ".index.json"))
        if not is_weight and file.is_file() and not (temporary / file.name).exists():
            shutil.copy(file, temporary)
    shutil.rmtree(folder, ignore_errors=True)
    temporary.replace(folder)
