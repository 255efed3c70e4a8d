"""A month of simulated nights in which one of twelve series becomes slower: is it found, confirmed and drawn?

python tests/benchmarks/nightly_history.py --out outputs/nightly-drill    (about a minute)

Nights are made up: noise of a process, of a night and of all series together. Suspects are run anew for real,
by `nightly check`, in fresh processes of two builds of the simulated compiler, of which the new one is slower
where the history says so. Then the same without a slow-down. Exit code 1: a night was judged wrongly.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

from benchmark.cell import cell_of
from benchmark.config.sweep import grid
from benchmark.records import Row
from benchmark.store.results import ResultsStore

NIGHTS, FIRST_SLOWER, SERIES, BATCH, SHARE = 30, 27, 12, 3, 0.06
START = datetime(2026, 1, 1, 2, 17, tzinfo=timezone.utc)
PROCESS, NIGHT, COMMON = 0.004, 0.006, 0.01
"""Standard deviations of logs."""

NEW_BUILD = f"""#!{sys.executable}
import dataclasses, runpy
from benchmark.compilers.simulated import Simulated
honest = Simulated.load
def slower(self, workload, folder):
    session = honest(self, workload, folder)
    if workload.shape.batch_size != {BATCH}:
        return session
    return dataclasses.replace(session, clock=lambda: round({1 + SHARE} * session.clock()))
Simulated.load = slower
runpy.run_module("benchmark.cli.side", run_name="__main__", alter_sys=True)
"""
"""An interpreter whose simulated compiler is slower with one batch size."""


def name(night):
    return f"night-{night:02}"


def new_build(path):
    path.write_text(NEW_BUILD)
    path.chmod(0o755)
    return str(path)


def made(root, *, slower, nights=NIGHTS, seed=0):
    """A store of so many nights of three processes a series; the new build comes in night FIRST_SLOWER."""
    spread = random.Random(seed)  # noqa: S311 - no secret
    overrides = [
        "hardware=simulated",
        "sampling=quick",
        "sampling.repeats=1",
        f"cache.root={root.parent / 'cache'}",
    ]
    cells = grid([*overrides, f"batch={','.join(map(str, range(1, SERIES + 1)))}"])
    rows = []
    for night in range(1, nights + 1):
        everywhere, new = spread.gauss(0, COMMON), night >= FIRST_SLOWER
        for experiment in cells:
            batch = experiment.batch
            here = spread.gauss(0, NIGHT) + everywhere
            factor = 1 + SHARE * (slower and new and batch == BATCH)
            for repeat in range(3):
                p50 = (1 + 0.5 * batch) * factor * 2.718281828 ** (here + spread.gauss(0, PROCESS))
                rows.append(
                    {
                        "run_id": f"{night}-{batch}-{repeat}",
                        "campaign": name(night),
                        "cell_id": cell_of(experiment).cell_id,
                        "environment_id": "new" if new else "accepted",
                        "started_at": START + timedelta(days=night - 1),
                        "finished_at": START + timedelta(days=night - 1),
                        "status": "ok",
                        "simulated": True,
                        "repeat": repeat,
                        "model": "bert_tiny",
                        "hardware": "simulated",
                        "device_name": "simulated",
                        "compiler": "simulated",
                        "fast_math": "none",
                        "batch_size": batch,
                        "sequence_length": 128,
                        "samples": 100,
                        "latency_p50_ms": p50,
                        "latency_p95_ms": p50 * (1.03 + abs(spread.gauss(0, 0.01))),
                        "git_commit": ("b" if new else "a") * 40,
                        "framework_versions": {"simulated": "0.2" if new else "0.1"},
                        "overrides": [*overrides, f"batch={batch}"],
                        "config": experiment.resolved,
                    }
                )
    store = ResultsStore(root)
    store.prepare()
    store.append(*(Row(values=values) for values in rows))
    return store


def checked(store, night, folder, candidate):
    """`nightly check` as it is typed: its exit code."""
    words = ["nightly", "check", "--trust", "--store", store, "--night", name(night)]
    words += ["--plot", folder / name(night)]
    builds = ["--accepted-python", sys.executable, "--candidate-python", candidate]
    ran = subprocess.run(
        [sys.executable, "-m", "benchmark", *map(str, [*words, *builds, "--md", folder / "summary.md"])],
        cwd=folder,
        env={**os.environ, "NO_COLOR": "1"},
        check=False,
    )
    return ran.returncode


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--out", type=Path, default=Path("outputs/nightly-drill"))
    out = options.parse_args().out.absolute()
    wrong = []
    for slower in (True, False):
        folder = out / ("slower" if slower else "equal")
        folder.mkdir(parents=True, exist_ok=True)
        candidate = new_build(folder / "python") if slower else sys.executable
        root = folder / "outputs" / "results"
        made(root, slower=slower)
        for night in range(FIRST_SLOWER - 2, NIGHTS + 1):
            expected = 3 if slower and night == FIRST_SLOWER else 0
            code = checked(root, night, folder, candidate)
            print(f"{folder.name} {name(night)}: exit code {code}, expected {expected}", flush=True)
            wrong += [night] * (code != expected)
    print(f"{len(wrong)} nights judged wrongly; summaries and charts: {out}")
    return bool(wrong)


if __name__ == "__main__":
    raise SystemExit(main())
