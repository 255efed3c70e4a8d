"""A drill: many writers, compactors and readers at one store; some are killed, and nothing may be lost.

By hand: python -m tests.chaos.crowd --writers 8 --rows 1000 --kills 200 --seed 0

A writer reports each row after the store has taken it. In the end every reported row is there, none is there
twice, and a reader has never seen a row disappear.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import sys
import tempfile
import time
from collections import Counter
from datetime import datetime, timezone
from pathlib import Path

import pyarrow.parquet as pq

from benchmark.records import Row
from benchmark.store.results import ResultsStore
from tests.chaos.drills import report

PROCESSES = multiprocessing.get_context("forkserver")
START = datetime(2026, 1, 1, tzinfo=timezone.utc)


def write(root, writer, rows, reported):
    """Append the rows that aren't reported yet, one after the other."""
    store = ResultsStore(root)
    done = len(reported.read_bytes())
    with reported.open("ab", buffering=0) as report:
        for number in range(done, rows):
            times = {"started_at": START, "finished_at": START, "status": "ok", "environment_id": "e"}
            store.append(
                Row(values={"run_id": f"w{writer}-{number}", "campaign": "c", "cell_id": "x", **times})
            )
            report.write(b".")


def compact(root):
    """Merge, again and again."""
    store = ResultsStore(root)
    while True:
        store.compact()
        time.sleep(0.05)


def read(root, wrong):
    """Read, again and again; write down what has disappeared or is there twice."""
    store, seen = ResultsStore(root), set()
    while True:
        runs = store.table(["run_id"])["run_id"].to_pylist()
        if len(set(runs)) < len(runs) or seen - set(runs):
            wrong.write_text(f"{len(runs) - len(set(runs))} twice, gone: {sorted(seen - set(runs))[:9]}")
        seen = set(runs)


class Crowd:
    """The processes at one store; those that are killed are started again."""

    def __init__(self, folder, writers, rows):
        self.root, self.rows = folder / "outputs" / "results", rows
        self.wrong = folder / "wrong.txt"
        ResultsStore(self.root).prepare()
        self.reported = [folder / f"reported-{writer}" for writer in range(writers)]
        for file in self.reported:
            file.touch()
        self.writers = [
            self._start(write, self.root, at, rows, file) for at, file in enumerate(self.reported)
        ]
        self.others = [
            *(self._start(compact, self.root) for _ in range(2)),
            self._start(read, self.root, self.wrong),
        ]

    @staticmethod
    def _start(function, *arguments):
        process = PROCESSES.Process(target=function, args=arguments)
        process.start()
        return process

    def is_writing(self):
        return any(process.is_alive() for process in self.writers)

    def kill_one(self, chance):
        """Kill a writer or a compactor, and start it again; return its kind."""
        at = chance.randrange(len(self.writers) + 2)
        if at >= len(self.writers):
            process = self.others[at - len(self.writers)]
            process.kill()
            process.join()
            self.others[at - len(self.writers)] = self._start(compact, self.root)
            return "compactor"
        if not self.writers[at].is_alive():
            return None
        self.writers[at].kill()
        self.writers[at].join()
        self.writers[at] = self._start(write, self.root, at, self.rows, self.reported[at])
        return "writer"

    def end(self):
        for process in (*self.writers, *self.others):
            process.kill()
            process.join()

    def wrong_at_the_end(self):
        store = ResultsStore(self.root)
        store.compact()
        plain = Counter(pq.read_table(self.root, columns=["run_id"])["run_id"].to_pylist())
        reported = {
            f"w{writer}-{number}"
            for writer, file in enumerate(self.reported)
            for number in range(len(file.read_bytes()))
        }
        codes = [process.exitcode for process in self.writers if process.exitcode]
        found = {
            "a reader saw": self.wrong.read_text() if self.wrong.exists() else "",
            "lost": sorted(reported - plain.keys()),
            "twice": [run for run, times in plain.items() if times > 1],
            "writers ended with": codes,
            "flaws": store.flaws(),
        }
        return len(plain), [f"{name}: {what}" for name, what in found.items() if what]


def drill(writers, rows, kills, seed, folder):
    """Let them write; return the kills by kind, the rows at the end, and what is wrong."""
    chance, killed = random.Random(seed), Counter()  # noqa: S311 - no secret
    crowd = Crowd(folder, writers, rows)
    try:
        while crowd.is_writing():
            time.sleep(chance.uniform(0.0, 0.1))
            if killed.total() < kills and (kind := crowd.kill_one(chance)):
                killed[kind] += 1
    finally:
        crowd.end()
    return killed, *crowd.wrong_at_the_end()


def main():
    """Drill in a temporary folder; exit code 1 if a row was lost or doubled."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--writers", type=int, default=8)
    parser.add_argument("--rows", type=int, default=1000, help="of each writer")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        killed, rows, wrong = drill(asked.writers, asked.rows, asked.kills, asked.seed, Path(folder))
    return report(f"{dict(killed)} killed, {rows} rows", wrong)


if __name__ == "__main__":
    sys.exit(main())
