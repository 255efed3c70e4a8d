"""`largest`: the largest batch that fits, by doubling and bisecting."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated

import pyarrow.compute as pc
import typer

from benchmark.cell import cell_of
from benchmark.cli.explain import newest
from benchmark.cli.run import OK, SOME_FAILED, refuse_hopeless, run_grid
from benchmark.cli.start import set_environment
from benchmark.config.sweep import grid
from benchmark.errors import ConfigError
from benchmark.execution.preload import interpreters
from benchmark.pipeline.engine import ThisHost
from benchmark.records import Row
from benchmark.report.sanitize import say
from benchmark.report.screen import Screen
from benchmark.store.results import ResultsStore

_LIMIT = "No batch above this is tried."
_TOO_LARGE = frozenset({"oom_host", "oom_device", "dominated"})
"""Statuses that say that a batch doesn't fit; any other failure ends the search."""


def largest(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, help=_LIMIT)] = 4096,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the answer as JSON, on the last line.")
    ] = False,
) -> int:
    """Find the largest batch that fits: OVERRIDES of a single run, without batch.

    Each batch that is tried leaves its row: doubled until one runs out of memory, then bisected.
    The memory is the device's, or `limits.memory_gib`. One process with `sampling=quick`, unless given.
    """
    overrides = list(context.args)
    if taken := [word for word in overrides if word.lstrip("+").partition("=")[0] == "batch"]:
        raise ConfigError(f"{taken[0]}: `largest` searches for the batch: leave it out; --limit bounds it")
    chosen = any(word.startswith("sampling=") for word in overrides)
    shared = [*overrides, *([] if chosen else ["sampling=quick", "sampling.repeats=1"])]
    cells = grid([*shared, "batch=1"], "largest")
    if len(cells) != 1:
        raise ConfigError(
            f"these overrides make {len(cells)} cells, and `largest` searches for one: give single values"
        )
    (first,) = cells
    shared.append(f"campaign={first.campaign}")
    set_environment(cells)
    rows: dict[int, Row] = {}

    def fits(batch: int) -> bool | None:
        (experiment,) = grid([*shared, f"batch={batch}"])
        run_grid([experiment], (), ThisHost(children))
        mine = (pc.field("campaign") == experiment.campaign) & (
            pc.field("cell_id") == cell_of(experiment).cell_id
        )
        found = newest(ResultsStore(experiment.store_root), mine)
        if found is None:  # interrupted before its row
            return None
        rows[batch] = found
        return None if found.status not in {"ok", *_TOO_LARGE} else found.status == "ok"

    refuse_hopeless(cells)
    with interpreters(cells) as children:
        best, above = search(fits, limit)
    answer = {
        "largest_batch": best,
        "too_large": above if above in rows and rows[above].status in _TOO_LARGE else None,
        "campaign": first.campaign,
        "tried": {batch: row.status for batch, row in sorted(rows.items())},
    }
    if as_json:
        say(json.dumps(answer))
    else:
        Screen().print(_sentence(best, above, rows, limit), markup=False, highlight=False)
    return OK if best and (above is None or rows[above].status in _TOO_LARGE) else SOME_FAILED


def search(fits: Callable[[int], bool | None], limit: int) -> tuple[int, int | None]:
    """The largest batch up to `limit` that fits, 0 for none, and the least one that doesn't fit.

    The search ends at a batch for which `fits` returns None; that batch is then the second number.
    """
    best, trying = 0, 1
    while True:
        fitting = fits(trying)
        if fitting is None:
            return best, trying
        if not fitting:
            break
        best = trying
        if best >= limit:
            return best, None
        trying = min(2 * trying, limit)
    above = trying
    while above - best > 1:
        middle = (best + above) // 2
        fitting = fits(middle)
        if fitting is None:
            return best, middle
        best, above = (middle, above) if fitting else (best, middle)
    return best, above


def _sentence(best: int, above: int | None, rows: dict[int, Row], limit: int) -> str:
    found = f"largest batch that fits: {best}" if best else "not even a batch of 1 fits"
    if above is None:
        return f"{found} (--limit {limit} was reached)"
    if above not in rows:
        return f"{found} so far: the search was interrupted"
    error = str(rows[above].values["error"] or "").partition("\n")[0]
    return f"{found}; {above}: {rows[above].status}, {error}"
