"""The same grid several times: how far the runs agree, and how often an interval holds the other run's value.

    python tests/benchmarks/same_grid_again.py --times 4 experiment=demo
    python tests/benchmarks/same_grid_again.py --times 2 -- -m model=bert_tiny,vit_tiny sampling=default

An interval is that of p50 over the processes of a cell, as in the tables. Of two runs with equal processes
a 95 % t interval of five holds the other's value in 88 %, as that value has an error of its own. `overlap`:
cells whose two intervals meet. `differ`: the median and the 90th percentile, over cells and pairs of runs,
of how far the values differ; p50 and the lowest latency. The first run, which compiles, isn't counted.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from benchmark.report.display.computed import WIDTH, in_lines_of_cells
from benchmark.store.results import ResultsStore, to_frame

P50, LOW = "latency_p50_ms", "latency_min_ms"
NEEDED = ("campaign", "cell_id", "environment_id", "repeat", "status", P50, f"{P50}_lo", f"{P50}_hi", LOW)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--times", type=int, default=2, help="runs that are compared")
    options.add_argument("overrides", nargs="*", default=["experiment=demo"])
    asked = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="again-") as folder:
        walls = [run(Path(folder), asked.overrides, f"run{number}") for number in range(asked.times + 1)]
        rows = to_frame(ResultsStore(f"{folder}/outputs/results").table([*NEEDED]))
    lines = in_lines_of_cells(rows[rows["status"] == "ok"])
    runs = {f"run{number}": lines[lines["campaign"] == f"run{number}"] for number in range(1, len(walls))}
    for (name, cells), wall in zip(runs.items(), walls[1:], strict=True):
        print(f"{name}: {len(cells)} cells in {wall:.0f} s, {widths(cells[WIDTH])}")
    print(*agreement(runs), sep="\n")


def run(folder: Path, overrides: list[str], campaign: str) -> float:
    """Run the grid as one command; return its seconds."""
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "benchmark", *overrides, f"campaign={campaign}"],
        env={**os.environ, "BENCHMARK_HOME": str(folder)},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return time.perf_counter() - began


def widths(half: pd.Series[float]) -> str:
    """How wide the intervals of a run are."""
    return (
        f"p50 ± {half.median():.1%} (median), {(half <= 0.05).mean():.0%} of the cells within 5 %, "
        f"{(half <= 0.1).mean():.0%} within 10 %"
    )


def agreement(runs: dict[str, pd.DataFrame]) -> Iterator[str]:
    """How the pairs of runs agree, a line each, and in all."""
    apart: dict[str, list[float]] = {P50: [], LOW: []}
    for (one, left), (other, right) in combinations(runs.items(), 2):
        both = left.merge(right, on="cell_id", suffixes=("", "_other"))
        held = holds(both, "", "_other"), holds(both, "_other", "")
        meet = (both[f"{P50}_lo"] <= both[f"{P50}_hi_other"]) & (both[f"{P50}_lo_other"] <= both[f"{P50}_hi"])
        yield f"{one}, {other}: hold {held[0]} and {held[1]} of {len(both)}, overlap {meet.sum()}"
        for name, values in apart.items():
            values.extend(np.expm1(np.abs(np.log(both[name] / both[f"{name}_other"]))))
    for name, values in apart.items():
        median, most = np.quantile(values, (0.5, 0.9))
        yield f"{name}: differ by {median:.1%}, the 90th percentile {most:.1%}"


def holds(both: pd.DataFrame, of: str, value: str) -> int:
    """Cells whose interval of p50 in one run holds the p50 of the other."""
    return int(both[f"{P50}{value}"].between(both[f"{P50}_lo{of}"], both[f"{P50}_hi{of}"]).sum())


if __name__ == "__main__":
    main()
