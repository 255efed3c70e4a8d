"""What runs on the nodes: a look at the host, preparations, and timed runs.

The rows go back to the command, which alone writes to the store. So nothing is written twice or half, and
the store may be a folder that the nodes don't have.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pyarrow as pa

from benchmark.cache.compile_cache import CompileCache
from benchmark.cell import CellProcesses, Environment, Plan, PlannedRun
from benchmark.cluster.mailbox import Sender
from benchmark.config.experiment import Budget, Experiment
from benchmark.errors import BenchmarkError, ConfigError
from benchmark.execution.preload import interpreters
from benchmark.host import machine
from benchmark.pipeline.budget import BudgetTracker
from benchmark.pipeline.runner import Pipeline
from benchmark.pipeline.services import Services
from benchmark.records import Row
from benchmark.stages.plan import look_here

NICENESS = "RAY_worker_niceness"
"""Variable of `ray start`; without it Ray's processes have 15."""
_SET_BY_RAY = ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "NEURON_RT_VISIBLE_CORES", "ROCR_VISIBLE_DEVICES")
"""Ray gives each task cores and accelerators by these; here the device of a cell chooses its own."""
_KEEP_WARM_S = 60.0
_GIB_A_WORKER = 8
"""Memory for the compilation of a large model, as on one host."""


class Looked(NamedTuple):
    """What a host answers for one experiment."""

    environment: Environment
    missing: str | None
    """What it lacks to time the experiment."""
    compiles: bool
    """Whether it has the compiler and the libraries."""


class Host(NamedTuple):
    """What a node says of itself."""

    workers: int
    """Artefacts that it can make at a time."""
    shares_cache: bool
    """Whether its cache is the folder of the command."""
    looked: tuple[Looked, ...]


class Job(NamedTuple):
    """What a task is asked to do."""

    runs: tuple[PlannedRun, ...]
    """To be timed: one, or several that compute nothing; or all of some artefacts, which are only made."""
    prepare_only: bool
    workers: int
    """Artefacts made at a time."""


class Result(NamedTuple):
    """What a task found."""

    rows: tuple[Row, ...]
    answers: Mapping[str, pa.Table]
    """To the items of a data set, by run_id."""
    loads: Mapping[str, pa.Table]
    """Requests of a run under load, by run_id."""
    seconds: float
    node_id: str
    error: str | None = None
    """A fault of the host that every run on it has, such as a cache that can't be written."""


class Collected:
    """The store as a task sees it: empty at its start; it keeps the rows, for the command writes them."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.answers: dict[str, pa.Table] = {}
        self.loads: dict[str, pa.Table] = {}

    def append(self, *rows: Row) -> None:
        """Keep rows."""
        self.rows += rows

    def keep_answers(self, run_id: str, answers: pa.Table) -> None:
        """Keep the answers of a run."""
        self.answers[run_id] = answers

    def keep_loads(self, run_id: str, requests: pa.Table) -> None:
        """Keep the requests of a run under load."""
        self.loads[run_id] = requests

    def has_run(self, run_id: str) -> bool:  # noqa: ARG002 - of any
        """No: the command has looked before it handed out the run."""
        return False

    def highest_sequence(self) -> int:
        """None is numbered yet."""
        return 0

    def parts(self) -> frozenset[str]:
        """It has none."""
        return frozenset()


def look(experiments: Sequence[Experiment], probe: Path | None) -> Host:
    """Answer for each experiment; `probe` is a file that the command has put into its cache."""
    _as_started()
    fits = int(machine.provenance().memory_gib // _GIB_A_WORKER)
    looked = []
    for e in experiments:
        environment, missing = look_here(e)
        looked.append(Looked(environment, missing, look_here(replace(e, stage="compile"))[1] is None))
    workers = max(1, min(machine.usable_cores(), fits))
    return Host(workers, probe is not None and probe.exists(), tuple(looked))


def work(job: Job, mailbox: Any, arguments: Sequence[str]) -> Result:
    """Prepare or time the runs of a job; return their rows."""
    from ray import get_runtime_context

    node_id = get_runtime_context().get_node_id()
    sys.argv[1:] = arguments  # the command line that rows and locks name
    since, store = time.monotonic(), Collected()
    first = job.runs[0].cell.experiment
    error = None
    try:
        _as_started()
        Path(first.output_folder).mkdir(parents=True, exist_ok=True)
        cache = CompileCache(first.cache_root, first.cache_remote)
        cache.prepare()
        with interpreters([_kept_warm(run.cell.experiment) for run in job.runs]) as children:
            budget = BudgetTracker(Budget(hours=None, usd=None, usd_per_hour=None))
            services: Any = Services(store, cache, children, Sender(mailbox, node_id), budget)  # type: ignore[arg-type]
            pipeline = Pipeline(services)
            if job.prepare_only:
                pipeline.prepare(job.runs, job.workers)
            else:
                pipeline.run(Plan(job.runs, job.runs, 0, (), CellProcesses()), job.workers)
    except KeyboardInterrupt:
        pass  # its row says so
    except (BenchmarkError, OSError) as fault:
        error = f"{type(fault).__name__}: {fault}" if isinstance(fault, OSError) else str(fault)
    seconds = time.monotonic() - since
    return Result(tuple(store.rows), store.answers, store.loads, seconds, node_id, error)


def _kept_warm(e: Experiment) -> Experiment:
    """Unless the user says how long, the server of children waits for the next run on the node."""
    if e.launcher.keep_warm_s is not None:
        return e
    return replace(e, launcher=replace(e.launcher, keep_warm_s=_KEEP_WARM_S))


def _as_started() -> None:
    """Give this process the priority and variables that the node was started with, as Ray changes them.

    Raises:
        ConfigError: the priority can't be raised; what is timed at a low one waits for every other process.
    """
    try:
        node = psutil.Process(os.getppid())
        own, started_with = int(node.nice()), node.environ() if sys.platform == "linux" else {}
    except psutil.NoSuchProcess:  # the node was killed: end as its other processes do, and the run is lost
        os._exit(1)
    if (low := os.nice(0)) > own:
        try:
            os.setpriority(os.PRIO_PROCESS, 0, own)
        except PermissionError:
            raise ConfigError(
                f"Ray runs its processes at niceness {low}, which would slow what is timed: start the node "
                f"with {NICENESS}={own}"
            ) from None
    for name in _SET_BY_RAY:
        if (value := started_with.get(name)) is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
