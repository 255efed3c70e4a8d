"""Run a grid: what `python -m benchmark` does once the cells are composed."""

from __future__ import annotations

import gc
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Final

import pandas as pd
from rich.console import Console

from benchmark.cache.compile_cache import CompileCache
from benchmark.cache.lookup import ReadOnlyCache
from benchmark.cell import Plan, cell_of
from benchmark.cli import streams
from benchmark.cli.progress import ProgressDisplay, duration, labels
from benchmark.config.experiment import Experiment, LauncherOptions
from benchmark.config.grid import Excluded
from benchmark.errors import ConfigError
from benchmark.execution.preload import distinct
from benchmark.formatting import counted
from benchmark.host import machine
from benchmark.paths import CampaignPaths
from benchmark.pipeline.budget import BudgetTracker, Ending, refuse_unpriced
from benchmark.pipeline.engine import Engine
from benchmark.pipeline.estimate import Forecast, forecast
from benchmark.pipeline.progress import GridProgress
from benchmark.pipeline.services import Services
from benchmark.pipeline.time_left import TimeLeft
from benchmark.report.display.table import NEEDED, print_failures, print_rows
from benchmark.report.sanitize import say
from benchmark.report.screen import Screen
from benchmark.stages.plan import Look, plan, refuse
from benchmark.store import history
from benchmark.store.durations import durations
from benchmark.store.results import ResultsStore, to_frame, with_samples

OK, MISTAKE, SOME_FAILED, OUT_OF_BUDGET, INTERRUPTED = 0, 1, 2, 4, 130
_OF_HINTS: Final = ("run_id", "parameters", "untrained_weights")
_OF_ENDING: Final = ("cell_id", "status", "stage", "error")
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d")
"""Name of a campaign that was given none."""
_GIB_A_WORKER: Final = 8
"""Memory for the compilation of a large model."""
_ALIKE: Final = (
    ("store_root", "store.root"),
    ("cache_root", "cache.root"),
    ("cache_remote", "cache.remote"),
    ("budget", "budget"),
    ("launcher", "launcher"),
)
"""What is the same for all cells of a command: field and key."""
_MOST_ROWS: Final = 60
"""Above this the failures are printed, and the command that shows the rows."""


def run_grid(experiments: Sequence[Experiment], excluded: tuple[Excluded, ...], engine: Engine) -> int:
    """Plan, run what is pending, show every cell of the grid; return the exit code.

    Raises:
        ConfigError: places that differ between cells, a budget without a price.
        StoreError, CacheError, OSError: places that can't be written.
    """
    first = experiments[0]
    refuse_different_places(experiments)
    store, cache = ResultsStore(first.store_root), CompileCache(first.cache_root, first.cache_remote)
    Path(first.output_folder).mkdir(parents=True, exist_ok=True)
    is_new = not store.exists
    store.prepare()
    cache.prepare()
    planned = laid_out(experiments, excluded, store, engine.look)
    refuse_unpriced(planned)
    console = Screen()
    if is_new:
        rows = store.name if "://" in first.store_root else Path(first.store_root).absolute()
        places = f"rows go to {rows}, artefacts to {cache.root}; BENCHMARK_HOME chooses another folder"
        console.print(places, markup=False, highlight=False, soft_wrap=True)
    for line in thread_lines(experiments):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    gc.freeze()  # garbage collections then skip the plan: it has up to 100,000 cells
    if any(run.fate == "run" and run.cell.experiment.hardware.isolated for run in planned.queue):
        engine.interpreters.start()
    budget = BudgetTracker(first.budget)
    paths = CampaignPaths(folder=Path(first.output_folder))
    workers = workers_of(first.launcher)
    ahead = ahead_of(planned, store, cached(first), workers)
    left = TimeLeft(planned, ahead, workers, engine.timed_at_once)
    state = GridProgress(planned, left, budget, paths, labels(planned.runs))
    ending: Ending = "interrupted"
    with stoppable(budget, partial(being_done, state), console) as unstoppable:
        try:
            with ProgressDisplay(console, state, engine.host_of) as progress:
                services = Services(store, cache, engine.interpreters, progress, budget)
                ending = engine.runner(services).run(planned, workers)
        except KeyboardInterrupt:
            pass
        except (BrokenPipeError, SystemExit) as error:
            if not streams.is_unread(error):
                raise
            streams.drop_output()
            with suppress(OSError):
                resume = again(first.campaign)
                say(f"stopped: the output is no longer read; to resume: {resume}", file=sys.stderr)
            raise SystemExit(streams.UNREAD) from None
        finally:
            unstoppable()
            state.finish(ending)
            store.compact()
    return _show(planned, store, console, ending)


def laid_out(
    experiments: Sequence[Experiment],
    excluded: tuple[Excluded, ...],
    store: ResultsStore,
    look: Look | None = None,
) -> Plan:
    """The plan of a grid, by the rows of its store; `look` looks at other hosts than this one."""
    return plan(
        experiments,
        lambda campaign: store.statuses(campaign) if store.exists else {},
        fresh=partial(history.fresh, store),
        p50s=partial(history.p50s, store),
        exhausted=partial(history.exhausted, store),
        excluded=excluded,
        look=look,
    )


def refuse_hopeless(experiments: Sequence[Experiment]) -> None:
    """Refuse a grid of which no cell can ever run: it is a mistake.

    Raises:
        ConfigError: every reason once.
    """
    reasons: dict[str, None] = {}
    for experiment in experiments:
        if (reason := refuse(cell_of(experiment))) is None:
            return
        reasons[reason] = None
    raise ConfigError("\n".join(reasons))


def refuse_different_places(experiments: Sequence[Experiment]) -> None:
    """Refuse a grid whose cells have different places, launchers or budgets.

    Raises:
        ConfigError: names the key and its values.
    """
    for field, key in _ALIKE:
        if len(values := {getattr(experiment, field) for experiment in experiments}) > 1:
            raise ConfigError(f"{key} must be the same for the whole grid, got {sorted(map(str, values))}")


def thread_lines(experiments: Sequence[Experiment]) -> list[str]:
    """Where OMP_NUM_THREADS is set: say whether it or `hardware.threads` decides."""
    requested = machine.omp_threads()
    if requested is None:
        return []
    counts = {e.hardware.facts().threads for e in distinct(experiments)}
    return [
        f"threads: {count}, as OMP_NUM_THREADS={requested} says"
        if count == requested
        else f"threads: {count}, as hardware.threads says; it wins over OMP_NUM_THREADS={requested}"
        for count in sorted(filter(None, counts))
    ]


def workers_of(launcher: LauncherOptions) -> int:
    """Cells to compile at the same time: as configured, else one for each core and each 8 GiB of memory."""
    fits = int(machine.provenance().memory_gib // _GIB_A_WORKER)
    return launcher.compile_workers or max(1, min(machine.usable_cores(), fits))


def cached(first: Experiment) -> ReadOnlyCache:
    """What the cache of a grid has, here and in its bucket."""
    return ReadOnlyCache(first.cache_root, first.cache_remote)


def ahead_of(planned: Plan, store: ResultsStore, cache: ReadOnlyCache, workers: int) -> Forecast:
    """Estimate what the pending runs of a plan take, by the rows of the store and by what the cache has."""
    pending = [run.cell.experiment for run in planned.queue if run.fate == "run"]
    models, hardware = {e.model.name for e in pending}, {e.hardware.name for e in pending}
    return forecast(planned, cache, durations(store, models, hardware), workers)


@contextmanager
def stoppable(
    budget: BudgetTracker, current: Callable[[], str], console: Console
) -> Iterator[Callable[[], None]]:
    """Stop after the current cell at the first Ctrl-C; stop now at the second, or at SIGTERM.

    `current` says what is finished first. Yields a function that ignores both, so that the last steps of a
    command are not cut off.
    """

    def now(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signal module's signature
        signal.signal(number, signal.SIG_DFL)
        raise KeyboardInterrupt

    def soon(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        if budget.stop_requested:
            raise KeyboardInterrupt
        budget.stop_requested = True
        console.print(f"stopping after {current()} (Ctrl-C again: now)", style="yellow", highlight=False)

    def unstoppable() -> None:
        for number in before:
            signal.signal(number, signal.SIG_IGN)

    before = {
        number: signal.signal(number, by) for number, by in ((signal.SIGINT, soon), (signal.SIGTERM, now))
    }
    try:
        yield unstoppable
    finally:
        if not budget.stop_requested:  # else a second Ctrl-C may still come during the last lines
            for number, handler in before.items():
                signal.signal(number, handler)


def being_done(state: GridProgress) -> str:
    """What a command that stops still finishes, and about how long that takes."""
    busy = [*state.busy.values()]
    compiling = [at for at in busy if at.stage in {"build", "compile"}]
    what = f"compiling {counted(len(compiling), 'cell')}" if compiling else "the current process"
    left_s = max((state.time_left.of(at.run_id) - time.time() + at.since for at in busy), default=0.0)
    if any(at.holder for at in busy):
        return f"{what}, which waits for the host"
    return f"{what}, about {duration(left_s)}" if left_s >= 1 else what


def _show(planned: Plan, store: ResultsStore, console: Console, ending: Ending) -> int:
    """Print the grid's rows in the order of the plan, also older ones; return the exit code."""
    campaign = planned.runs[0].cell.experiment.campaign
    order = {run.row_id or run.run_id: place for place, run in enumerate(planned.runs)}
    is_large = len(planned.of_cells) > _MOST_ROWS
    frame = to_frame(store.of_runs(order, ["run_id", *(_OF_ENDING if is_large else NEEDED)]))
    if is_large:
        hidden = " --simulated" if planned.runs[0].cell.experiment.hardware.simulated else ""
        where = f"{machine.program()} results campaign={campaign}{hidden}"
        console.print(f"{counted(len(frame), 'row')}: {where}", markup=False, soft_wrap=True)
        print_failures(frame, console=console)
    elif len(frame):
        frame = with_samples(frame, store)
        print_rows(frame.sort_values("run_id", key=lambda ids: ids.map(order)), console=console)
    for hint in _hints(planned, store):
        console.print(hint, style="yellow", markup=False, soft_wrap=True)
    if ending != "done":
        done = frame.loc[frame["status"] != "interrupted", "cell_id"].nunique()
        why = {"interrupted": "stopped", "budget": "budget used up"}[ending]
        console.print(
            f"{why} after {done} of {counted(len(planned.of_cells), 'cell')}; to resume: {again(campaign)}",
            markup=False,
            soft_wrap=True,
        )
        return INTERRUPTED if ending == "interrupted" else OUT_OF_BUDGET
    if (frame["status"] == "incompatible").all():
        return MISTAKE  # as when the plan refuses every cell
    return (
        OK
        if frame["status"].isin(["ok", "incompatible"]).all() or _all_compiled(planned, frame)
        else SOME_FAILED
    )


def again(campaign: str) -> str:
    """The command that resumes a campaign: this one, with the campaign's name where that is the time."""
    same, given = machine.command(), f"campaign={campaign}"
    return f"{same} {given}" if _TIME.fullmatch(campaign) and given not in same.split() else same


def _hints(planned: Plan, store: ResultsStore) -> Iterator[str]:
    """What to add to a model's YAML, or to know about its weights; each once."""
    loose = {
        run.row_id or run.run_id: run.cell.experiment
        for run in planned.runs
        if not run.cell.experiment.model.parameters or run.cell.experiment.weights == "pretrained"
    }
    said = dict.fromkeys(
        hint
        for row in (store.of_runs(loose, _OF_HINTS).to_pylist() if loose else ())
        for hint in _hints_of(loose[row["run_id"]], row)
    )
    yield from said


def _hints_of(e: Experiment, row: Mapping[str, Any]) -> Iterator[str]:
    if not e.model.parameters and row["parameters"]:
        stated = f"parameters: {{{e.task.name.replace('-', '_')}: {row['parameters']}}}"
        yield f"model={e.model.name}: its parameters aren't checked: add `{stated}` to {e.model.file}"
    if lacking := row["untrained_weights"]:
        more = f" and {len(lacking) - 1} more" if lacking[1:] else ""
        yield (
            f"model={e.model.name}: the published weights lack {lacking[0]}{more}: random values there, "
            "which is right for latency and wrong for answers"
        )


def _all_compiled(planned: Plan, frame: pd.DataFrame) -> bool:
    """Whether stage=compile was requested and every cell was compiled; such rows say `unavailable`."""
    requested = all(run.cell.experiment.stage == "compile" for run in planned.runs)
    came_through = (frame["status"] == "unavailable") & (frame["stage"] == "measure")
    return requested and bool((came_through | (frame["status"] == "incompatible")).all())
