"""Processes side by side in a measuring child: they start together, and one's failure is that of all."""

from __future__ import annotations

import os
import signal
import time

import psutil
import pytest

from benchmark.errors import Crashed, OutOfMemory, TimedOut
from benchmark.execution.forkserver import ChildLimits, Forkserver
from benchmark.execution.team import Team


class Member:
    """Does what the tests ask for."""

    def __init__(self, number, barrier):
        self.number, self.barrier = number, barrier

    def pid(self):
        return os.getpid()

    def started(self):
        time.sleep(0.05 * self.number)  # the last one is late
        self.barrier.wait()
        return time.perf_counter_ns()

    def trouble(self, how, which):
        if self.number == which:
            {
                "raise": lambda: 1 / 0,
                "memory": lambda: (_ for _ in ()).throw(MemoryError()),
                "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
                "exit": lambda: os._exit(3),
            }[how]()
        self.barrier.wait()


def left(pids):
    """Those that still run, after a moment."""
    until = time.monotonic() + 2
    while (alive := [pid for pid in pids if _runs(pid)]) and time.monotonic() < until:
        time.sleep(0.01)
    return alive


def _runs(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_all_are_asked_and_answer_in_their_order_from_processes_of_their_own():
    with Team(Member, 3) as team:
        pids = team.call("pid")
    assert len({*pids, os.getpid()}) == 4
    assert left(pids) == []


def test_they_start_together_when_the_last_one_is_ready():
    began = time.perf_counter_ns()
    with Team(Member, 3) as team:
        moments = team.call("started")
    assert min(moments) - began > 0.1e9
    assert max(moments) - min(moments) < 0.05e9


@pytest.mark.parametrize(
    ("how", "kind", "sentence"),
    [
        ("raise", Crashed, "replica 1: ZeroDivisionError: division by zero"),
        ("memory", OutOfMemory, "replica 1: MemoryError: "),
        ("kill", Crashed, "the process of replica 1 was ended by SIGKILL"),
        ("exit", Crashed, "the process of replica 1 left with exit code 3"),
    ],
)
def test_the_failure_of_one_ends_all_that_wait_for_it(how, kind, sentence):
    with Team(Member, 3) as team:
        pids = team.call("pid")
        with pytest.raises(kind) as failure:
            team.call("trouble", how, 1)
        assert left(pids) == []
    assert str(failure.value).startswith(sentence)


def hang(file):
    """In a child: one of two members hangs, the other waits for it."""

    class Hanging(Member):
        def trouble(self, how, which):
            file.open("a").write(f"{os.getpid()}\n")
            if self.number == which:
                time.sleep(60)
            super().trouble(how, -1)

    with Team(Hanging, 2) as team:
        team.call("trouble", "hang", 1)


def test_none_is_left_when_one_hangs(tmp_path):
    file, server = tmp_path / "pids", Forkserver([__name__])
    with pytest.raises(TimedOut):
        server.call(ChildLimits(log=tmp_path / "log", timeout_s=2.0), hang, file)
    server.close()
    pids = [int(line) for line in file.read_text().split()]
    assert len(pids) == 2
    assert left(pids) == []


def leave_alone(file):
    """In a child: it is killed while its members work."""
    with Team(Member, 2) as team:
        file.write_text("\n".join(map(str, team.call("pid"))))
        os.kill(os.getpid(), signal.SIGKILL)


def test_none_is_left_when_their_own_child_is_killed(tmp_path):
    file, server = tmp_path / "pids", Forkserver([__name__])
    with pytest.raises(Crashed, match="SIGKILL"):
        server.call(ChildLimits(log=tmp_path / "log", timeout_s=20.0), leave_alone, file)
    server.close()
    pids = [int(line) for line in file.read_text().split()]
    assert len(pids) == 2
    assert left(pids) == []
