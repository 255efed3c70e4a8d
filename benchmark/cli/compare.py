"""`compare`: whether a candidate is slower than a baseline, by stored rows or by a measurement in turns."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from itertools import chain
from pathlib import Path
from statistics import median
from typing import Annotated, Final

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import typer

from benchmark.analysis.comparison import NEEDED, Compared, compare_rows
from benchmark.cli import compare_output, git_builds, md_option
from benchmark.errors import ConfigError
from benchmark.formatting import significant
from benchmark.report.screen import Screen
from benchmark.stats.ratio_test import ratio_test, turns_ratio
from benchmark.store import query, selection
from benchmark.store.results import DEFAULT_ROOT, ResultsStore, to_frame
from benchmark.timing import duel

REGRESSION: Final = 3
_PERCENTILES: Final = (50, 90, 95, 99)

_SIDE = (
    "Campaign, first characters of a run_id, or conditions; with --run: overrides of one cell, in quotes; "
    "with --git: a commit."
)
_GIT = "Measure two commits of this program's repository in turns: each gets an environment of its own."
_CELL = "Overrides of the cell that --git measures, in quotes."
_RUN = "Measure both sides now, in turns, with exclusive use of this host."
_PYTHON = "Interpreter of side {}, with its own libraries and its own version of this program."


def compare(  # noqa: PLR0913, PLR0917 - a command line has that many
    baseline: Annotated[str, typer.Argument(help=_SIDE)],
    candidate: Annotated[str, typer.Argument(help="The other side, likewise.")],
    store: Annotated[str, typer.Option(help="Folder or URL that holds the rows.")] = DEFAULT_ROOT,
    cache: Annotated[str, typer.Option(help="Folder of the compile cache, for --run.")] = "",
    percentile: Annotated[int, typer.Option(help="Of the latencies: 50, 90, 95 or 99.")] = 50,
    threshold: Annotated[float, typer.Option(min=0, help="Smallest relevant difference, relative.")] = 0.02,
    run: Annotated[bool, typer.Option("--run", help=_RUN)] = False,
    git: Annotated[bool, typer.Option("--git", help=_GIT)] = False,
    cell: Annotated[str, typer.Option(metavar="OVERRIDES", help=_CELL)] = "",
    python_a: Annotated[
        str, typer.Option(help=_PYTHON.format("A"), show_default="this one")
    ] = sys.executable,
    python_b: Annotated[
        str, typer.Option(help=_PYTHON.format("B"), show_default="this one")
    ] = sys.executable,
    pairs: Annotated[int, typer.Option(min=2, help="Fresh processes of each side, for --run.")] = 8,
    turns: Annotated[int, typer.Option(min=1, help="Blocks of calls in each process.")] = 20,
    calls: Annotated[int, typer.Option(min=1, help="Most calls of a block, which ends after 0.25 s.")] = 40,
    seed: Annotated[int, typer.Option(help="Seed of the order: which side starts.")] = 0,
    simulated: Annotated[bool, typer.Option("--simulated", help=selection.JUDGE_SIMULATED)] = False,
    md: Annotated[str, typer.Option(metavar="[FILE]", help=md_option.MD, show_default=False)] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """Show whether the candidate is slower than the baseline, by how much, with an interval.

    Stored rows of one campaign with several processes a cell (sampling.repeats) are compared round by round.
    Rows measured apart get a verdict only if the cell was measured at five times before, and that verdict is
    a suspicion: --run confirms it. Exit code 3: a confirmed regression.
    """
    md_option.refuse(md, as_json=as_json)
    console = Screen(stderr=as_json or md == md_option.STDOUT)
    output = compare_output.Output(console, md, as_json)
    if cell and not git:
        raise ConfigError("--cell is for --git; with --run each side is the overrides of its cell")
    if run or git:
        if percentile != 50:  # noqa: PLR2004 - the median
            raise ConfigError(
                "--run compares medians, since a block of 40 calls has no tail: leave out --percentile"
            )
        if git:
            builds = [git_builds.build(ref, output.line) for ref in (baseline, candidate)]
            for name, build in zip("AB", builds, strict=True):
                output.line(f"{name} is commit {build.commit[:12]} ({build.ref})")
            baseline = candidate = cell
            python_a, python_b = (build.python for build in builds)
        places = [f"cache.root={cache}"] * bool(cache)
        specs = [
            duel.SideSpec(overrides=(*shlex.split(side), *places), python=python)
            for side, python in ((baseline, python_a), (candidate, python_b))
        ]
        return _measured(specs, (pairs, turns, calls, seed), threshold, output)
    sides, found = stored(
        ResultsStore(store), (baseline, candidate), percentile, threshold, simulated=simulated
    )
    compare_output.show_stored(
        compare_output.Stored(found, (baseline, candidate), sides, percentile, threshold), output
    )
    return REGRESSION if any(one.confirmed and one.ratio_test.verdict == "regression" for one in found) else 0


def stored(
    store: ResultsStore, typed: tuple[str, str], percentile: int, threshold: float, *, simulated: bool
) -> tuple[tuple[pd.DataFrame, pd.DataFrame], list[Compared]]:
    """Rows of both sides as requested, and what a comparison of their cells finds.

    Raises:
        ConfigError: rows have no such percentile, a side has no rows, or the sides have no cell in common.
    """
    if percentile not in _PERCENTILES:
        raise ConfigError(f"--percentile {percentile}: rows have {', '.join(map(str, _PERCENTILES))}")
    figure = f"latency_p{percentile}_ms"
    sides, own = _sides(store, typed, figure, simulated=simulated)
    return sides, compare_rows(*sides, own, figure, threshold)


def _sides(
    store: ResultsStore, typed: tuple[str, str], figure: str, *, simulated: bool
) -> tuple[tuple[pd.DataFrame, pd.DataFrame], pd.DataFrame]:
    """Rows of both sides as requested, and all rows, which show how much times differ.

    Raises:
        ConfigError: a side has no rows, or only one of them was measured.
    """
    conditions = [query.parse(text) if _is_conditions(text) else () for text in typed]
    named = [one.column for side in conditions for one in side]
    columns = list(dict.fromkeys((*NEEDED, figure, *selection.COLUMNS, *named)))
    usable = (pc.field("status") == "ok") & pc.field(figure).is_valid()
    rows = store.table(columns, usable)
    chosen = [
        selection.judged(_side(rows, text, side, figure), side, simulated=simulated)
        for text, side in zip(typed, conditions, strict=True)
    ]
    for text, side in zip(typed, chosen, strict=True):
        if not len(side):
            kinds = "simulated" if simulated else "measured"
            raise ConfigError(
                f"{text}: none of its rows is {kinds}: add source=published to compare published ones"
            )
    pretended = ["simulated" in selection.origins(side).to_pylist() for side in chosen]
    if len({*pretended}) > 1:
        raise ConfigError(
            f"{typed[pretended.index(True)]} is simulated and {typed[pretended.index(False)]} is not: "
            "they can't be compared"
        )
    history = selection.judged(rows, (), simulated=pretended[0])
    return (_with_facts(store, chosen[0]), _with_facts(store, chosen[1])), to_frame(history)


def _with_facts(store: ResultsStore, side: pa.Table) -> pd.DataFrame:
    """Add the columns of a summary, which are read for these rows only."""
    facts = to_frame(store.of_runs(side["run_id"].to_pylist(), ["run_id", *compare_output.NEEDED]))
    rows = to_frame(side)
    return rows.drop(columns=facts.columns.intersection(rows.columns).drop("run_id")).merge(
        facts, on="run_id"
    )


def _is_conditions(text: str) -> bool:
    return any(sign in text for sign in "=<>~")


def _side(rows: pa.Table, text: str, conditions: Sequence[query.Condition], figure: str) -> pa.Table:
    """Rows of a campaign, of a run, or that meet conditions."""
    if conditions:
        found = rows.filter(query.expression(conditions))
    elif pc.any(of_campaign := pc.equal(rows["campaign"], text)).as_py():
        found = rows.filter(of_campaign)
    else:
        found = rows.filter(pc.starts_with(rows["run_id"], pattern=text))
    if not len(found):
        raise ConfigError(
            f"{text}: no row with status ok and a {figure}: give a campaign, a run_id, or other conditions"
        )
    return found


def _measured(
    specs: Sequence[duel.SideSpec],
    numbers: tuple[int, int, int, int],
    threshold: float,
    output: compare_output.Output,
) -> int:
    """Measure both sides in turns; show each pair, then the verdict."""
    pairs, turns, calls, seed = numbers
    folder = Path(f"outputs/compare-{datetime.now(timezone.utc):%Y-%m-%d_%H-%M-%S}")
    measured: list[compare_output.MeasuredPair] = []
    with duel.run(
        specs[0], specs[1], folder=folder, pairs=pairs, turns=turns, calls=calls, seed=seed
    ) as match:
        for name, side, spec in zip("AB", (match.a, match.b), specs, strict=True):
            overrides = " ".join(spec.overrides) or "all defaults"
            output.line(f"{name}: {side.label} ({overrides})")
        for pair in match.pairs:
            one = compare_output.MeasuredPair(
                a_ms=_p50_ms(pair.a.blocks),
                b_ms=_p50_ms(pair.b.blocks),
                ratio=turns_ratio(pair.a.blocks, pair.b.blocks),
                seconds=pair.seconds,
            )
            measured.append(one)
            both = f"A {significant(one.a_ms)} ms, B {significant(one.b_ms)} ms"
            output.line(
                f"pair {pair.number + 1} of {pairs}: {both}, B / A {one.ratio:.4f} ({one.seconds:.1f} s)"
            )
    found = ratio_test([one.ratio for one in measured], threshold)
    compare_output.show_duel(compare_output.Taken(found, measured, (match.a, match.b), threshold), output)
    return REGRESSION if found.verdict == "regression" else 0


def _p50_ms(blocks: Sequence[Sequence[int]]) -> float:
    return median(chain(*blocks)) / 1e6
