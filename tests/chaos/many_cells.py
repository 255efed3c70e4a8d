"""A drill: a long simulated grid. Its command keeps its size and speed, and answers Ctrl-C within a second.

By hand: python -m tests.chaos.many_cells --times 10000

Memory, open files, output files and milliseconds a cell are printed for each tenth of the grid. Ctrl-C comes
twice: while the grid is planned, and at the end.
"""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import psutil

from benchmark.execution.host_lock import LOCK_NAME
from benchmark.store.results import ResultsStore
from tests.chaos.drills import arguments, report
from tests.chaos.survivors import marked, survivors, wait_for

ANSWER_S = 1.0
"""Within which a command has ended, or says that it ends, after Ctrl-C."""
MOST_GROWTH = 20 << 20
"""Of its memory after the first hundred cells."""
CALLS = ("warmup_calls=1", "warmup_s=0", "min_calls=20", "max_calls=20", "min_s=0", "repeats=1")


class Seen(NamedTuple):
    """A command at a moment."""

    cells: int
    seconds: float
    memory: int
    descriptors: int
    files: int


class Grid:
    """A command in a folder of its own, and what it has printed."""

    def __init__(self, cells, folder):
        side = math.isqrt(cells)
        self.cells, self._folder, self._out = side * side, folder, folder / "out.txt"
        environment, self.mark = marked()
        environment[LOCK_NAME] = self.mark
        overrides = [f"batch=range(1,{side + 1})", f"seq_len=range(1,{side + 1})"]
        command = [sys.executable, "-m", "benchmark", "-m", "hardware=simulated", "campaign=many", *overrides]
        with self._out.open("w") as out:
            self.process = subprocess.Popen(
                [*command, *(f"sampling.{knob}" for knob in CALLS)],
                cwd=folder,
                env=environment,
                stdout=out,
                stderr=out,
            )
        self._began = time.monotonic()

    def printed(self):
        return self._out.read_text()

    def finished(self):
        return self.printed().count(": ok p50")

    def seen(self):
        process = psutil.Process(self.process.pid)
        return Seen(
            self.finished(),
            time.monotonic() - self._began,
            process.memory_info().rss,
            process.num_fds(),
            sum(len(files) for _, _, files in os.walk(self._folder)),
        )

    def rows(self):
        store = ResultsStore(self._folder / "outputs" / "results")
        return store.table(["run_id"]) if store.exists else []

    def stop(self):
        """Press Ctrl-C; return after how many seconds the command had ended, or had said that it would."""
        before, began = len(self.printed()), time.monotonic()
        self.process.send_signal(signal.SIGINT)
        wait_for(lambda: self.process.poll() is not None or "stopping after" in self.printed()[before:])
        answered = time.monotonic() - began
        self.process.wait(60)
        return answered, time.monotonic() - began


def line(first, last):
    cells = max(1, last.cells - first.cells)
    milliseconds = 1e3 * (last.seconds - first.seconds) / cells
    return (
        f"{last.cells:8} cells: {last.memory >> 20} MiB, {last.descriptors} open files, "
        f"{last.files} output files, {milliseconds:.1f} ms a cell"
    )


def interrupted_plan(cells, folder):
    """Stop a grid while it is planned; return what is wrong."""
    folder.mkdir()
    grid = Grid(cells, folder)
    time.sleep(2.0)  # it has begun, and prints nothing before it is planned
    answered, _ = grid.stop()
    slow = [f"amid the plan Ctrl-C took {answered:.2f} s"] if answered > ANSWER_S else []
    return slow + ([f"exit code {grid.process.returncode}"] if grid.process.returncode != 130 else [])


def drill(cells, folder):
    """Run nearly all cells of a grid, then stop it; return what was seen by tenths, and what is wrong."""
    folder.mkdir()
    grid = Grid(cells, folder)
    wait_for(lambda: grid.finished() >= min(100, grid.cells // 4), within_s=120)
    seen = [grid.seen()]
    for tenth in range(1, 10):
        while grid.finished() < tenth * grid.cells // 10 and grid.process.poll() is None:
            time.sleep(0.2)
        seen.append(grid.seen())
    answered, ended = grid.stop()
    done = grid.finished()
    growth, rows = max(one.memory for one in seen) - seen[0].memory, grid.rows()
    again = len(rows) - len(set(rows["run_id"].to_pylist())) if len(rows) else 0
    return seen, [
        *([f"{growth >> 20} MiB more than after the first cells"] if growth > MOST_GROWTH else []),
        *([f"Ctrl-C took {answered:.2f} s"] if answered > ANSWER_S else []),
        *([f"Ctrl-C took {ended:.2f} s to the end"] if ended > 2 * ANSWER_S else []),
        *([f"{done} cells finished, {len(rows)} rows"] if len(rows) < done else []),
        *([f"{again} rows doubled"] if again else []),
        *([f"still alive: {left}"] if (left := survivors(grid.mark)) else []),
    ]


def main():
    """Drill in a temporary folder; exit code 1 if a promise was broken."""
    asked = arguments(__doc__, times=10_000, what="cells")
    with tempfile.TemporaryDirectory() as folder:
        faults = interrupted_plan(asked.times, Path(folder, "plan"))
        seen, more = drill(asked.times, Path(folder, "grid"))
    print(*map(line, [seen[0], *seen], seen), sep="\n")
    return report(f"{seen[-1].cells} cells", faults + more)


if __name__ == "__main__":
    sys.exit(main())
