"""Drills of grids on a Ray cluster: many cells, kills, absent hardware, no overlapping timings.

python -m tests.chaos.cluster_drills [--only many|kill|absent|overlap] [--cells 1000] [--nodes 4]

Ray's test cluster has all its nodes on this host, so figures are upper bounds: they share its cores.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

from benchmark.execution.host_lock import LOCK_NAME
from benchmark.store.results import ResultsStore
from tests.cluster.nodes import SIMULATED, nodes

AFTER_THE_HOST = ("peak", "items", "measure", "verify")
"""Stages of a run that has the host."""
COLUMNS = ["run_id", "cell_id", "status", "started_at", "finished_at", "stage_seconds", "error", "hostname"]


class Command:
    """A grid on the cluster, in a folder of its own."""

    def __init__(self, cluster, folder, *words, log="out.txt"):
        self.folder, self.log = Path(folder), Path(folder, log)
        self.since = time.time()
        self._out = self.log.open("w")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmark", "-m", "hydra/launcher=ray", "sampling.repeats=1", *words],
            cwd=folder,
            stdout=self._out,
            stderr=subprocess.STDOUT,
            env={**os.environ, "RAY_ADDRESS": cluster.address, "NO_COLOR": "1"},
        )

    def wait(self, limit=600):
        code = self.process.wait(limit)
        self._out.close()
        return code, time.time() - self.since

    @property
    def said(self):
        return self.log.read_text(encoding="utf-8")

    def wait_for_rows(self, count, limit=120):
        """Until the command has printed so many finished cells."""
        until = time.monotonic() + limit
        while self.said.count("\n[") < count and time.monotonic() < until and self.process.poll() is None:
            time.sleep(0.02)
        return self.said.count("\n[")


def rows_of(folder):
    return ResultsStore(Path(folder, "outputs", "results")).table(COLUMNS).to_pylist()


def own_host():
    """A host lock that no other command on this machine waits for."""
    return {LOCK_NAME: f"drill-{os.getpid()}"}


def grid_of(cells):
    """A product of so many cells."""
    lengths = cells // 50
    return ("batch=range(1,51)", f"seq_len=range(8,{8 + lengths})")


def many(options, folder):
    """Point 1: the rows of many cells over several nodes, and what one of them costs."""
    with nodes(*[SIMULATED] * options.nodes) as cluster:
        Command(cluster, folder, "hardware=simulated", "batch=1,2", "campaign=warm").wait()
        command = Command(cluster, folder, "hardware=simulated", *grid_of(options.cells), "campaign=many")
        command.wait_for_rows(1)
        seen = time.time()
        code, took = command.wait()
    rows = [row for row in rows_of(folder) if row["status"] == "ok"]
    mine = [row for row in rows if row["started_at"].timestamp() > command.since]
    first, last = min(r["started_at"] for r in mine), max(r["finished_at"] for r in mine)
    spread = (last - first).total_seconds()
    own = sum((row["finished_at"] - row["started_at"]).total_seconds() for row in mine)
    print(
        f"many: {options.cells} cells over {options.nodes} nodes: exit {code}, {len(mine)} rows, "
        f"{len({row['run_id'] for row in mine})} different; {1000 * spread / len(mine):.1f} ms a cell from "
        f"the first start to the last end (a cell's own stages take {1000 * own / len(mine):.1f} ms), "
        f"{1000 * took / len(mine):.1f} ms with start and plan; the first row was stored and shown "
        f"{seen - first.timestamp():.2f} s after the first cell began"
    )
    assert len(mine) == len({row["run_id"] for row in mine}) == options.cells


def kill(options, folder):
    """Point 2: kill -9 of a node at a third, then of the command; the same command completes the rows."""
    cells = min(options.cells, 60)
    words = (
        *("hardware=simulated", "hardware.isolated=true", f"batch=range(1,{cells + 1})", "sampling=quick"),
        *("campaign=kill", "launcher.keep_warm_s=5"),
    )
    started = Counter()
    with nodes(*[SIMULATED] * 3, environment=own_host()) as cluster:
        first = Command(cluster, folder, *words, log="first.txt")
        seen = first.wait_for_rows(cells // 3)
        cluster.kill(0)
        first.wait_for_rows(2 * cells // 3)
        first.process.send_signal(signal.SIGKILL)
        first.wait()
        time.sleep(1)
        between = len(rows_of(folder))
        second = Command(cluster, folder, *words, log="second.txt")
        code, took = second.wait()
    rows = rows_of(folder)
    for log in Path(folder, "outputs", "kill").rglob("*.log"):
        started[log.stem] += 1
    statuses = Counter(row["status"] for row in rows)
    again = first.said.count("it runs again")
    print(
        f"kill: node killed after {seen} rows ({again} runs started again), command after {between}; the "
        f"same command: exit {code} in {took:.1f} s, {len(rows)} rows, {dict(statuses)}"
    )
    assert (code, statuses) == (0, {"ok": cells})
    done_twice = second.said.count("\n[") + between - cells
    print(f"kill: cells whose row came twice: {done_twice}")


def absent(options, folder):
    """Point 3: hardware that no node offers."""
    with nodes(SIMULATED) as cluster:
        command = Command(cluster, folder, "hardware=inf2,simulated", "batch=1,2", "campaign=absent")
        while "unavailable" not in command.said and command.process.poll() is None:
            time.sleep(0.02)
        after = time.time() - command.since
        code, took = command.wait()
    statuses = Counter((row["status"], "`inf2`" in str(row["error"])) for row in rows_of(folder))
    print(f"absent: line {after:.1f} s after the start, exit {code} after {took:.1f} s: {dict(statuses)}")
    assert statuses == {("ok", False): 2, ("unavailable", True): 2}


def overlap(options, folder):
    """Point 4: two commands, several nodes of one host: never two timings at a time."""
    cells = min(options.cells, 200)
    words = ("hardware=simulated", "hardware.isolated=true", "sampling=quick", "launcher.keep_warm_s=5")
    with nodes(*[SIMULATED] * 2, environment=own_host()) as cluster:
        half = cells // 2
        commands = [
            Command(
                cluster, folder, *words, f"batch=range(1,{half + 1})", f"campaign=overlap{n}", log=f"{n}.txt"
            )
            for n in (1, 2)
        ]
        codes = [command.wait()[0] for command in commands]
    assert codes == [0, 0], [command.said for command in commands]
    spans = []
    for row in rows_of(folder):
        seconds = dict(row["stage_seconds"])
        end = row["finished_at"].timestamp()
        spans.append((end - sum(seconds.get(stage, 0.0) for stage in AFTER_THE_HOST), end))
    spans.sort()
    overlaps = sum(later[0] < before[1] for before, later in pairwise(spans))
    least = min(later[0] - before[1] for before, later in pairwise(spans))
    print(
        f"overlap: {len(spans)} timings by 2 commands on {2} nodes of one host, exits {codes}: {overlaps} "
        f"overlaps; the closest two are {1000 * least:.1f} ms apart"
    )
    assert overlaps == 0
    assert len(spans) == 2 * half


DRILLS = {"many": many, "kill": kill, "absent": absent, "overlap": overlap}


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--only", choices=DRILLS)
    options.add_argument("--cells", type=int, default=1000)
    options.add_argument("--nodes", type=int, default=4)
    asked = options.parse_args()
    for name, drill in DRILLS.items():
        if asked.only in {None, name}:
            with tempfile.TemporaryDirectory() as folder:
                drill(asked, folder)


if __name__ == "__main__":
    main()
