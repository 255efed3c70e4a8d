"""What a grid needs is built and compiled before its first cell is timed: once a group, several at a time."""

from __future__ import annotations

from contextlib import closing, contextmanager
from dataclasses import replace

import pytest

from benchmark.execution.host_lock import LOCK_NAME
from benchmark.host.mutex import Mutex
from benchmark.pipeline.budget import BudgetTracker
from benchmark.store.results import ResultsStore


@pytest.fixture
def isolated(simulated):
    return lambda *overrides: simulated("hardware.isolated=true", "sampling=quick", *overrides)


@pytest.fixture
def watcher(silent):
    """Notes who was in which stage, in the order in which they began."""

    class Watcher(silent):
        def __init__(self):
            self.seen, self.now, self.most = [], 0, 0

        @contextmanager
        def working(self, where, run_id, stage):
            self.seen.append((where, run_id, stage))
            self.now += where.startswith("compile")
            self.most = max(self.most, self.now)
            try:
                yield
            finally:
                self.now -= where.startswith("compile")

    return Watcher()


def test_every_cell_is_compiled_before_the_first_is_timed(isolated, run_cells, watcher):
    rows = run_cells(*(isolated(f"batch={n}") for n in (1, 2, 3)), observer=watcher)
    assert [row["status"] for row in rows] == ["ok"] * 3
    stages = [stage for where, _, stage in watcher.seen if stage in {"compile", "measure"}]
    assert stages[-3:] == ["measure"] * 3
    assert set(stages[:-3]) == {"compile"}


def test_workers_compile_beside_each_other_and_the_row_tells(isolated, run_cells, watcher):
    rows = run_cells(*(isolated(f"batch={n}") for n in (1, 2, 3, 4)), observer=watcher, workers=2)
    assert watcher.most == 2
    assert {where for where, _, stage in watcher.seen if stage == "compile"} == {"compile 1", "compile 2"}
    assert {row["compile_workers"] for row in rows} == {2}


def test_cells_that_share_an_artefact_are_prepared_once(isolated, run_cells, watcher):
    cells = [replace(isolated(), campaign=campaign) for campaign in ("a", "b")]
    rows = run_cells(*cells, observer=watcher)
    assert [stage for where, _, stage in watcher.seen if where == "compile 1"].count("wait") == 1
    assert [row["cache_hit"] for row in rows] == [False, True]
    assert rows[0]["compile_s"] == rows[1]["compile_s"] > 0
    assert "compile" in dict(rows[0]["stage_seconds"])
    assert "compile" not in dict(rows[1]["stage_seconds"])
    measured = dict(rows[0]["stage_seconds"])
    assert 0 < measured["measure.start"] < measured["measure"]
    of_process = [
        name
        for name in measured
        if name.startswith("measure.") and name not in {"measure.warmup", "measure.calls"}
    ]
    assert sum(measured[name] for name in of_process) <= measured["measure"], (
        "the clock of calls is simulated"
    )


def test_a_failed_compilation_is_said_at_once_and_by_every_cell_of_its_group(isolated, run_cells, silent):
    bad = [
        replace(isolated("compiler.fault=raise", "compiler.fault_stage=compile"), campaign=c) for c in "ab"
    ]
    finished = []

    class Listener(silent):
        def finished(self, row):
            finished.append(row.status)

    rows = run_cells(isolated(), *bad, observer=Listener())
    assert finished == ["compile_error", "compile_error", "ok"]
    assert [row["status"] for row in rows] == ["ok", "compile_error", "compile_error"]
    assert {row["stage"] for row in rows[1:]} == {"compile"}


def test_the_host_is_held_while_a_child_works_and_while_a_cell_is_timed(
    isolated, run_cells, silent, monkeypatch
):
    monkeypatch.setenv(LOCK_NAME, "neighbours")
    free = {}

    class Neighbour(silent):
        @contextmanager
        def working(self, where, run_id, stage):  # noqa: ARG002 - the seam's signature
            with closing(Mutex("neighbours")) as neighbour:
                free.setdefault(stage, []).append(neighbour.acquire(0))
            yield

    run_cells(isolated(), observer=Neighbour())
    assert (free["compile"][-1], free["measure"]) == (False, [False])
    assert all(free["plan"])
    with closing(Mutex("neighbours")) as neighbour:
        assert neighbour.acquire(0)  # given back


def test_a_grid_whose_cache_is_warm_needs_no_host_to_prepare(isolated, run_cells, watcher):
    run_cells(replace(isolated(), campaign="cold"))
    run_cells(replace(isolated(), campaign="warm"), observer=watcher)
    assert [stage for where, _, stage in watcher.seen if where == "compile 1"] == ["build", "compile"]


def test_a_brake_before_the_first_cell_leaves_the_grid_as_it_was(isolated, run_cells):
    budget = BudgetTracker(isolated().budget)
    budget.stop_requested = True
    assert run_cells(isolated(), budget=budget) == []


def test_a_cell_that_runs_out_of_memory_dominates_what_is_larger(isolated, run_cells):
    fault = ("compiler.fault=eat_memory", "limits.memory_gib=0.3")
    small, large = isolated("batch=2", *fault), isolated("batch=4", *fault)
    rows = run_cells(small, large)
    assert [row["status"] for row in rows] == ["oom_host", "dominated"]
    assert rows[1]["error"].startswith(
        f"batch 2, length 128 of this cell ran out of memory (run {rows[0]['run_id']})"
    )
    (again,) = run_cells(replace(large, campaign="another"))
    assert again["status"] == "dominated"


def test_a_cell_that_another_command_has_done_meanwhile_is_not_timed_again(isolated, run_cells, silent):
    """The other command is one that runs while this one is about to time its first cell."""
    cells = [isolated("batch=1"), isolated("batch=2")]
    skipped, finished = [], []

    class Other(silent):
        @contextmanager
        def working(self, where, run_id, stage):  # noqa: ARG002 - the seam's signature
            if stage == "wait" and "simulated" in where and not finished and not skipped:
                run_cells(cells[1])
            yield

        def skipped(self, run_id):
            skipped.append(run_id)

        def finished(self, row):
            finished.append(row.values["batch_size"])

    rows = run_cells(*cells, observer=Other())
    assert (finished, len(skipped)) == ([1], 1)
    assert [row["status"] for row in rows] == ["ok", "ok"]
    assert len(ResultsStore(cells[0].store_root).table(["run_id"])) == 2
