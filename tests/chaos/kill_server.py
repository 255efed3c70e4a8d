"""A drill: while a grid runs, the servers that its children are forked from are killed, and children too.

By hand: python -m tests.chaos.kill_server --times 100 --seed 0

The grid goes on. A killed server costs no cell: it is tried again, or leaves an `interrupted` row that the
next command measures. A killed child leaves a `crashed` row that says so. Then the same command brings every
cell to its row, with run=failed every one to `ok`, and no process is left.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import psutil

from benchmark.execution.host_lock import LOCK_NAME
from benchmark.store.results import ResultsStore
from tests.chaos.drills import arguments, report
from tests.chaos.survivors import alive, marked, survivors

CELLS = 24
CALLS = ("warmup_calls=20000", "warmup_s=0", "min_calls=20", "max_calls=20", "min_s=0", "repeats=1")
"""The warm-up takes a tenth of a second: the clock of the device is invented, its calls are not."""
GRID = (
    "-m",
    "hardware=simulated",
    "hardware.isolated=true",
    "compiler.fast_math=none,all",
    f"batch=range(1,{CELLS // 2 + 1})",
    *(f"sampling.{knob}" for knob in CALLS),
    "campaign=drill",
)
KILLED = "the child was ended by SIGKILL"


class Campaign:
    """One campaign in a folder of its own."""

    def __init__(self, folder, keep_warm_s):
        self._folder, self._keep = folder, f"launcher.keep_warm_s={keep_warm_s}"
        folder.mkdir(parents=True)
        self._out = folder / "out.txt"
        self._environment, self.mark = marked()
        self._environment |= {LOCK_NAME: self.mark, "TMPDIR": str(folder)}

    def start(self, *more):
        command = [sys.executable, "-m", "benchmark", *GRID, self._keep, *more]
        with self._out.open("w") as out:
            self.process = subprocess.Popen(
                command, cwd=self._folder, env=self._environment, stdout=out, stderr=out
            )

    def victims(self):
        """Processes of the grid by kind: above a child are its server and the command, or a warm server."""
        family, found = set(alive(self.mark)), {"server": [], "child": []}
        for pid in family - {self.process.pid}:
            with suppress(psutil.NoSuchProcess):
                process = psutil.Process(pid)
                above = {parent.pid for parent in process.parents()[:2]}
                found["child" if len(above & family) > 1 else "server"].append(process)
        return found

    def rows(self):
        store = ResultsStore(self._folder / "outputs" / "results")
        return store.table(["run_id", "status", "error"]).to_pylist() if store.exists else []

    def printed(self):
        return self._out.read_text()


def disturbed(campaign, moment, most):
    """Let the grid run while its processes are killed; return how many of each kind."""
    kills = Counter()
    campaign.start()
    while campaign.process.poll() is None and kills.total() < most:
        time.sleep(moment.uniform(0.02, 0.8))
        victims = campaign.victims()
        kind = moment.choice(["server", "child"])
        if victims[kind] and campaign.process.poll() is None:
            with suppress(psutil.NoSuchProcess):
                moment.choice(victims[kind]).kill()
                kills[kind] += 1
    campaign.process.wait(120)
    return kills


def wrong(campaign, kills):
    """What is not as promised after these kills, in words; brings the campaign to its end."""
    rows, code = campaign.rows(), campaign.process.returncode
    crashed = [row["error"] for row in rows if row["status"] == "crashed"]
    yield from (f"crashed: {error}" for error in crashed if not error.startswith(KILLED))
    if len(crashed) > kills["child"]:
        yield f"{len(crashed)} rows crashed, {kills['child']} children killed"
    if others := {row["status"] for row in rows} - {"ok", "crashed", "interrupted"}:
        yield f"rows that are {others}"
    if code not in {0, 2}:
        yield f"exit code {code}: {campaign.printed()[-500:]}"
    for more in ((), ("run=failed",)):
        campaign.start(*more)
        campaign.process.wait(120)
        rows = campaign.rows()
        if (left := Counter(row["status"] for row in rows)).total() != CELLS or left["interrupted"]:
            yield f"resumed with {more}: {left}"
    if {row["status"] for row in rows} != {"ok"}:
        yield f"with run=failed: {Counter(row['status'] for row in rows)}"
    if len({row["run_id"] for row in rows}) != len(rows):
        yield "a run has two rows"
    if left := survivors(campaign.mark):
        yield f"still alive: {left}"


def drill(times, seed, folder):
    """Kill so many processes; return how many of each kind, and what went wrong."""
    moment, kills, faults = random.Random(seed), Counter(), []  # noqa: S311 - no secret
    number = 0
    while kills.total() < times:
        campaign = Campaign(folder / str(number), (0, 0.5)[number % 2])
        these = disturbed(campaign, moment, times - kills.total())
        faults += wrong(campaign, these)
        kills += these
        number += 1
    return kills, faults


def main():
    """Drill in a temporary folder; exit code 1 if a promise was broken."""
    asked = arguments(__doc__, times=100, what="kills")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        kills, faults = drill(asked.times, asked.seed, Path(folder))
    return report(f"{kills.total()} kills ({dict(kills)})", faults)


if __name__ == "__main__":
    sys.exit(main())
