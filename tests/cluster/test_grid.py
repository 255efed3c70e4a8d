"""Grids on Ray's own test cluster: nodes, and a command as a user types it."""

from __future__ import annotations

import json
import signal
import time
from collections import Counter

import pytest

from benchmark.store.results import ResultsStore
from tests.cluster.nodes import SIMULATED

pytest.importorskip("ray")
pytestmark = pytest.mark.chaos
ISOLATED = ("hardware=simulated", "hardware.isolated=true", "sampling=quick", "launcher.keep_warm_s=5")


def until(condition, limit=60):
    end = time.monotonic() + limit
    while not (found := condition()) and time.monotonic() < end:
        time.sleep(0.05)
    return found


def test_cells_run_where_their_hardware_is_as_on_one_host_and_absent_hardware_is_named(grid, ended):
    sizes = ("batch=1,2,4", "compiler.fast_math=none,all")
    here = ended("-m", "hardware=simulated", *sizes, "sampling.repeats=1", "campaign=here")
    assert here.returncode == 0, here.stderr
    code, rows, said = grid("hardware=simulated,inf2", *sizes)
    statuses = Counter((row["hardware"], row["status"]) for row in rows if row["campaign"] == "test")
    assert statuses == {("simulated", "ok"): 6, ("inf2", "unavailable"): 6}, said
    assert code == 2
    assert "no node of the cluster offers the resource `inf2`" in said
    ok = [row for row in rows if row["status"] == "ok"]
    by_campaign = {"here": {}, "test": {}}
    for row in ok:
        by_campaign[row["campaign"]][row["cell_id"]] = row["latency_p50_ms"]
    assert by_campaign["here"] == by_campaign["test"]
    assert len({row["environment_id"] for row in ok}) == 1  # nothing that Ray sets for its tasks counts
    assert {row["command"].split()[3] for row in rows} == {
        "-m"
    }  # the user's words, not those of Ray's process
    planned = ended("plan", "hydra/launcher=ray", "hardware=simulated,inf2", *sizes, "campaign=other")
    assert planned.returncode == 0
    assert "6 cached" in planned.stdout, planned.stdout
    assert "6 unavailable" in planned.stdout
    again, rows_again, said = grid("hardware=simulated,inf2", *sizes)
    assert (again, len(rows_again)) == (2, len(rows))
    assert "12 done before" in said


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


def test_the_verb_shows_nodes_and_what_an_experiment_lacks(ended):
    said = ended("cluster", "hardware=inf2", "--json")
    shown = json.loads(said.stdout.splitlines()[-1])
    assert said.returncode == 2
    assert [node["version"] for node in shown["nodes"] if node["CPUs"]] == ["same", "same"]
    assert "offers the resource `inf2`" in shown["missing"][0]


def test_late_hardware_is_waited_for_and_a_lost_node_s_cells_run_on_the_next(start, cluster, tmp_path):
    """And those of `simulated` on the node of it that is left; a new one replaces the one that was killed."""
    late = {"late": 1, "timing": 1}
    words = (*ISOLATED, "hardware.name=late,simulated", "batch=range(1,4)", "launcher.wait_s=60")
    process = start("-m", "hydra/launcher=ray", *words, "sampling.repeats=1", "campaign=test")
    said = next(line for line in process.stdout if "waiting" in line)
    assert "waiting up to 60 s: no node of the cluster offers the resource `late`" in said
    place = cluster.add(late)
    store = ResultsStore(tmp_path / "outputs" / "results")
    assert until(lambda: store.exists and len(store.statuses("test")) >= 2)
    cluster.kill(place)
    cluster.kill(1)
    cluster.add(late)
    rest, _ = process.communicate(timeout=120)
    assert process.returncode == 0, rest
    assert Counter(row["status"] for row in store.table().to_pylist()) == {"ok": 6}, rest
    cluster.add(SIMULATED)
