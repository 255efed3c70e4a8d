"""The time that a command prints at its start, against what it took: 12 cells of small models on the CPU.

python tests/benchmarks/eta.py [--samplings quick,default,thorough]

Each sampling runs twice: with an empty store and an empty cache, then again with the rows and artefacts of
the first time, as another campaign. `ratio` is the longer time over the shorter one; the goal is 1.5. The
seconds of `thorough` are divided by ten, or it would take two hours.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

GOAL = 1.5
GRID = ("model=bert_tiny,vit_tiny", "compiler=eager,torchscript,onnxruntime", "batch=1,4")
SAMPLINGS = {
    "quick": ("sampling=quick",),
    "default": ("sampling=default",),
    "thorough": (
        *("sampling=thorough", "sampling.warmup_s=0.2", "sampling.min_s=1", "sampling.max_s=1.5"),
        "sampling.repeats=5",
    ),
}
AHEAD = re.compile(r"(?:about|at least) ((?:\d+ (?:h|min|s) ?)+), (.*)")
SECONDS = {"h": 3600, "min": 60, "s": 1}


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--samplings", default=",".join(SAMPLINGS))
    wanted = options.parse_args().samplings.split(",")
    print(f"{'sampling':<10} {'store':<8} {'printed':>8} {'took':>8} {'ratio':>6}  rests on")
    worst = 0.0
    for name in wanted:
        with tempfile.TemporaryDirectory(prefix="eta-") as folder:
            for store in ("empty", "history"):
                printed, took, basis = run(Path(folder), *SAMPLINGS[name], f"campaign={store}")
                ratio = max(printed / took, took / printed)
                worst = max(worst, ratio)
                print(
                    f"{name:<10} {store:<8} {printed:6.0f} s {took:6.1f} s {ratio:6.2f}  {basis}", flush=True
                )
    print(f"worst {worst:.2f}, goal {GOAL}")
    return worst > GOAL


def run(folder: Path, *overrides: str) -> tuple[float, float, str]:
    """Run the grid; return the seconds that were printed, those from then to the end, and the basis."""
    command = [sys.executable, "-m", "benchmark", "-m", *GRID, *overrides]
    variables = {**os.environ, "HF_HUB_OFFLINE": "1", "XDG_CACHE_HOME": str(folder / "host")}
    ahead, began = None, 0.0
    with subprocess.Popen(command, cwd=folder, env=variables, stdout=subprocess.PIPE, text=True) as running:
        for line in running.stdout or ():
            if ahead is None and (ahead := AHEAD.search(line)):
                began = time.monotonic()
    took = time.monotonic() - began
    if running.returncode or ahead is None:
        raise SystemExit(f"{' '.join(command)}: exit code {running.returncode}")
    printed = sum(int(n) * SECONDS[unit] for n, unit in re.findall(r"(\d+) (h|min|s)", ahead[1]))
    return printed, took, ahead[2]


if __name__ == "__main__":
    sys.exit(main())
