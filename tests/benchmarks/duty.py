"""How much of a grid's wall time its models are being called in: (warm-up + timed calls) / wall.

python tests/benchmarks/duty.py [overrides]

A grid of base-size models is run twice: a quick look, so that weights, references and artefacts are in the
cache, and then the run that counts. What the remaining time is stands below.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from benchmark.store.results import load

GRID = ["model=bert,vit", "compiler=torchscript", "batch=1,4"]


def run(folder, overrides, campaign):
    """Wall seconds of the whole command."""
    start = time.perf_counter()
    ran = subprocess.run(
        [sys.executable, "-m", "benchmark", "-m", *overrides, f"campaign={campaign}"],
        cwd=folder,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode:
        sys.exit(ran.stdout + ran.stderr)
    return time.perf_counter() - start


def main():
    """Print the duty, and what takes the rest."""
    overrides = sys.argv[1:] or GRID
    with tempfile.TemporaryDirectory() as folder:
        run(folder, [*overrides, "sampling=quick"], "cold")
        wall = run(folder, overrides, "warm")
        rows = load(Path(folder) / "outputs" / "results", "campaign=warm").sort_values("started_at")
    stages = pd.json_normalize(rows["stage_seconds"].map(dict).tolist())
    sometimes = {"compile", "wait", "peak", "measure.retries"}
    parts = stages.reindex(columns=[*stages.columns, *(sometimes - {*stages.columns})]).fillna(0.0)
    timed = parts["measure.warmup"] + parts["measure.calls"]
    forked = parts["measure.start"]
    of_measure = [name for name in parts if name.startswith("measure.")]
    inside = {
        "load": parts["measure.load"],
        "first call": parts["measure.first_call"],
        "noise retries: timed calls that don't count": parts["measure.retries"],
        "answers, statistics": parts["measure.analysis"] + parts["measure"] - parts[of_measure].sum(axis=1),
        "build and compile: looked up and hashed": parts["build"] + parts["compile"],
        "verify": parts["verify"],
        "wait for the host": parts["wait"],
        "peak of the machine": parts["peak"],
    }
    print(f"{len(rows)} cells, {' '.join(overrides)}")
    print(f"with a warm cache {wall:.1f} s, of which warm-up and timed calls {timed.sum():.1f} s")
    print(f"duty {timed.sum() / wall:.3f}, without imports {timed.sum() / (wall - forked[0]):.3f}")
    called = timed + parts["measure.retries"]
    print(f"with noise retries {called.sum() / wall:.3f}")
    for name, seconds in inside.items():
        print(f"{seconds.sum():8.2f} s  {name}")
    print(f"{forked[1:].sum():8.2f} s  fork and unpickle, of all cells but the first")
    print(f"{forked[0]:8.2f} s  the same of the first, which waits for the server's imports")
    first = (rows["finished_at"].max() - rows["started_at"].min()).total_seconds()
    print(f"{wall - first:8.2f} s  before the first cell is timed and after the last")


if __name__ == "__main__":
    main()
