"""What killed commands leave in temporary folders is found and removed, and what is in use stays."""

from __future__ import annotations

import os
import socket
import tempfile
import time
from pathlib import Path

import pytest

from benchmark.cache.workdirs import work_name
from benchmark.execution import leftovers, server_connection
from benchmark.execution.host_lock import LOCK_NAME, HostLock
from benchmark.execution.interpreters import SOURCE, Interpreters
from benchmark.host.mutex import PLACE

CAT = "/bin/cat"
"""Stands for another interpreter that waits."""
ABSENT = 4194305
"""Above the largest process id."""


@pytest.fixture
def folder(monkeypatch):
    """The only temporary folder, short enough for sockets; no other test has files there."""
    with tempfile.TemporaryDirectory(dir=PLACE) as place:
        yield used_alone(Path(place), monkeypatch)


def used_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(leftovers, "PLACE", tmp_path)
    monkeypatch.setattr("benchmark.execution.host_lock.PLACE", tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv(LOCK_NAME, f"left_{os.getpid()}")
    return tmp_path


def left_behind(folder):
    """A file or folder of each kind that a killed command leaves."""
    here, _, rest = work_name().rpartition("-")[0].rpartition("-")
    assert rest == str(os.getpid())
    source = folder / f"{SOURCE}{here}-{ABSENT}-x"
    source.mkdir()
    (source / "benchmark").symlink_to(Path(__file__).parents[2] / "benchmark")
    locks = folder / f"benchmark-locks-{os.getuid()}"
    (locks / "a").mkdir(parents=True)
    (locks / "a" / "key.lock").touch()
    holder = folder / f"benchmark-host-{ABSENT}.json"
    holder.write_text(
        f'{{"pid": {ABSENT}, "process_started_s": 1, "command": "", "campaign": "", "since_s": 1}}'
    )
    unfinished = folder / "benchmark-abc.new"
    unfinished.touch()
    os.utime(unfinished, (time.time() - 2 * 24 * 3600,) * 2)
    earlier = folder / "benchmark-host.lock"
    earlier.touch()
    sockets = server_connection._folder()
    sockets.mkdir(mode=0o700)
    dead = sockets / "dead.socket"
    with socket.socket(socket.AF_UNIX) as closed:
        closed.bind(str(dead))
    return {source, locks, holder, unfinished, earlier, dead}


def test_what_a_killed_command_left_is_cleared_and_nothing_else(folder):
    left = left_behind(folder)
    (folder / "benchmark-notes.txt").touch()
    (folder / "pymp-abc").mkdir()  # which may be any program's
    before = {*folder.iterdir()}
    assert {*leftovers.leftovers()} == left
    leftovers.clear()
    assert before - {*folder.iterdir()} == left - {folder / f"benchmark-{os.getuid()}" / "dead.socket"}
    assert leftovers.leftovers() == []
    assert (Path(__file__).parents[2] / "benchmark" / "cell.py").exists()


def test_what_is_in_use_stays(folder):
    host_lock = HostLock()
    host_lock.acquire()
    sockets = server_connection._folder()
    sockets.mkdir(mode=0o700)
    with Interpreters((), {CAT: ()}) as other, socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(sockets / "alive.socket"))
        listening.listen()
        other.start()
        assert len([*folder.glob("benchmark-*")]) == 3  # holder, source and the folder of sockets
        assert leftovers.leftovers() == []
    host_lock.release()
    assert [path.name for path in folder.glob("benchmark-*")] == [sockets.name]


def test_a_long_temporary_folder_is_no_obstacle_for_sockets(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", f"{tmp_path}/{'x' * 150}")
    assert server_connection._folder() == PLACE / f"benchmark-{os.getuid()}"
