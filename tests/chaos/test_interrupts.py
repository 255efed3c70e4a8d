"""Ctrl-C and the system's polite end: the current cell leaves its row, the same command goes on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections import Counter

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
STOP = {
    "ctrl-c": lambda process: os.killpg(process.pid, signal.SIGINT),  # a terminal tells the whole group
    "kill": lambda process: process.send_signal(signal.SIGTERM),  # the system tells the parent alone
}


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
    """Both ways to stop, side by side: interrupted amid the second cell, then the same command again."""
    folders = {how: tmp_path_factory.mktemp(how) for how in STOP}
    first = {how: start(folder) for how, folder in folders.items()}
    told = {}
    for how, (process, mark) in first.items():
        out = folders[how] / "out.txt"
        wait_for(lambda out=out: "[1/3]" in out.read_text())
        STOP[how](process)
        code = process.wait(30)
        told[how] = [code, out.read_text(), read(folders[how]), survivors(mark)]
    second = {how: start(folder)[0] for how, folder in folders.items()}
    for how, process in second.items():
        told[how] += [process.wait(60), (folders[how] / "out.txt").read_text(), read(folders[how])]
    return told


def read(folder):
    columns = ["run_id", "status", "stage", "batch_size", "started_at"]
    return pd.read_parquet(folder / "outputs" / "results", columns=columns).sort_values("started_at")


@pytest.fixture(params=STOP)
def story(request, stories):
    return stories[request.param]


def test_the_exit_code_is_130_and_the_way_to_resume_is_told(story):
    code, out, *_ = story
    assert code == 130
    assert "campaign=drill resumes" in out
    assert "Traceback" not in out


def test_the_current_cell_leaves_an_interrupted_row_after_those_that_were_done(story):
    statuses = story[2]["status"].tolist()
    assert set(statuses[:-1]) == {"ok"}
    assert statuses[-1] == "interrupted"


def test_no_process_is_left(story):
    assert story[3] == []


def test_the_same_command_resumes_and_every_cell_ends_ok_exactly_once(story):
    *_, code, out, rows = story
    done = int(re.search(r"3 cells, (\d) done before", out)[1])
    assert code == 0, out
    assert done >= 1
    assert Counter(rows["status"]) == {"ok": 3}
    assert sorted(rows["batch_size"]) == [1, 2, 3]


def test_finished_cells_are_not_measured_again(story):
    before, after = story[2], story[6]
    kept = before[before["status"] == "ok"]
    assert set(kept["started_at"]) <= set(after["started_at"])
