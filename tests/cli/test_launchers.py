"""A grid runs through stock launchers too: each cell leaves its row, failures show in the exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata

import pytest

from benchmark.execution.host_lock import LOCK_NAME
from benchmark.store.results import ResultsStore

pytestmark = pytest.mark.chaos

LAUNCHERS = {
    "basic": "hydra-core",
    "joblib": "hydra-joblib-launcher",
    "submitit_local": "hydra-submitit-launcher",
}
"""Name to the distribution it comes with."""
GRID = (
    "-m",
    "hardware=simulated",
    "compiler.fault=none,raise",
    "pair=[{batch:[1,2,64],seq_len:[8,16,32]}]",
    "exclude=[{batch:'>32',reason:too slow}]",
    "sampling=quick",
    "sampling.repeats=1",
)


def is_installed(distribution):
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    """All at once, each with a folder and a host lock of its own; Hydra's sweeper under our launcher too."""
    said = {name: [*GRID, f"hydra/launcher={name}"] for name in LAUNCHERS if is_installed(LAUNCHERS[name])}
    said["hydra's sweeper"] = [
        "-m",
        "hardware=simulated",
        "batch=1,2",
        "sampling.repeats=1",
        "hydra/sweeper=basic",
    ]
    running = {}
    for name, arguments in said.items():
        folder = tmp_path_factory.mktemp("launcher")
        with (folder / "out.txt").open("w") as out:
            command = [sys.executable, "-m", "benchmark", *arguments, "campaign=stock"]
            process = subprocess.Popen(
                command,
                cwd=folder,
                stdout=out,
                stderr=out,
                env={**os.environ, "NO_COLOR": "1", LOCK_NAME: f"{os.getpid()}-{name}"},
            )
        running[name] = (process, folder)
    yield running
    for process, _ in running.values():
        process.kill()
        process.wait()


@pytest.fixture
def finished(started):
    """Exit code, rows and output."""

    def waited(name):
        if name not in started:
            pytest.skip(f"{LAUNCHERS[name]} is not installed")
        process, folder = started[name]
        code = process.wait(120)
        out = (folder / "out.txt").read_text()
        assert (folder / "outputs" / "results").is_dir(), out
        return code, ResultsStore(folder / "outputs" / "results").table().to_pylist(), out

    return waited


@pytest.mark.parametrize("name", LAUNCHERS)
def test_a_small_grid_runs_through_a_stock_launcher(finished, name):
    code, rows, out = finished(name)
    found = sorted((row["batch_size"], row["sequence_length"], row["status"]) for row in rows)
    assert found == [(1, 8, "crashed"), (1, 8, "ok"), (2, 16, "crashed"), (2, 16, "ok")], out
    assert code == 2, out


def test_our_launcher_takes_what_another_sweeper_expands(finished):
    code, rows, out = finished("hydra's sweeper")
    assert (code, sorted(row["batch_size"] for row in rows)) == (0, [1, 2]), out
