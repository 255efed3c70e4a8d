"""A drill: the whole story of many machines on this one, from the cluster to the report.

python -m tests.chaos.cluster_story [--grid "experiment=demo compiler=eager,... sampling.repeats=1"]

A Ray head and two workers, one with the resource `cpu` and one with `simulated`; rows and artefacts in a
bucket (moto). The worker with `cpu` is killed midway, and another one joins.
Then: every cell has its row, once; a host with an empty cache finds every artefact in the bucket; the report
is made from the bucket; no file and no object holds the secret key.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmark.bucket.objects import Bucket
from benchmark.execution.host_lock import LOCK_NAME
from benchmark.store.results import ResultsStore
from tests.buckets import SECRET, BucketServer
from tests.cluster.nodes import SIMULATED, nodes

CPU = {"cpu": 1, "timing": 1}
GRID = (
    "experiment=demo hardware=cpu,simulated compiler=eager,torchscript,onnxruntime,openvino,simulated "
    "sampling.repeats=1 campaign=story launcher.wait_s=120"
)
COLUMNS = ["run_id", "hardware", "compiler", "status", "cache_hit"]


def ran(folder, *words):
    """One command in a folder; its text and its seconds."""
    since = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "benchmark", *words], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{words}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout, time.monotonic() - since


def timed_on_cpu(store):
    """Rows that the worker with `cpu` has left so far."""
    if not store.exists:
        return 0
    rows = store.table(COLUMNS).to_pylist()
    return sum(row["hardware"] == "cpu" and row["status"] == "ok" for row in rows)


def grid_with_a_kill(folder, words, address):
    """Run the grid; kill the worker with `cpu` midway, then start another."""
    store, since = ResultsStore(address), time.monotonic()
    here = [word for word in words if not word.startswith("launcher.")]
    planned = json.loads(ran(folder, "plan", "--json", *here)[0].splitlines()[-1])["fates"]
    enough = max(1, (planned.get("run", 0) + planned.get("compile", 0)) // 4)
    log = Path(folder, "grid.txt")
    with nodes(CPU, SIMULATED, environment={LOCK_NAME: f"story-{os.getpid()}"}) as cluster:
        with log.open("w") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "benchmark", "-m", "hydra/launcher=ray", *words],
                cwd=folder,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, "RAY_ADDRESS": cluster.address},
            )
        while timed_on_cpu(store) < enough and process.poll() is None:
            time.sleep(0.5)
        assert process.poll() is None, log.read_text()
        seen = timed_on_cpu(store)
        cluster.kill(0)
        time.sleep(2)
        cluster.add(CPU)
        code = process.wait(900)
    said = log.read_text()
    assert code == 0, said
    rows = store.table(COLUMNS).to_pylist()
    counts = Counter((row["hardware"], row["status"]) for row in rows)
    print(
        f"grid: exit {code} after {time.monotonic() - since:.0f} s; the worker with cpu was killed after "
        f"{seen} rows, {said.count('again')} tasks ran again; {len(rows)} rows, "
        f"{len({row['run_id'] for row in rows})} different: "
        + ", ".join(f"{hardware} {status} {n}" for (hardware, status), n in sorted(counts.items()))
    )
    assert len(rows) == len({row["run_id"] for row in rows}) == sum(planned.values())
    assert {status for _, status in counts} == {"ok", "incompatible"}
    return store


def another_host(folder, words):
    """A host with nothing of its own: the plan finds every artefact, and a run gets one from the bucket."""
    fresh = Path(folder, "fresh")
    fresh.mkdir()
    again = [word for word in words if not word.startswith(("campaign=", "launcher."))]
    planned = json.loads(ran(fresh, "plan", "--json", *again, "campaign=fresh")[0].splitlines()[-1])["fates"]
    print(f"another host plans: {planned}")
    assert planned.get("cached"), planned
    assert not planned.get("compile"), planned
    places = [word for word in words if word.startswith(("cache.", "store."))]
    one = ["model=bert_tiny", "compiler=torchscript", "sampling=quick", "sampling.repeats=1", "batch=1"]
    _, took = ran(fresh, *one, *places, "campaign=fresh")
    (store,) = [word.removeprefix("store.root=") for word in places if word.startswith("store.")]
    said, _ = ran(fresh, "results", "campaign=fresh", "--json", "--store", store)
    (row,) = json.loads(said)
    print(
        f"another host runs: {row['status']}, cache_hit {row['cache_hit']}, compile_s {row['compile_s']:.2f} "
        f"of the first, command {took:.1f} s"
    )
    assert row["cache_hit"]


def report(folder, address):
    """The report, from the bucket alone."""
    out = Path(folder, "report")
    _, took = ran(
        folder, "report", "overview", "campaign=story", "--store", address, "--out", str(out),
        "--only", "md,html",
    )  # fmt: skip
    text = (out / "overview.md").read_text(encoding="utf-8")
    print(f"report: {len(text.splitlines())} lines of Markdown in {took:.1f} s")
    assert "onnxruntime" in text


def no_secret(folder, bucket):
    """Search every file of the hosts, and every object."""
    files = [file for file in Path(folder).rglob("*") if file.is_file()]
    found = [file for file in files if SECRET.encode() in file.read_bytes()]
    objects = Bucket(f"{bucket}/team")
    keys = [
        one.key
        for place in ("cache/entries", "results", ".results")
        for one in objects.listed(f"team/{place}")
    ]
    found += [key for key in keys if SECRET.encode() in (objects.get(key) or (b"",))[0]]
    print(f"secret: searched {len(files)} files and {len(keys)} objects, found in {len(found)}")
    assert not found, found


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--grid", default=GRID)
    asked = options.parse_args()
    server = BucketServer()
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= server.environment
        os.environ |= {
            "NO_COLOR": "1",
            "XDG_CACHE_HOME": f"{folder}/cache",
            "XDG_CONFIG_HOME": f"{folder}/config",
        }
        bucket = server.new_bucket()
        words = [
            *asked.grid.split(),
            f"store.root={bucket}/team/results",
            f"cache.remote={bucket}/team/cache",
        ]
        try:
            grid_with_a_kill(folder, words, f"{bucket}/team/results")
            another_host(folder, words)
            report(folder, f"{bucket}/team/results")
            no_secret(folder, bucket)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
