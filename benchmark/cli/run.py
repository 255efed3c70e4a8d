"""Run a grid: what `python -m benchmark` does once Hydra has composed the cells."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import pyarrow.compute as pc
from rich.console import Console

from benchmark import pipeline
from benchmark.cell import Plan, cell_of
from benchmark.compile_cache import CompileCache
from benchmark.config import Experiment
from benchmark.errors import ConfigError
from benchmark.isolation import Forkserver
from benchmark.reports.progress import Progress
from benchmark.reports.table import print_rows
from benchmark.results import ResultsStore
from benchmark.stages.plan import plan, refuse

OK, SOME_FAILED, INTERRUPTED = 0, 2, 130


def run_grid(experiments: Sequence[Experiment]) -> int:
    """Plan, run what is pending, show every cell of the grid; return the exit code.

    Raises:
        ConfigError: places that differ between cells, or a grid in which nothing can ever run.
        StoreError, CacheError, OSError: places that can't be written.
    """
    refuse_hopeless(experiments)
    first = experiments[0]
    for key in ("store_root", "cache_root"):
        if len(values := {getattr(experiment, key) for experiment in experiments}) > 1:
            raise ConfigError(
                f"{key.replace('_', '.')} must be the same for the whole grid, got {sorted(values)}"
            )
    store, cache = ResultsStore(first.store_root), CompileCache(first.cache_root)
    Path(first.output_folder).mkdir(parents=True, exist_ok=True)
    store.prepare()
    cache.prepare()
    planned = plan(experiments, store.statuses)
    forkserver = Forkserver(_preload(planned))
    if any(run.fate == "run" and run.cell.experiment.hardware.isolated for run in planned.runs):
        forkserver.warm()
    signal.signal(signal.SIGTERM, _as_interrupt)
    code = OK
    console = Console()
    try:
        with Progress(console, planned) as progress:
            pipeline.run(planned, store, cache, forkserver, progress)
    except KeyboardInterrupt:
        console.print(
            "interrupted: the same command with campaign=" + first.campaign + " resumes", markup=False
        )
        code = INTERRUPTED
    finally:
        if store.is_local:
            store.compact()
    return code or _show(planned, store, console)


def refuse_hopeless(experiments: Sequence[Experiment]) -> None:
    """Refuse a request of which no cell can ever run: that is a mistake, not a result.

    Raises:
        ConfigError: every reason once.
    """
    reasons = [refuse(cell_of(experiment)) for experiment in experiments]
    if all(reasons):
        raise ConfigError("\n".join(dict.fromkeys(filter(None, reasons))))


def _show(planned: Plan, store: ResultsStore, console: Console) -> int:
    """Print the grid's rows in the order of the plan, old ones included."""
    order = {run.run_id: place for place, run in enumerate(planned.runs)}
    frame = store.frame(filter=pc.field("run_id").isin(list(order)))
    frame = frame.sort_values("run_id", key=lambda ids: ids.map(order))
    print_rows(frame, console=console)
    return OK if frame["status"].isin(["ok", "incompatible"]).all() else SOME_FAILED


def _preload(planned: Plan) -> set[str]:
    """Modules that the children of this grid will need; the server imports them once for all."""
    modules = {f"benchmark.stages.{stage}" for stage in ("build", "compile", "measure")}
    for run in planned.pending:
        e = run.cell.experiment
        if run.fate == "run":
            modules.update(type(plugin).__module__ for plugin in (e.task, e.compiler, e.hardware, e.scenario))
        if run.fate == "run" and not e.hardware.simulated:
            modules.update(e.task.preload, e.compiler.preload)
    return modules


def _as_interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signal module's signature
    """Treat a polite end by the system as Ctrl-C: the current cell leaves its row."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    raise KeyboardInterrupt
