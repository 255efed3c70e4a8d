"""What a cell of a large grid costs: to plan, to run on the simulated device, and to find done.

python tests/benchmarks/scale.py [--sizes 100,1000,10000,100000] [--store-rows 1000000]

Every line is a whole command in a process of its own, as a user would type it. `ms/cell` is what a cell adds
to the command of four cells; flat means that it stays the same from the smallest grid to the largest. The
last column is the most memory that the process held. With --store-rows, the third size is run and resumed in
a store that holds so many rows already.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from many_rows import write

from benchmark.store.results import ResultsStore

SHAPES = {4: (4, 1, 1), 100: (4, 5, 5), 1_000: (4, 25, 10), 10_000: (4, 50, 50), 100_000: (4, 250, 100)}
"""Cells to models x fast_math, batches and lengths."""
CALLS = ("warmup_calls=1", "warmup_s=0", "min_calls=20", "max_calls=20", "min_s=0", "repeats=1")


class Cost(NamedTuple):
    """Of one command."""

    wall_s: float
    cpu_s: float
    peak_mb: float


def grid(cells):
    """Overrides of a grid of so many cells."""
    _, batches, lengths = SHAPES[cells]
    return [
        "-m",
        "hardware=simulated",
        "model=bert_tiny,distilbert_tiny",
        "compiler.fast_math=none,all",
        f"batch=range(1,{batches + 1})",
        f"seq_len=range(1,{lengths + 1})",
        *(f"sampling.{knob}" for knob in CALLS),
        f"campaign=cells{cells}",
    ]


def cost(folder, *arguments):
    """Run the program; its output goes to a file, which is shown if it fails."""
    out = folder / "out.txt"
    start = time.perf_counter()
    pid = os.fork()
    if not pid:
        os.chdir(folder)
        descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        os.execv(sys.executable, [sys.executable, "-m", "benchmark", *arguments])  # noqa: S606 - no shell
    _, status, usage = os.wait4(pid, 0)
    wall = time.perf_counter() - start
    if os.waitstatus_to_exitcode(status):
        sys.exit(f"{' '.join(arguments)}\n{out.read_text()[-3000:]}")
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1e3)


def table(title, costs, few):
    """Print what was measured, and how the cost of a cell changes with their number."""
    print(f"\n{title}\n{'cells':>8} {'wall s':>8} {'CPU s':>8} {'ms/cell':>8} {'of first':>9} {'MB':>6}")
    each = {cells: (cost.wall_s - few.wall_s) / (cells - 4) * 1e3 for cells, cost in costs.items()}
    first = next(iter(each.values()))
    for cells, spent in costs.items():
        message = f"{cells:8} {spent.wall_s:8.2f} {spent.cpu_s:8.2f} {each[cells]:8.3f}"
        print(message, f"{each[cells] / first:9.2f} {spent.peak_mb:6.0f}", flush=True)


def main():
    """Measure each size in a folder of its own."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", default="100,1000,10000,100000", help=f"of {', '.join(map(str, SHAPES))}")
    parser.add_argument("--store-rows", type=int, default=0)
    asked = parser.parse_args()
    sizes = [int(size) for size in asked.sizes.split(",")]
    with tempfile.TemporaryDirectory() as temporary:
        folders = {size: Path(temporary) / str(size) for size in [4, *sizes]}
        for folder in folders.values():
            folder.mkdir()
        planned = {size: cost(folder, "plan", *grid(size)) for size, folder in folders.items()}
        few = planned.pop(4)
        table(f"plan (four cells: {few.wall_s:.2f} s)", planned, few)
        ran = {size: cost(folder, *grid(size)) for size, folder in folders.items()}
        few = ran.pop(4)
        table(f"run, simulated, without children (four cells: {few.wall_s:.2f} s)", ran, few)
        again = {size: cost(folder, *grid(size)) for size, folder in folders.items()}
        few = again.pop(4)
        table(f"resume with every cell done (four cells: {few.wall_s:.2f} s)", again, few)
        if asked.store_rows:
            large = Path(temporary) / "large"
            store = ResultsStore(large / "outputs" / "results")
            store.prepare()
            write(store, asked.store_rows)
            size = sizes[min(2, len(sizes) - 1)]
            print(f"\nin a store that holds {asked.store_rows} rows already, {size} cells:")
            for what in ("plan", "run", "resume", "plan again"):
                spent = cost(large, *(["plan"] if "plan" in what else []), *grid(size))
                print(f"  {what:10} {spent.wall_s:7.2f} s  {spent.peak_mb:6.0f} MB", flush=True)


if __name__ == "__main__":
    main()
