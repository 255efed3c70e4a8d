"""Ask a store of many rows in a bucket what `results` asks: seconds, and requests that list.

python -m tests.benchmarks.bucket_rows --rows 10000
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time

import numpy as np

from benchmark.records import Row
from benchmark.store.results import ResultsStore
from tests.benchmarks.many_rows import campaign
from tests.buckets import BucketServer

SINGLE = 500
"""Rows with an object of their own; the others share objects, as rows that cost nothing do."""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--rows", type=int, default=10_000)
    asked = options.parse_args()
    server = BucketServer()
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= server.environment | {"BENCHMARK_HOME": folder, "XDG_CACHE_HOME": f"{folder}/cache"}
        try:
            measure(server, f"{server.new_bucket()}/team/results", asked.rows)
        finally:
            server.stop()


def measure(server: BucketServer, address: str, rows: int) -> None:
    store = ResultsStore(address)
    store.prepare()
    values = [Row(values=one) for one in campaign(1, 0, rows, np.random.default_rng(0)).to_pylist()]
    start = time.perf_counter()
    for row in values[:SINGLE]:
        store.append(row)
    print(f"{'a row in an object of its own':<44} {(time.perf_counter() - start) / SINGLE * 1e3:6.1f} ms")
    for first in range(SINGLE, rows, 100):
        store.append(*values[first : first + 100])
    ask("results before compaction, nothing copied", server, address, cold=True)
    start = time.perf_counter()
    merged = store.compact()
    print(f"{'compaction':<44} {time.perf_counter() - start:6.2f} s, {merged} objects")
    ask("results after compaction, nothing copied", server, address, cold=True)
    ask("results after compaction, copies here", server, address, cold=False)
    with tempfile.TemporaryDirectory() as folder:
        local = ResultsStore(folder)
        local.prepare()
        local.append(*values)
        ask("results of a folder", server, folder, cold=False)


def ask(words: str, server: BucketServer, store: str, *, cold: bool) -> None:
    """Print the seconds of a whole command, and its requests."""
    command = [sys.executable, "-m", "benchmark", "results", "--simulated", "--limit", "5", "--store", store]
    before = server.log.read_text().count("\n")
    with tempfile.TemporaryDirectory() as fresh:
        environment = {**os.environ, "NO_COLOR": "1", **({"XDG_CACHE_HOME": fresh} if cold else {})}
        start = time.perf_counter()
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        took = time.perf_counter() - start
    requests = server.log.read_text().splitlines()[before:]
    lists = sum("list-type=2" in line for line in requests)
    reads = sum(bool(re.search(r'"GET /[^?]+ HTTP', line)) for line in requests)
    print(f"{words:<44} {took:6.2f} s, {lists} LIST, {reads} GET")


if __name__ == "__main__":
    main()
