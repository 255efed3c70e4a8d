"""`plan`: what a run would do with every cell. Runs nothing."""

from __future__ import annotations

import json
from typing import Annotated, Any, NoReturn

import pandas as pd
import typer
from rich.console import Console

from benchmark.cell import PlannedRun
from benchmark.cli.compose import grid
from benchmark.cli.run import refuse_hopeless
from benchmark.compile_cache import CompileCache
from benchmark.errors import RunFailure, StoreError
from benchmark.reports.table import print_table
from benchmark.results import ResultsStore
from benchmark.stages.build import build
from benchmark.stages.compile import compile_
from benchmark.stages.plan import plan as lay_out


def plan(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a cell.")] = False,
) -> None:
    """List the cells of a grid and what would become of each. Takes the overrides of a run, -m or not.

    \b
    run           would be measured; `artefact` says whether it is in the cache (hit) or made first (compile)
    done          has its row in this campaign
    incompatible  can never work     unavailable  can't work on this host
    """  # noqa: D301 - \b is click's mark for text to be left as it is
    experiments = grid(context.args)
    refuse_hopeless(experiments)
    store, cache = ResultsStore(experiments[0].store_root), CompileCache(experiments[0].cache_root)
    planned = lay_out(experiments, lambda campaign: _statuses(store, campaign))
    rows = [_row(run, cache) for run in planned.runs]
    if as_json:
        typer.echo("\n".join(json.dumps(row) for row in rows))
        return
    console = Console()
    print_table(pd.DataFrame(rows).convert_dtypes().drop(columns=["run_id", "reason"]), console=console)
    for reason in dict.fromkeys(
        row["reason"] for row in rows if row["fate"] in {"incompatible", "unavailable"}
    ):
        count = sum(row["reason"] == reason for row in rows)
        console.print(f"{count} x {reason}", markup=False, highlight=False)
    counts = {
        fate: sum(row["fate"] == fate for row in rows) for fate in dict.fromkeys(row["fate"] for row in rows)
    }
    told = ", ".join(f"{count} {fate}" for fate, count in counts.items())
    left_out = f"; {planned.duplicates} equal to another and left out" if planned.duplicates else ""
    console.print(f"{len(rows)} cells: {told}{left_out}", highlight=False)


def _statuses(store: ResultsStore, campaign: str) -> dict[str, str]:
    try:
        return store.statuses(campaign)
    except StoreError:
        return {}  # no store yet: nothing is done


def _row(run: PlannedRun, cache: CompileCache) -> dict[str, Any]:
    e = run.cell.experiment
    return {
        "model": e.model.name,
        "hardware": e.hardware.name,
        "compiler": e.compiler.name,
        "fast_math": e.compiler.fast_math,
        "batch": e.batch,
        "seq_len": run.cell.sequence_length,
        "fate": run.fate,
        "artefact": _artefact(run, cache) if run.fate == "run" else None,
        "reason": run.reason,
        "run_id": run.run_id,
    }


def _artefact(run: PlannedRun, cache: CompileCache) -> str | None:
    """Go through the stages that the cache can answer, and see whether they need a child."""
    if not run.cell.experiment.compiler.leaves_artifact:
        return None
    try:
        if not cache.entries():
            return "compile"
        workload = build(run.cell, cache, _nobody)
        compile_(run.cell, workload, run.environment, cache, _nobody)
    except RunFailure:
        return "compile"
    return "hit"


def _nobody(function: Any, /, *arguments: Any) -> NoReturn:  # noqa: ARG001
    """Stand in for a child: whoever needs one has missed the cache."""
    raise RunFailure("not in the cache")
