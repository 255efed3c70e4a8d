"""The parser of the verbs. `__main__` sends it the commands whose first word is in its VERBS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import typer

from benchmark.cli import cache, md_option, model, server, store
from benchmark.cli.best import best
from benchmark.cli.cluster import cluster
from benchmark.cli.compare import compare
from benchmark.cli.compile import compile_
from benchmark.cli.doctor import doctor
from benchmark.cli.explain import explain
from benchmark.cli.largest import largest
from benchmark.cli.lint import lint
from benchmark.cli.matrix import matrix
from benchmark.cli.nightly import app as nightly
from benchmark.cli.plan import plan
from benchmark.cli.replay import replay
from benchmark.cli.report import report
from benchmark.cli.results import results
from benchmark.cli.status import status
from benchmark.cli.tune import tune
from benchmark.host import machine

_HELP: Final = f"""Measure transformers by model, compiler and machine. A run leaves a row in outputs/results.

\b
One cell:      {machine.program()} model=bert_tiny compiler=openvino
A grid:        {machine.program()} -m model=bert,vit batch=1,8
From a YAML:   {machine.program()} experiment=demo
Every key:     {machine.program()} --cfg job (--hydra-help: Hydra's own flags)
"""
_OVERRIDES: Final = {"allow_extra_args": True, "ignore_unknown_options": True}

app = typer.Typer(
    help=_HELP,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _add(verb: Callable[..., object], line: str, **options: Any) -> None:
    """Add a verb with its line in the list of all."""
    app.command(short_help=line, **options)(verb)


_add(plan, "Show what a command would run, without running it.", context_settings=_OVERRIDES)
_add(results, "Show stored rows.")
_add(matrix, "Show the newest results as a table of models by compilers.")
_add(report, "Make a page or a table of stored rows, with costs.")
_add(best, "Choose the cheapest or fastest cell within limits.")
_add(compare, "Say whether one side is slower than another, and by how much.", cls=md_option.WithFile)
_add(status, "Show the progress of running grids.")
_add(explain, "Show one run: what it was, and where its time went.")
_add(replay, "Run the configuration of a stored run again, and compare.")
_add(lint, "Check stored rows for results that can't be right.")
_add(
    compile_, "Compile the cells of a grid, without timing them.", name="compile", context_settings=_OVERRIDES
)
_add(largest, "Find the largest batch that fits.", context_settings=_OVERRIDES)
_add(cluster, "Show a Ray cluster: how to start it, its nodes, what is missing.", context_settings=_OVERRIDES)
_add(tune, "Find the best cell of a grid without measuring the whole grid.", context_settings=_OVERRIDES)
_add(doctor, "Show what this host can run, and how to make it quieter.", context_settings=_OVERRIDES)
app.add_typer(cache.app, name="cache")
app.add_typer(model.app, name="model")
app.add_typer(nightly.app, name="nightly")
app.add_typer(server.app, name="server")
app.add_typer(store.app, name="store")
