"""Ctrl-C and the system's polite end: the current cell leaves its row, the same command goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pandas as pd
import pytest
from survivors import marked, survivors, wait_for

SLOW_GRID = (
    "-m",
    "hardware=simulated",
    "hardware.isolated=true",
    "batch=1,2,3",
    "sampling=quick",
    "sampling.warmup_calls=300000",  # of an invented clock: real time passes, and none of it is stored
    "sampling.max_calls=300000",
    "sampling.max_s=1e9",
    "campaign=drill",
)
STORIES = {
    "ctrl-c amid the second cell": (os.killpg, signal.SIGINT, "[1/3]"),  # a terminal tells the whole group
    "ctrl-c while libraries load": (os.killpg, signal.SIGINT, "3 cells"),
    "kill amid the second cell": (os.kill, signal.SIGTERM, "[1/3]"),  # the system tells the parent alone
}
"""How to stop the program, and what it says just before."""


class Seen(NamedTuple):
    """What one run of the command left."""

    code: int
    out: str
    rows: Any


def start(folder):
    environment, mark = marked()
    command = [sys.executable, "-m", "benchmark", *SLOW_GRID]
    with (folder / "out.txt").open("w") as out:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=out, stderr=out, start_new_session=True
        )
    return process, mark


@pytest.fixture(scope="module")
def stories(tmp_path_factory):
    """All of them side by side: stopped, then the same command again."""
    with ThreadPoolExecutor(len(STORIES)) as pool:
        folders = [tmp_path_factory.mktemp("story") for _ in STORIES]
        return dict(zip(STORIES, pool.map(stop_and_resume, STORIES.values(), folders), strict=True))


def stop_and_resume(story, folder):
    tell, number, said_before = story
    out = folder / "out.txt"
    process, mark = start(folder)
    wait_for(lambda: said_before in out.read_text())
    tell(process.pid, number)
    first = Seen(process.wait(60), out.read_text(), read(folder))
    left = survivors(mark)
    process, _ = start(folder)
    return first, left, Seen(process.wait(60), out.read_text(), read(folder))


def read(folder):
    columns = ["run_id", "status", "stage", "batch_size", "started_at"]
    return pd.read_parquet(folder / "outputs" / "results", columns=columns).sort_values("started_at")


@pytest.fixture(params=STORIES)
def story(request, stories):
    return stories[request.param]


def test_the_exit_code_is_130_and_the_way_to_resume_is_told(story):
    stopped, _, _ = story
    assert stopped.code == 130
    assert "campaign=drill resumes" in stopped.out
    assert "Traceback" not in stopped.out


def test_the_current_cell_leaves_an_interrupted_row_after_those_that_were_done(story):
    stopped, _, _ = story
    *before, last = stopped.rows["status"]
    assert set(before) <= {"ok"}
    assert last == "interrupted"


def test_no_process_is_left(story):
    _, left, _ = story
    assert left == []


def test_the_same_command_resumes_and_every_cell_ends_ok_exactly_once(story):
    stopped, _, resumed = story
    assert resumed.code == 0, resumed.out
    assert list(resumed.rows["status"]) == ["ok"] * 3
    assert sorted(resumed.rows["batch_size"]) == [1, 2, 3]
    assert resumed.rows["run_id"].is_unique
    assert ("done before" in resumed.out) == ("ok" in set(stopped.rows["status"]))


def test_finished_cells_are_not_measured_again(story):
    stopped, _, resumed = story
    done = stopped.rows[stopped.rows["status"] == "ok"]
    assert set(done["started_at"]) <= set(resumed.rows["started_at"])
