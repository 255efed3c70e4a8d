"""Grids on Ray's own test cluster: nodes, and a command as a user types it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest

from benchmark.execution.host_lock import LOCK_NAME
from benchmark.store.results import ResultsStore
from tests.cluster.nodes import SIMULATED, TestCluster

pytest.importorskip("ray")
pytestmark = pytest.mark.chaos
ISOLATED = ("hardware=simulated", "hardware.isolated=true", "sampling=quick", "launcher.keep_warm_s=10")


@pytest.fixture(scope="module")
def cluster():
    with_lock = {LOCK_NAME: f"{os.getpid()}-cluster"}
    running = TestCluster(SIMULATED, SIMULATED, environment=with_lock)
    yield running
    assert running.close() == []


@pytest.fixture
def start(cluster, tmp_path):
    """Start a command in a folder of its own."""
    started = []

    def run(*words, **environment):
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmark", *words],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "RAY_ADDRESS": cluster.address, "NO_COLOR": "1", **environment},
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def grid(start, tmp_path):
    """Run a grid to its end; return its exit code, its rows and what it printed."""

    def run(*words, **environment):
        process = start(
            "-m", "hydra/launcher=ray", "sampling.repeats=1", "campaign=test", *words, **environment
        )
        said, _ = process.communicate(timeout=120)
        store = ResultsStore(tmp_path / "outputs" / "results")
        return process.returncode, store.table().to_pylist() if store.exists else [], said

    return run


def until(condition, limit=60):
    end = time.monotonic() + limit
    while not (found := condition()) and time.monotonic() < end:
        time.sleep(0.05)
    return found


def test_cells_run_where_their_hardware_is_and_absent_hardware_is_named(grid, start):
    code, rows, said = grid("hardware=simulated,inf2", "batch=1,2,4")
    found = sorted((row["hardware"], row["batch_size"], row["status"]) for row in rows)
    ok = [("simulated", batch, "ok") for batch in (1, 2, 4)]
    assert found == [("inf2", batch, "unavailable") for batch in (1, 2, 4)] + ok, said
    assert code == 2
    assert "no node of the cluster offers the resource `inf2`" in said
    assert {row["command"].split()[3] for row in rows} == {
        "-m"
    }  # the user's words, not those of Ray's process
    planned = start("plan", "hydra/launcher=ray", "hardware=simulated,inf2", "batch=1,2,4", "campaign=other")
    said, _ = planned.communicate(timeout=60)
    assert planned.returncode == 0
    assert "3 cached" in said, said
    assert "3 unavailable" in said, said
    again, rows_again, said = grid("hardware=simulated,inf2", "batch=1,2,4")
    assert (again, len(rows_again)) == (2, len(rows))
    assert "6 done before" in said


def test_the_rows_are_those_of_one_host(grid, start, tmp_path):
    words = ("hardware=simulated", "batch=1,2", "compiler.fast_math=none,all")
    here = start("-m", *words, "sampling.repeats=1", "campaign=here")
    said, _ = here.communicate(timeout=60)
    assert here.returncode == 0, said
    _, rows, said = grid(*words)
    by_campaign = {"here": {}, "test": {}}
    for row in rows:
        by_campaign[row["campaign"]][row["cell_id"]] = row["latency_p50_ms"]
    assert by_campaign["here"] == by_campaign["test"] != {}, said
    assert len({row["environment_id"] for row in rows}) == 1  # nothing that Ray sets for its tasks counts


def test_a_race_takes_its_looks_on_the_nodes(start, tmp_path):
    words = ("hardware=simulated", "compiler.call_ms=1,2,4", "campaign=race")
    tuned = start("tune", "hydra/launcher=ray", *words, "--json")
    said, _ = tuned.communicate(timeout=120)
    assert tuned.returncode == 0, said
    answer = json.loads(said.splitlines()[-1])
    assert [one["label"] for one in answer["winners"]] == ["call_ms=1"]
    rows = ResultsStore(tmp_path / "outputs" / "results").table().to_pylist()
    assert len(rows) == answer["looks"]
    assert {row["status"] for row in rows} == {"ok"}


def test_a_failed_cell_is_a_row_and_the_progress_names_its_node(grid):
    code, rows, said = grid(*ISOLATED, "compiler.fault=none,kill,raise")
    assert Counter(row["status"] for row in rows) == {"ok": 1, "crashed": 2}, said
    assert code == 2
    assert "ok p50 1.50 ms" in said
    assert said.count(" on ") >= 3
    assert all(row["stage_seconds"] for row in rows)


def test_a_budget_and_ctrl_c_end_a_grid_that_the_same_command_completes(grid, start, tmp_path):
    words = (*ISOLATED, "batch=range(1,5)")
    code, rows, said = grid(*words, "budget.hours=1e-7")
    assert (code, len(rows)) == (4, 0), said
    process = start("-m", "hydra/launcher=ray", "sampling.repeats=1", "campaign=test", *words)
    progress = tmp_path / "outputs" / "test"

    def is_at_work():
        states = [json.loads(file.read_text()) for file in progress.glob("progress-*.json")]
        return any(state["pid"] == process.pid and state["busy"] for state in states)

    assert until(is_at_work), process.communicate()
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "to resume:" in said
    code, rows, said = grid(*words)
    assert (code, Counter(row["status"] for row in rows)) == (0, {"ok": 4}), said


def test_a_second_ctrl_c_leaves_interrupted_rows(start, tmp_path):
    hang = ("compiler.fault=hang", "limits.measure_timeout_s=100")
    process = start("-m", "hydra/launcher=ray", *ISOLATED, *hang, "sampling.repeats=1", "campaign=test")
    log = tmp_path / "outputs" / "test"
    assert until(lambda: any("measure" in file.read_text() for file in log.glob("progress-*.json")))
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
    said, _ = process.communicate(timeout=60)
    rows = ResultsStore(tmp_path / "outputs" / "results").table().to_pylist()
    assert (process.returncode, [row["status"] for row in rows]) == (130, ["interrupted"]), said


def test_the_verb_shows_nodes_and_what_an_experiment_lacks(start):
    process = start("cluster", "hardware=inf2", "--json")
    said, _ = process.communicate(timeout=120)
    shown = json.loads(said.splitlines()[-1])
    assert process.returncode == 2
    assert [node["version"] for node in shown["nodes"] if node["CPUs"]] == ["same", "same"]
    assert "offers the resource `inf2`" in shown["missing"][0]


def test_a_command_without_a_cluster_says_how_to_start_one(start):
    process = start("-m", "hydra/launcher=ray", "hardware=simulated", RAY_ADDRESS="127.0.0.1:1")
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    (line,) = [line for line in said.splitlines() if line.startswith("error:")]
    assert "launcher.address=127.0.0.1:1: no head of a Ray cluster answers there" in line


def test_late_hardware_is_waited_for_and_a_lost_node_s_cells_run_on_the_next(start, cluster, tmp_path):
    late = {"late": 1, "timing": 1}
    words = (*ISOLATED, "hardware.name=late", "batch=range(1,4)", "launcher.wait_s=60")
    process = start("-m", "hydra/launcher=ray", *words, "sampling.repeats=1", "campaign=test")
    said = next(line for line in process.stdout if "waiting" in line)
    assert "waiting up to 60 s: no node of the cluster offers the resource `late`" in said
    place = cluster.add(late)
    store = ResultsStore(tmp_path / "outputs" / "results")
    assert until(lambda: store.exists and len(store.statuses("test")) >= 1)
    cluster.kill(place)
    cluster.add(late)
    rest, _ = process.communicate(timeout=120)
    assert process.returncode == 0, rest
    assert Counter(row["status"] for row in store.table().to_pylist()) == {"ok": 3}, rest


def test_a_lost_node_s_cells_run_again_on_another(grid, start, cluster, tmp_path):
    """The last test: the cluster has a node less from here on."""
    process = start(
        "-m", "hydra/launcher=ray", *ISOLATED, "batch=range(1,7)", "sampling.repeats=1", "campaign=test"
    )
    store = ResultsStore(tmp_path / "outputs" / "results")
    assert until(lambda: store.exists and len(store.statuses("test")) >= 1)
    cluster.kill(1)
    said, _ = process.communicate(timeout=120)
    rows = store.table().to_pylist()
    assert (process.returncode, Counter(row["status"] for row in rows)) == (0, {"ok": 6}), said
