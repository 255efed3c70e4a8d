"""Ctrl-C once finishes the current cell, twice or SIGTERM stops now; then the same command resumes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pyarrow.dataset as ds
import pytest

from benchmark.execution.host_lock import LOCK_NAME
from tests.chaos.survivors import marked, survivors, wait_for

pytestmark = pytest.mark.chaos

SLOW_GRID = (
    "-m",
    "hardware=simulated",
    "hardware.isolated=true",
    "batch=1,2,3",
    "sampling=quick",
    "sampling.repeats=1",
    "sampling.warmup_calls=40000",  # of an invented clock: real time passes, and none of it is stored
    "sampling.max_calls=40000",
    "sampling.max_s=1e9",
    "campaign=drill",
)
STORIES = {
    "ctrl-c amid the second cell": (os.killpg, [signal.SIGINT], "[1/3]"),  # a terminal tells the whole group
    "ctrl-c twice amid the second cell": (os.killpg, [signal.SIGINT] * 2, "[1/3]"),
    "kill amid the second cell": (os.kill, [signal.SIGTERM], "[1/3]"),  # the system tells the parent alone
    "ctrl-c twice while libraries load": (os.killpg, [signal.SIGINT] * 2, "3 cells"),
}
"""How to stop the program, and what it says just before."""
AMID = [story for story in STORIES if "amid" in story]
NOW = [story for story in AMID if story != "ctrl-c amid the second cell"]


class Seen(NamedTuple):
    """What one run of the command left."""

    code: int
    out: str
    rows: Any
    left: list[int]


def run(folder, stop=None):
    """Run the grid in a folder, and stop it if a story says how."""
    environment, mark = marked()
    environment[LOCK_NAME] = mark  # no other test is waited for
    command = [sys.executable, "-m", "benchmark", *SLOW_GRID]
    out = folder / "out.txt"
    with out.open("w") as file:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=file, stderr=file, start_new_session=True
        )
    try:
        if stop:
            tell, numbers, said_before = stop
            wait_for(lambda: said_before in out.read_text() or process.poll() is not None, within_s=120)
            time.sleep(0.05)  # the cell that follows begins
            for number in numbers:
                tell(process.pid, number)
                time.sleep(0.2)
        code = process.wait(60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    columns = ["run_id", "status", "batch_size", "started_at"]
    files = [str(file) for file in (folder / "outputs").glob("results*/*.parquet")]  # as a plain reader
    rows = ds.dataset(files).to_table(columns).to_pandas().sort_values("started_at")
    return Seen(code, out.read_text(), rows, survivors(mark))


def side_by_side(runs):
    with ThreadPoolExecutor() as pool:
        begun = {story: pool.submit(*call) for story, call in runs.items()}
        return {story: future.result() for story, future in begun.items()}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {story: tmp_path_factory.mktemp("story") for story in STORIES}


@pytest.fixture(scope="module")
def stopped(folders):
    return side_by_side({story: (run, folders[story], stop) for story, stop in STORIES.items()})


@pytest.fixture(scope="module")
def resumed(folders, stopped):
    """The same command again."""
    return side_by_side({story: (run, folders[story]) for story in AMID})


@pytest.mark.parametrize("story", STORIES)
def test_the_exit_code_is_130_and_the_way_to_resume_is_said(stopped, story):
    assert stopped[story].code == 130
    assert "to resume: python -m benchmark" in stopped[story].out
    assert "Traceback" not in stopped[story].out


def test_ctrl_c_once_lets_the_current_cell_finish_and_starts_no_other(stopped):
    seen = stopped["ctrl-c amid the second cell"]
    assert re.search(r"stopping after the current process(, about [\w ]+)? \(Ctrl-C again: now\)", seen.out)
    assert list(seen.rows["status"]) == ["ok", "ok"]


@pytest.mark.parametrize("story", NOW)
def test_the_current_cell_leaves_an_interrupted_row_after_those_that_were_done(stopped, story):
    *before, last = stopped[story].rows["status"]
    assert set(before) <= {"ok"}
    assert last == "interrupted"


@pytest.mark.parametrize("story", STORIES)
def test_no_process_is_left(stopped, story):
    assert stopped[story].left == []


@pytest.mark.parametrize("story", AMID)
def test_the_same_command_resumes_and_every_cell_ends_ok_exactly_once(resumed, story):
    code, out, rows, _ = resumed[story]
    assert code == 0, out
    assert "done before" in out
    assert list(rows["status"]) == ["ok"] * 3
    assert sorted(rows["batch_size"]) == [1, 2, 3]
    assert rows["run_id"].is_unique


@pytest.mark.parametrize("story", AMID)
def test_finished_cells_are_not_measured_again(stopped, resumed, story):
    rows = stopped[story].rows
    done = rows[rows["status"] == "ok"]
    assert len(done)
    assert set(done["started_at"]) <= set(resumed[story].rows["started_at"])
