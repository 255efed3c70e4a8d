"""`plan`: what a run would do with each cell, how long it would take, what it would cost. Nothing runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Annotated, Any

import pandas as pd
import typer
from rich.console import Console

from benchmark import placement
from benchmark.cell import Plan, PlannedRun
from benchmark.cli.progress import duration, options_that_differ, time_ahead
from benchmark.cli.run import (
    ahead_of,
    cached,
    laid_out,
    refuse_different_places,
    refuse_hopeless,
    thread_lines,
    workers_of,
)
from benchmark.cli.start import set_environment
from benchmark.cloud.prices import price
from benchmark.config.experiment import Experiment
from benchmark.config.sweep import compose_grid
from benchmark.formatting import counted
from benchmark.pipeline.budget import hourly
from benchmark.pipeline.estimate import Forecast, Need, fates, need_of
from benchmark.placement import WHOLE
from benchmark.report.display.table import print_table
from benchmark.report.sanitize import say
from benchmark.report.screen import Screen
from benchmark.store.results import ResultsStore

_MOST_ROWS = 60


def plan(
    context: typer.Context,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per cell, then one with the sums.")
    ] = False,
    every: Annotated[bool, typer.Option("--all", help=f"List every cell, beyond {_MOST_ROWS} too.")] = False,
) -> None:
    """Show what a command would run, without running it. Takes the overrides of a run.

    A cell is one combination of model, compiler, flags and sizes. The column `fate` says what happens to it:

    \b
    cached        to be measured; it was compiled before, here or where cache.remote= names
    compile       to be compiled and measured
    run           to be measured; there is nothing to compile
    done          has a result already
    dominated     skipped: a smaller batch or length ran out of memory
    excluded      skipped: the experiment excludes it
    incompatible  skipped: can never work
    unavailable   skipped: can't work on this host
    """  # noqa: D301 - \b keeps click from wrapping the text
    grid = compose_grid(context.args)
    set_environment(grid.experiments)
    refuse_hopeless(grid.experiments)
    refuse_different_places(grid.experiments)
    first = grid.experiments[0]
    store = ResultsStore(first.store_root)
    with ExitStack() as stack:
        look = None
        if grid.on_cluster:
            from benchmark.cluster.engine import joined

            look = stack.enter_context(joined(grid.experiments, reads_only=True)).look
        planned = laid_out(grid.experiments, grid.excluded, store, look)
    cache = cached(first)
    needs = {run.run_id: need_of(run, cache) for run in planned.queue if run.fate == "run"}
    ahead = ahead_of(planned, store, cache, workers_of(first.launcher))
    if as_json:
        for run in planned.of_cells:
            lines = commands(run.cell.experiment, run.environment.versions)
            command = [{"part": part, "command": line} for part, line in lines.items()]
            e = run.cell.experiment
            sits = placement.placement(e.task, e.model, e.compiler, e.hardware, e.scenario)
            found = {"compiler_command": command, "placement": placement.column(sits)}
            say(json.dumps({**_cell(run, needs), "processes": _processes(run), **found}))
        for one in planned.excluded:
            say(json.dumps({"overrides": one.overrides, "fate": "excluded", "reason": one.reason}))
        say(json.dumps(_sums(planned, ahead, needs)))
        return
    console = Screen()
    cells = planned.of_cells
    if every or len(cells) <= _MOST_ROWS:
        frame = pd.DataFrame([_cell(run, needs) for run in cells]).convert_dtypes()
        frame = frame.drop(columns=["run_id", "reason"])
        options = options_that_differ(cells)
        if any(run.cell.experiment.sampling.repeats > 1 for run in cells):
            options["processes"] = [_processes(run) for run in cells]
        for name, values in options.items():
            frame.insert(len(frame.columns) - 1, name, values)
        print_table(frame, console=console)
    _print_summary(planned, ahead, needs, console)


def _cell(run: PlannedRun, needs: dict[str, Need]) -> dict[str, Any]:
    e = run.cell.experiment
    return {
        "model": e.model.name,
        "hardware": e.hardware.name,
        "compiler": e.compiler.name,
        "fast_math": e.compiler.fast_math,
        "batch": e.batch,
        "seq_len": run.cell.sequence_length,
        "fate": needs.get(run.run_id, run.fate),
        "reason": run.reason,
        "run_id": run.run_id,
    }


def commands(e: Experiment, versions: Mapping[str, str]) -> Mapping[str, str]:
    """What the compiler's program would be given, by part; nothing has to be installed for that."""
    if e.hardware.kind not in e.compiler.runs_on:
        return {}
    parts = e.task.parts_of(e.model) or (WHOLE,)
    return e.compiler.commands(e.model, parts, e.hardware.facts().target, versions)


def _processes(run: PlannedRun) -> str:
    """In how many processes its cell is measured."""
    sampling = run.cell.experiment.sampling
    least = min(sampling.min_repeats, sampling.repeats)
    ends = sampling.repeat_precision is not None and least < sampling.repeats
    return f"{least} to {sampling.repeats}" if ends else str(sampling.repeats)


def _sums(planned: Plan, ahead: Forecast, needs: Mapping[str, Need]) -> dict[str, Any]:
    return {
        "cells": len(planned.of_cells),
        "processes": len(planned.runs),
        "duplicates": planned.duplicates,
        "fates": dict(fates(planned, needs)),
        "compile_s": ahead.compile_s,
        "measure_s": ahead.measure_s,
        "by_minima": ahead.by_minima,
        "usd": ahead.usd,
        "without_price": ahead.unpriced,
        "warnings": _warnings(planned, ahead),
    }


def _print_summary(planned: Plan, ahead: Forecast, needs: Mapping[str, Need], console: Console) -> None:
    """Print the sums, and each reason once."""
    counts = fates(planned, needs)
    by_fate = ", ".join(f"{count} {fate}" for fate, count in counts.items())
    duplicates = f"; {counted(planned.duplicates, 'duplicate')} left out" if planned.duplicates else ""
    cells, most = planned.of_cells, len(planned.runs)
    number = len(cells)
    processes = f" in {most} processes at most" if most > number else ""
    lines = [f"{counted(number, 'cell')}{processes}: {by_fate}{duplicates}"]
    reasons: dict[tuple[str, str], int] = {}
    for run in planned.runs:
        if run.fate not in {"run", "done"}:
            reasons[run.fate, run.reason] = reasons.get((run.fate, run.reason), 0) + 1
    for one in planned.excluded:
        reasons["excluded", one.reason] = reasons.get(("excluded", one.reason), 0) + 1
    lines += [f"{count} x {fate}: {reason}" for (fate, reason), count in reasons.items()]
    lines += _command_lines(cells)
    if needs:
        lines += [_eta(ahead), _dollars(planned, ahead)]
    lines += [f"! {warning}" for warning in _warnings(planned, ahead)]
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=not console.is_terminal)


def _command_lines(cells: Sequence[PlannedRun]) -> list[str]:
    """What compilers are given, each command once with its cells."""
    labels: dict[tuple[str, str], list[str]] = {}
    for run in cells:
        for part, line in commands(run.cell.experiment, run.environment.versions).items():
            labels.setdefault((part, line), []).append(run.cell.experiment.model.name)
    return [
        f"{counted(len(models), 'cell')} of {', '.join(dict.fromkeys(models))}, {part}: {line}"
        for (part, line), models in labels.items()
    ]


def _eta(ahead: Forecast) -> str:
    parts = f"compile {duration(ahead.compile_s)}, measure {duration(ahead.measure_s)}"
    return f"ETA: {time_ahead(ahead)} ({parts})"


def _dollars(planned: Plan, ahead: Forecast) -> str:
    if ahead.usd is None:
        return "cost: unknown; set hardware.instance_type= or budget.usd_per_hour= to price this machine"
    prices = {hourly(run): run for run in planned.queue if run.fate == "run" and hourly(run) is not None}
    basis = "; ".join(_basis(usd, run) for usd, run in prices.items() if usd is not None)
    cost = f"cost ${ahead.usd:.2f} ({basis})"
    return cost + (
        f", without {counted(ahead.unpriced, 'process')} on a machine without a price"
        if ahead.unpriced
        else ""
    )


def _basis(usd_per_hour: float, run: PlannedRun) -> str:
    if run.cell.experiment.budget.usd_per_hour is not None:
        return f"${usd_per_hour:g}/h from budget.usd_per_hour"
    known = price(run.environment.facts.instance_type or "")
    assert known is not None  # noqa: S101 - hourly found it
    return f"{known.instance_type} ${usd_per_hour:g}/h {known.kind}, {known.region}, {known.published}"


def _warnings(planned: Plan, ahead: Forecast) -> list[str]:
    """What the user should know before the grid starts."""
    warnings = thread_lines([run.cell.experiment for run in planned.runs])
    budget = planned.runs[0].cell.experiment.budget
    hours = ahead.seconds / 3600
    if budget.hours is not None and hours > budget.hours:
        warnings.append(
            f"budget.hours={budget.hours:g} is less than the ETA: the grid will stop and can be resumed"
        )
    if budget.usd is not None and (ahead.usd or 0) > budget.usd:
        warnings.append(
            f"budget.usd={budget.usd:g} is less than the cost: the grid will stop and can be resumed"
        )
    unavailable = sum(run.fate == "unavailable" for run in planned.runs)
    if unavailable:
        warnings.append(
            f"{counted(unavailable, 'cell')} can't work on this host: exit code 2, status `unavailable`"
        )
    failed: dict[str, int] = {}
    for run in planned.runs:
        status = run.reason.removeprefix("has a row: ") if run.row_id else "ok"
        if status not in {"ok", "incompatible"}:
            failed[status] = failed.get(status, 0) + 1
    for status, count in failed.items():
        rows = counted(count, "finished process")
        warnings.append(f"{rows} ended as {status}: run=failed runs {'it' if count == 1 else 'them'} again")
    return warnings
