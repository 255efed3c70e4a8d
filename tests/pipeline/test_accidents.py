"""A fault of the host costs no cell: it is tried once more, or leaves a row that is measured again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmark.cache.lookup import cache_only
from benchmark.errors import Interrupted
from benchmark.execution.failures import deserialize_error, serialize_error
from benchmark.execution.interpreters import Interpreters
from benchmark.pipeline import prepare, runner
from benchmark.stages.plan import plan
from benchmark.store.results import ResultsStore

KILL_THE_SERVER = "import os, signal, time; os.kill(os.getppid(), signal.SIGKILL); time.sleep(60)"


@pytest.fixture(scope="module")
def interpreters():
    modules = {"benchmark.stages.measure", "benchmark.compilers.simulated", "benchmark.devices.simulated"}
    with Interpreters(modules, {}) as opened:
        yield opened


@pytest.fixture
def isolated(simulated):
    return lambda *overrides: simulated("hardware.isolated=true", *overrides)


@pytest.fixture
def accidents(monkeypatch):
    """Make the children of a stage kill their server, so many times."""

    def happen(module, stage, times):
        work, left = getattr(module, stage), iter(range(times))

        def disturbed(*arguments):
            call = next(one for one in arguments if callable(one))
            if call is not cache_only and next(left, None) is not None:
                call(exec, KILL_THE_SERVER)
            return work(*arguments)

        monkeypatch.setattr(module, stage, disturbed)

    return happen


@pytest.mark.parametrize(("module", "stage"), [(prepare, "compile_"), (runner, "measure")])
def test_a_cell_whose_server_is_killed_is_tried_once_more(isolated, run_cells, accidents, module, stage):
    accidents(module, stage, 1)
    rows = run_cells(isolated("batch=1"), isolated("batch=2"))
    assert [row["status"] for row in rows] == ["ok", "ok"]


def test_a_cell_whose_server_is_killed_twice_is_interrupted_and_measured_by_the_next_command(
    isolated, run_cells, accidents
):
    accidents(runner, "measure", 2)
    cells = [isolated("batch=1"), isolated("batch=2")]
    rows = run_cells(*cells)
    assert [row["status"] for row in rows] == ["interrupted", "ok"]
    assert rows[0]["error"] == "the server that children are forked from was ended by SIGKILL"
    statuses = ResultsStore(cells[0].store_root).statuses
    assert [run.fate for run in plan(cells, statuses).runs] == ["run", "done"]
    assert [row["status"] for row in run_cells(*cells)] == ["ok", "ok"]


def test_an_interrupted_group_leaves_a_row_for_each_of_its_cells(isolated, run_cells, accidents):
    """Both cells have one artefact."""
    accidents(prepare, "compile_", 2)
    first = isolated()
    other = replace(first, scenario=isolated("scenario=throughput").scenario)
    rows = run_cells(first, other)
    assert [row["status"] for row in rows] == ["interrupted", "interrupted"]


def test_a_full_disk_is_no_property_of_a_cell():
    for error in (OSError(28, "No space left on device"), RuntimeError("write: No space left on device")):
        found = deserialize_error(*serialize_error(error))
        assert isinstance(found, Interrupted)
        assert str(found).endswith("free space there, then run the same command again")
