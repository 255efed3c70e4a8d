"""Two commands started at once on one host: what they time never overlaps, and no cell is timed twice.

python tests/benchmarks/two_commands.py

Both are given the same grid of real models in the same campaign, in opposite orders, with an empty cache.
Printed is when each cell held the host, by which command; exit code 1 if two intervals overlap, a row is
missing or there twice, or a command fails.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pandas as pd

BATCHES = ("1,2,4", "4,2,1")
GRID = (
    "-m",
    "model=bert_tiny,vit_tiny",
    "compiler=torchscript,eager",
    "sampling=quick",
    "sampling.repeats=1",
    "campaign=shared",
)
CELLS = 12


def run(folder):
    """Start both, wait for both; return their output."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "NO_COLOR": "1"}
    command = [sys.executable, "-m", "benchmark", *GRID]
    started = [
        subprocess.Popen(
            [*command, f"batch={batches}"],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for batches in BATCHES
    ]
    outputs = [process.communicate(timeout=600)[0] for process in started]
    for process, output in zip(started, outputs, strict=True):
        if process.returncode:
            sys.exit(output)
    return outputs


def intervals(rows):
    """From when to when each cell was loaded and timed, by whom."""
    for row in rows.itertuples():
        seconds = dict(row.stage_seconds)
        end = row.finished_at - timedelta(seconds=seconds["verify"])
        name = f"{row.model} {row.compiler} b{row.batch_size}"
        yield end - timedelta(seconds=seconds["measure"]), end, row.command.rpartition("batch=")[2], name


def main():
    """Print the intervals and what is wrong with them."""
    with tempfile.TemporaryDirectory() as folder:
        outputs = run(folder)
        rows = pd.read_parquet(Path(folder) / "outputs" / "results")
    timed = sorted(intervals(rows))
    first = timed[0][0]
    for start, end, batches, name in timed:
        left, right = ((moment - first).total_seconds() for moment in (start, end))
        print(f"{left:8.3f} - {right:8.3f} s   batch={batches}   {name}")
    overlaps = sum(after[0] < before[1] for before, after in pairwise(timed))
    spared = sum(output.count("done by another command") for output in outputs)
    print(f"{len(rows)} rows of {rows['run_id'].nunique()} runs, {set(rows['status'])}; {overlaps} overlaps")
    print(f"cells that a command found done by the other when their turn came: {spared}")
    right = len(rows) == rows["run_id"].nunique() == CELLS and set(rows["status"]) == {"ok"}
    return 1 if overlaps or not right else 0


if __name__ == "__main__":
    sys.exit(main())
