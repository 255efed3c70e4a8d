"""`compile`: fill the cache for a grid, time nothing."""

from __future__ import annotations

from typing import Annotated

import pyarrow.compute as pc
import typer

from benchmark.cell import cell_of
from benchmark.cli.start import start
from benchmark.config.sweep import compose_grid
from benchmark.frames import json_lines
from benchmark.report.sanitize import say
from benchmark.store.results import ResultsStore

_PRINTED = (
    *(
        "run_id",
        "model",
        "hardware",
        "compiler",
        "fast_math",
        "batch_size",
        "sequence_length",
        "status",
        "stage",
    ),
    *(
        "error",
        "error_class",
        "unsupported_ops",
        "cache_hit",
        "compile_s",
        "artifact_bytes",
        "compiler_flags",
    ),
)


def compile_(
    context: typer.Context,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object for each row of the grid, after the progress.")
    ] = False,
) -> int:
    """Compile the cells of a grid and fill the cache. Takes the overrides of a run, -m or not.

    The same as a run with stage=compile: Neuron models compile on hosts that have the compiler and no
    device. The rows say `unavailable`, since nothing is timed; on a host with the device the same cells are
    cache hits. The exit code is 0 once all are compiled.
    """
    laid = compose_grid([*context.args, "stage=compile"], "compile")
    code = start(laid.experiments, laid.excluded)
    if as_json:
        first = laid.experiments[0]
        mine = pc.field("cell_id").isin(
            list({cell_of(experiment).cell_id for experiment in laid.experiments})
        )
        rows = ResultsStore(first.store_root).frame(_PRINTED, (pc.field("campaign") == first.campaign) & mine)
        say(json_lines(rows), end="")
    return code
