"""`compare`: is the candidate slower than the baseline? By stored rows, or by a measurement in turns."""

from __future__ import annotations

import json
import math
import shlex
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any, Final

import pandas as pd
import typer
from rich.console import Console

from benchmark import conditions
from benchmark.cli import duel
from benchmark.comparison import NEEDED, Compared, compare_rows
from benchmark.contrast import Contrast, contrast, turns_ratio
from benchmark.errors import ConfigError
from benchmark.reports.table import print_table
from benchmark.results import DEFAULT_ROOT, ResultsStore, to_frame

REGRESSION: Final = 3
_PERCENTILES: Final = (50, 90, 95, 99)

_SIDE = "A campaign, the start of a run id, or conditions; with --run overrides in quotes, for one cell."
_RUN = "Measure both sides now, in turns, alone on this host."
_PYTHON = "Interpreter that plays side {}, with its own libraries and version of this program."


def compare(  # noqa: PLR0913, PLR0917 - a command line has that many
    baseline: Annotated[str, typer.Argument(help=_SIDE)],
    candidate: Annotated[str, typer.Argument(help="Likewise.")],
    store: Annotated[str, typer.Option(help="Folder or URL that holds the rows.")] = DEFAULT_ROOT,
    cache: Annotated[str, typer.Option(help="Folder of the compile cache, for --run.")] = "",
    percentile: Annotated[int, typer.Option(help="Of the latencies: 50, 90, 95 or 99.")] = 50,
    threshold: Annotated[float, typer.Option(min=0, help="Relative difference that matters.")] = 0.02,
    run: Annotated[bool, typer.Option("--run", help=_RUN)] = False,
    python_a: Annotated[
        str, typer.Option(help=_PYTHON.format("A"), show_default="this one")
    ] = sys.executable,
    python_b: Annotated[
        str, typer.Option(help=_PYTHON.format("B"), show_default="this one")
    ] = sys.executable,
    pairs: Annotated[int, typer.Option(min=2, help="Fresh processes of each side, for --run.")] = 8,
    turns: Annotated[int, typer.Option(min=1, help="Blocks of calls of each process.")] = 20,
    calls: Annotated[int, typer.Option(min=1, help="Calls of a block at most; slow ones: 0.25 s.")] = 40,
    seed: Annotated[int, typer.Option(help="Of which side starts.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """Say whether the candidate is slower than the baseline, by how much, and how sure that is.

    Stored rows of one campaign with several processes a cell (sampling.repeats) are compared round by round.
    Rows measured apart give a verdict only against five earlier times of the same cell, and it stays a
    suspicion: --run confirms it. Exit code 3: a confirmed regression.
    """
    console = Console(stderr=as_json)
    if run:
        if percentile != 50:  # noqa: PLR2004 - the median
            raise ConfigError(
                "--run compares medians: a block of 40 calls tells no tail; leave out --percentile"
            )
        places = [f"cache.root={cache}"] * bool(cache)
        specs = [
            duel.SideSpec(overrides=(*shlex.split(side), *places), python=python)
            for side, python in ((baseline, python_a), (candidate, python_b))
        ]
        return _measured(specs, (pairs, turns, calls, seed), threshold, console, as_json=as_json)
    if percentile not in _PERCENTILES:
        raise ConfigError(f"--percentile {percentile}: rows have {', '.join(map(str, _PERCENTILES))}")
    rows = ResultsStore(store)
    figure = f"latency_p{percentile}_ms"
    everything = to_frame(rows.table([*NEEDED, figure], conditions.expression(conditions.parse("status=ok"))))
    everything = everything[everything[figure].notna()]
    sides = [_side(everything, text, figure) for text in (baseline, candidate)]
    found = compare_rows(sides[0], sides[1], everything, figure, threshold)
    _show(found, console, as_json=as_json)
    return REGRESSION if any(one.confirmed and one.contrast.verdict == "regression" for one in found) else 0


def _side(everything: pd.DataFrame, text: str, figure: str) -> pd.DataFrame:
    """Rows that are ok, by what the user typed."""
    if any(sign in text for sign in "=<>~"):
        import pyarrow as pa

        asked = conditions.expression(conditions.parse(text))
        found = to_frame(pa.Table.from_pandas(everything, preserve_index=False).filter(asked))
    elif (everything["campaign"] == text).any():
        found = everything[everything["campaign"] == text]
    else:
        found = everything[everything["run_id"].str.startswith(text)]
    if found.empty:
        raise ConfigError(
            f"{text}: no rows that are ok and have a {figure}: neither campaign, run nor conditions"
        )
    return found


def _measured(
    specs: Sequence[duel.SideSpec],
    numbers: tuple[int, int, int, int],
    threshold: float,
    console: Console,
    *,
    as_json: bool,
) -> int:
    """Let both sides take turns; tell each pair, then the verdict."""
    pairs, turns, calls, seed = numbers
    folder = Path(f"outputs/compare-{datetime.now(timezone.utc):%Y-%m-%d_%H-%M-%S}")
    ratios: list[float] = []
    seconds = 0.0
    with duel.run(
        specs[0], specs[1], folder=folder, pairs=pairs, turns=turns, calls=calls, seed=seed
    ) as match:
        for name, side, spec in zip("AB", (match.a, match.b), specs, strict=True):
            asked = " ".join(spec.overrides) or "all defaults"
            console.print(f"{name}: {side.label} ({asked})", markup=False, highlight=False, soft_wrap=True)
        for pair in match.pairs:
            ratios.append(turns_ratio(pair.a.blocks, pair.b.blocks))
            seconds += pair.seconds
            console.print(
                f"pair {pair.number + 1} of {pairs}: B / A {ratios[-1]:.4f} ({pair.seconds:.1f} s)",
                highlight=False,
            )
    found = contrast(ratios, threshold)
    if as_json:
        told = {"ratios": ratios, "seconds": seconds, "a": match.a.label, "b": match.b.label}
        print(json.dumps({**_plain(found), **told, "simulated": match.a.simulated or match.b.simulated}))
    else:
        console.print(f"{found.verdict}: {_effect(found)}, {seconds:.0f} s", highlight=False)
    return REGRESSION if found.verdict == "regression" else 0


def _show(found: Sequence[Compared], console: Console, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps([_record(one) for one in found]))
        return
    varying = [
        name
        for name in found[0].cell
        if len({str(one.cell.get(name)) for one in found}) > 1 or name in {"model", "hardware"}
    ]
    lines = [
        {
            **{name.removesuffix("_size"): one.cell.get(name) for name in varying},
            "A ms": one.base,
            "B ms": one.candidate,
            "B / A": f"{one.contrast.ratio - 1:+.1%}",
            "99 % interval": _bounds(one.contrast),
            "verdict": one.contrast.verdict if one.confirmed else f"{one.contrast.verdict} (apart)",
        }
        for one in found
    ]
    print_table(pd.DataFrame(lines), console=console)
    if not all(one.confirmed for one in found):
        console.print(
            "apart: the sides ran in no common rounds, so a verdict is a suspicion at best: compare --run, "
            "or both sides in one campaign with sampling.repeats=8",
            style="dim",
            highlight=False,
        )


def _effect(found: Contrast) -> str:
    return f"B / A {found.ratio - 1:+.2%} ({_bounds(found)} at 99 %), {found.rounds} rounds"


def _bounds(found: Contrast) -> str:
    return "?" if math.isnan(found.lo) else f"{found.lo - 1:+.1%} … {found.hi - 1:+.1%}"


def _plain(found: Contrast) -> dict[str, Any]:
    """As JSON has it: NaN is null."""
    values = found._asdict().items()
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in values}


def _record(one: Compared) -> dict[str, Any]:
    cell = {name: None if pd.isna(value) else value for name, value in one.cell.items()}
    figures = {"baseline_ms": one.base, "candidate_ms": one.candidate, "evidence": one.evidence}
    return {"cell": json.loads(pd.Series(cell).to_json()), **figures, **_plain(one.contrast)}
