"""A drill: one grid here, on Ray and on a Slurm of three virtual nodes gives the same cells and figures.

python -m tests.chaos.slurm_drill

Then the array of benchmark/recipes/slurm-array.sh: a task is requeued while it runs, as preemption does, and
the rows are complete. Where there is no Slurm it prints why, and ends.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmark.cli.nightly.recipe import filled
from benchmark.execution.host_lock import LOCK_NAME
from benchmark.store.results import ResultsStore
from tests.cluster.nodes import SIMULATED, nodes
from tests.cluster.slurm import lacking, slurm

GRID = ("-m", "hardware=simulated", "batch=1,2,4", "compiler.fast_math=none,all", "sampling.repeats=1")


def run(folder, environment, *words):
    """One command; its wall seconds."""
    since = time.monotonic()
    ran = subprocess.run(
        [sys.executable, "-m", "benchmark", *GRID, *words],
        cwd=folder,
        env={**environment, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return time.monotonic() - since


def figures(folder, campaign):
    rows = ResultsStore(Path(folder, "outputs", "results")).table().to_pylist()
    mine = [row for row in rows if row["campaign"] == campaign]
    return {row["cell_id"]: (row["status"], row["latency_p50_ms"]) for row in mine}


def same_everywhere(folder, environment):
    took = {"here": run(folder, os.environ, "campaign=here")}
    with nodes(SIMULATED, SIMULATED) as cluster:
        words = ("hydra/launcher=ray", f"launcher.address={cluster.address}", "campaign=ray")
        took["ray"] = run(folder, os.environ, *words)
    launcher = ("hydra/launcher=submitit_slurm", "hydra.launcher.partition=all", "campaign=slurm")
    took["slurm"] = run(folder, environment, *launcher)
    found = {name: figures(folder, name) for name in took}
    times = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in took.items())
    is_equal = found["here"] == found["ray"] == found["slurm"]
    print(f"same cells: {len(found['here'])} on each, equal: {is_equal}; {times}")
    assert is_equal, found
    assert len(found["here"]) == 6
    jobs = subprocess.run(
        ["sacct", "-n", "-X", "-P", "-o", "state,nodelist"], env=environment, capture_output=True, text=True,
        check=True,
    ).stdout.split()  # fmt: skip
    print(f"slurm: jobs by state and node: {dict(Counter(jobs))}")


def requeued(folder, environment):
    """An array of two tasks; the first is requeued while it runs."""
    texts = {"folder": str(folder), "experiment": "mine", "hardware": "simulated", "accepted_python": "",
             "image": "i", "account": "1", "file_system": "f", "mail": "m"}  # fmt: skip
    script = Path(folder, "array.sh")
    script.write_text(filled("slurm", texts, {"hour": 2, "cpus": 1, "memory_gib": 1}))
    Path(folder, ".venv", "bin").mkdir(parents=True)
    python = Path(folder, ".venv", "bin", "python")
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    experiments = Path(folder, "conf", "experiment")
    experiments.mkdir(parents=True)
    (experiments / "mine.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /sampling: quick\nhydra:\n  mode: MULTIRUN\n"
        '  sweeper:\n    params:\n      batch: "range(1,9)"\n'
    )
    Path(folder, "benchmark.yaml").write_text("searchpath: [conf]\n")
    environment = {**environment, "MODELS": "bert_tiny vit_tiny", "CAMPAIGN": "array"}

    def slurm_says(*command):
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    words = ("hardware.isolated=true", "sampling.repeats=1", "launcher.keep_warm_s=0")
    job = slurm_says("sbatch", "--parsable", "--array=0-1", "--mem=500M", "-o", f"{folder}/array-%a.txt",
                     str(script), *words).strip()  # fmt: skip
    store = ResultsStore(Path(folder, "outputs", "results"))
    end = time.monotonic() + 120
    while not (store.exists and len(store.statuses("array")) >= 3) and time.monotonic() < end:
        time.sleep(0.2)
    before = len(store.statuses("array"))
    assert before, Path(folder, "array-0.txt").read_text()
    slurm_says("scontrol", "requeue", f"{job}_0")
    while "array" in slurm_says("squeue", "-h", "-o", "%F %o") and time.monotonic() < end + 120:
        time.sleep(0.5)
    statuses = Counter(store.statuses("array").values())
    states = slurm_says("sacct", "-n", "-X", "-P", "--duplicates", "-j", job, "-o", "jobid,state").split()
    print(f"array: task 0 requeued after {before} rows; {dict(statuses)}; {states}")
    assert statuses == {"ok": 16}, Path(folder, "array-0.txt").read_text()


def main():
    if reason := lacking():
        print(f"skipped: {reason}")
        return
    with tempfile.TemporaryDirectory(prefix="slurm-") as daemons, tempfile.TemporaryDirectory() as folder:
        since = time.monotonic()
        os.environ[LOCK_NAME] = f"slurm-{os.getpid()}"
        with slurm(daemons) as environment:
            print(f"slurm: three virtual nodes up in {time.monotonic() - since:.1f} s")
            same_everywhere(folder, environment)
            requeued(folder, environment)


if __name__ == "__main__":
    main()
