"""Writers, compactors and a reader at one store in a bucket; some are killed. Nothing is lost or doubled.

python -m tests.chaos.bucket_crowd --writers 8 --rows 200 --kills 100

Each writer is a host of its own: a process with its own copies and its own folder of what it could not
send. It sends every row twice, and is started again after each kill, from the first row that isn't known to
be sent.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

from benchmark.bucket.objects import Bucket
from benchmark.paths import write_whole
from benchmark.records import Row
from benchmark.store.results import ResultsStore
from tests.buckets import BucketServer

START = datetime(2026, 1, 1, tzinfo=timezone.utc)


def row(writer: int, number: int) -> Row:
    finished = START + timedelta(seconds=number)
    identity = {"run_id": f"w{writer}r{number}", "campaign": "crowd", "cell_id": "x", "environment_id": "e"}
    times = {"started_at": START, "finished_at": finished}
    return Row(values={**identity, **times, "status": "ok", "batch_size": number})


def write(address: str, writer: int, rows: int, done: Path) -> None:
    """Send rows from the first that isn't known to be sent, each twice; merge them now and then."""
    store = ResultsStore(address)
    store.prepare()
    first = int(done.read_text()) if done.is_file() else 0
    for number in range(first, rows):
        for _ in range(2):
            store.append(row(writer, number))
        write_whole(done, str(number + 1).encode())
        if number % 25 == 24:
            store.compact(thorough=number % 50 == 49)


def host(folder: Path) -> dict[str, str]:
    return {**os.environ, "BENCHMARK_HOME": str(folder), "XDG_CACHE_HOME": str(folder / "cache")}


def started(address: str, writer: int, rows: int, folder: Path) -> subprocess.Popen[bytes]:
    own = folder / f"host{writer}"
    own.mkdir(exist_ok=True)
    words = [address, str(writer), str(rows), str(own / "done")]
    return subprocess.Popen(
        [sys.executable, "-m", "tests.chaos.bucket_crowd", "write", *words], env=host(own)
    )


def drill(  # noqa: PLR0913, PLR0917 - numbers of a drill and its places
    writers: int, rows: int, kills: int, seed: int, folder: Path, address: str
) -> dict[str, object]:
    """Let them work until all have ended; return what was found."""
    dice, killed, reads, wrong = random.Random(seed), 0, 0, list[str]()  # noqa: S311 - no secret
    reader = ResultsStore(address)
    reader.prepare()
    working = {writer: started(address, writer, rows, folder) for writer in range(writers)}
    seen, next_kill = 0, time.monotonic() + 2
    while working:
        for writer, process in list(working.items()):
            if (code := process.poll()) is None:
                continue
            if code == 0:
                del working[writer]
            elif code == -signal.SIGKILL:
                working[writer] = started(address, writer, rows, folder)
            else:
                raise AssertionError(f"writer {writer} ended with {code}")
        if working and killed < kills and time.monotonic() > next_kill:
            dice.choice(list(working.values())).kill()
            killed, next_kill = killed + 1, time.monotonic() + dice.uniform(0.2, 1.2)
        found = reader.table(["run_id"])["run_id"].to_pylist()
        reads += 1
        if len(found) != len({*found}):
            wrong.append("a row was read twice")
        if len({*found}) < seen:
            wrong.append(f"{len({*found})} rows after {seen}")
        seen = len({*found})
    last = ResultsStore(address)
    expected = {f"w{writer}r{number}" for writer in range(writers) for number in range(rows)}
    missing = expected - {*last.table(["run_id"])["run_id"].to_pylist()}
    flaws = last.flaws()
    before = len(Bucket(address).listed(Bucket(address).prefix))
    Bucket(address).delete([one.key for one in Bucket(address).listed(f"{parent(address)}/.results")])
    last.compact()
    plain = last.table(["run_id"])["run_id"].to_pylist()
    return {
        "rows": len(plain),
        "killed": killed,
        "reads": reads,
        "missing": len(missing),
        "unreadable objects": len(flaws),
        "objects": before,
        "objects after compaction": len(Bucket(address).listed(Bucket(address).prefix)),
        "wrong": wrong,
    }


def parent(address: str) -> str:
    return Bucket(address).prefix.rpartition("/")[0]


def main() -> None:
    if sys.argv[1:2] == ["write"]:
        _, _, address, writer, rows, done = sys.argv
        write(address, int(writer), int(rows), Path(done))
        return
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name, usual in (("writers", 8), ("rows", 200), ("kills", 100), ("seed", 0)):
        options.add_argument(f"--{name}", type=int, default=usual)
    asked = options.parse_args()
    server = BucketServer()
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= server.environment | {"BENCHMARK_HOME": folder, "XDG_CACHE_HOME": f"{folder}/cache"}
        address, start = f"{server.new_bucket()}/team/results", time.monotonic()
        try:
            found = drill(asked.writers, asked.rows, asked.kills, asked.seed, Path(folder), address)
        finally:
            server.stop()
    for name, value in found.items():
        print(f"{name:<26} {value}")
    print(f"{'seconds':<26} {time.monotonic() - start:.0f}")
    complete = found["rows"] == asked.writers * asked.rows
    sys.exit(0 if complete and not (found["wrong"] or found["unreadable objects"]) else 1)


if __name__ == "__main__":
    main()
