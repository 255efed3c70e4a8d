"""Ray's own test cluster: a head and nodes with resources, all on this host, gone after use."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
SIMULATED = {"simulated": 1, "timing": 1}
SMALL = {"object_store_memory": 80_000_000}
HOST = """
import json, os, signal, sys
from ray.cluster_utils import Cluster
head, *others = map(json.loads, sys.argv[1:])
cluster = Cluster(initialize_head=True, head_node_args={**head, "include_dashboard": False})
nodes = [cluster.add_node(**one) for one in others]
print(cluster.address, flush=True)
for line in sys.stdin:
    what, _, rest = line.strip().partition(" ")
    if what == "kill":
        node = nodes[int(rest)]
        raylet = node.all_processes["raylet"][0].process.pid
        os.kill(raylet, signal.SIGKILL)
        print(raylet, flush=True)
    elif what == "add":
        nodes.append(cluster.add_node(**json.loads(rest)))
        print(len(nodes), flush=True)
cluster.shutdown()
"""


class TestCluster:
    """A cluster in a process of its own: tests connect to it as a user's command does."""

    __test__ = False

    def __init__(self, *resources, head_cpus=0, environment=None):
        arguments = [{"num_cpus": head_cpus, **SMALL}, *map(self._node, resources)]
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the cluster
        self._sockets = tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp")  # their paths must be short
        self._process = subprocess.Popen(
            [sys.executable, "-c", HOST, *map(json.dumps, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            cwd=ROOT,
            env={**os.environ, "RAY_TMPDIR": self._sockets.name, **(environment or {})},
        )
        self.address = self._process.stdout.readline().strip()
        if not self.address:
            self.close()
            raise RuntimeError(f"Ray's test cluster did not start: {self._said}")

    @staticmethod
    def _node(resources):
        return {"num_cpus": 1, "resources": resources, **SMALL}

    def _say(self, line):
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()

    def kill(self, place):
        """`kill -9` the raylet of a node; its workers end with it."""
        return int(self._say(f"kill {place}"))

    def add(self, resources):
        """One more node; return its place."""
        return int(self._say(f"add {json.dumps(self._node(resources))}")) - 1

    def close(self):
        """End all its processes; return those that had to be killed."""
        mine = psutil.Process(self._process.pid).children(recursive=True)
        self._process.stdin.close()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        _, alive = psutil.wait_procs(mine, 10)
        for one in alive:
            one.kill()
        psutil.wait_procs(alive, 10)
        self._process.stdout.close()
        self._errors.seek(0)
        self._said = self._errors.read()[-2000:].decode(errors="replace")
        self._errors.close()
        self._sockets.cleanup()
        return alive


@contextmanager
def nodes(*resources, **options):
    """A cluster with a head that has no CPU and a node for each mapping of resources."""
    cluster = TestCluster(*resources, **options)
    try:
        yield cluster
    finally:
        cluster.close()
