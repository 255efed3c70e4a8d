"""One Ray cluster for all tests of this folder, with a token; and commands that connect to it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from benchmark.execution.host_lock import LOCK_NAME
from benchmark.store.results import ResultsStore
from tests.cluster.nodes import SIMULATED, TestCluster


@pytest.fixture(scope="session")
def tokens(tmp_path_factory):
    """A folder with the token of the cluster and another one."""
    folder = tmp_path_factory.mktemp("tokens")
    for name in ("right", "wrong"):
        (folder / name).write_text(f"{name}-" + "0123456789abcdef" * 3)
    return folder


@pytest.fixture(scope="session")
def token(tokens):
    """Variables that give a process the token of the cluster."""
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(tokens / "right")}


SOON_MISSED = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "3000",
    "RAY_health_check_failure_threshold": "2",
}
"""Settings by which the head knows in seconds that a node is lost, not in a quarter of a minute."""


@pytest.fixture(scope="session")
def cluster(token):
    """A head and two nodes. A test that kills a node starts another one."""
    own = {LOCK_NAME: f"{os.getpid()}-cluster"}
    running = TestCluster(SIMULATED, SIMULATED, environment={**own, **SOON_MISSED, **token})
    yield running
    assert running.close() == []


@pytest.fixture
def variables(cluster, token):
    """Variables of a command that finds the cluster."""
    return {"RAY_ADDRESS": cluster.address, "NO_COLOR": "1", **token}


@pytest.fixture
def start(variables, tmp_path):
    """Start a command in a folder of its own."""
    started = []

    def run(*words, **environment):
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmark", *words],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **variables, **environment},
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def ended(command, variables, monkeypatch):
    """Run a command that finds the cluster to its end; `environment` adds to its variables."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    def run(*words, **environment):
        if "PYTHONPATH" in environment:  # read by a new interpreter only
            return command(*words, timeout=120, env=environment)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        return command(*words, timeout=120)

    return run


@pytest.fixture
def grid(ended, tmp_path):
    """Run a grid to its end; return its exit code, its rows and what it printed."""

    def run(*words):
        ran = ended("-m", "hydra/launcher=ray", "sampling.repeats=1", "campaign=test", *words)
        store = ResultsStore(tmp_path / "outputs" / "results")
        rows = store.table().to_pylist() if store.exists else []
        return ran.returncode, rows, ran.stdout + ran.stderr

    return run
