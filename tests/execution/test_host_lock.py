"""The host is held by one at a time, and whoever waits gets it before the holder gets it again."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager

import pytest

from benchmark.execution.host_lock import LOCK_NAME, Holder, HostLock
from benchmark.host import mutex
from benchmark.host.mutex import PLACE, Mutex


@pytest.fixture
def name(monkeypatch):
    """Name of the lock of this test."""
    monkeypatch.setenv(LOCK_NAME, name := f"test_{os.getpid()}")
    return name


@pytest.fixture
def leases(name):
    """As many leases of one host as are asked for, each as a process of its own would have it."""
    return lambda count: [HostLock() for _ in range(count)]


def is_free(name):
    with closing(Mutex(name)) as neighbour:
        return neighbour.acquire(0)


def holder_files(name):
    return [*PLACE.glob(f"benchmark-{name}-*.json")]


@contextmanager
def held(host_lock):
    host_lock.acquire()
    try:
        yield
    finally:
        host_lock.release()


def test_it_is_held_until_it_is_given_back(leases, name):
    (host_lock,) = leases(1)
    with held(host_lock):
        assert not is_free(name)
    assert is_free(name)


def test_taking_it_twice_is_taking_it_once(leases, name):
    (host_lock,) = leases(1)
    host_lock.acquire()
    host_lock.acquire()
    host_lock.release()
    assert is_free(name)


def test_threads_of_one_command_share_it(leases, name):
    (host_lock,) = leases(1)
    takers = [threading.Thread(target=host_lock.acquire) for _ in range(8)]
    for taker in takers:
        taker.start()
    for taker in takers:
        taker.join(5)
    assert not is_free(name)
    host_lock.release()
    assert is_free(name)


def test_a_command_that_waits_hears_who_holds_it(leases, name):
    first, second = leases(2)
    assert second.holder() is None
    first.acquire("tonight")
    seen = []
    waiter = threading.Thread(target=second.acquire, args=("mine", seen.append))
    waiter.start()
    while not seen:
        time.sleep(0.01)
    first.release()
    waiter.join(5)
    (holder,) = seen
    assert re.fullmatch(
        rf"python -m benchmark .*\(campaign tonight, pid {os.getpid()}\) has it since \d\d:\d\d:\d\d", holder
    )
    assert second.holder().campaign == "mine"
    second.release()
    assert second.holder() is None
    assert not holder_files(name)


@pytest.mark.parametrize(
    "text",
    [
        "",
        '{"pid": 1}',
        '{"pid": 4194305, "process_started_s": 1, "command": "x", "campaign": "", "since_s": 1}',
        f'{{"pid": {os.getpid()}, "process_started_s": 1, "command": "x", "campaign": "", "since_s": 1}}',
    ],
    ids=["empty", "no holder", "no such process", "another process of that number"],
)
def test_a_file_of_a_command_that_was_killed_names_no_holder(leases, name, text):
    left = PLACE / f"benchmark-{name}-5.json"
    left.write_text(text)
    (host_lock,) = leases(1)
    seen = []
    try:
        assert host_lock.holder() is None
        with closing(Mutex(name)) as neighbour:
            assert neighbour.acquire(0)
            waiter = threading.Thread(target=host_lock.acquire, args=("", seen.append))
            waiter.start()
            while not seen:
                time.sleep(0.01)
        waiter.join(5)
    finally:
        left.unlink()
    assert seen == ["another command has it"]
    host_lock.release()


HOLD = """
from benchmark.execution.host_lock import HostLock
lock = HostLock()
lock.acquire()
print("held", flush=True)
input()
"""


def test_it_is_one_lock_whatever_the_temporary_folder_and_free_when_its_holder_is_killed(leases, tmp_path):
    (host_lock,) = leases(1)
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", HOLD]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        try:
            assert other.stdout.readline() == b"held\n"
            assert not host_lock._host.acquire(0)
        finally:
            other.kill()
    assert host_lock._host.acquire(1)
    host_lock.release()


def test_containers_that_share_a_folder_share_the_lock(name, tmp_path):
    with closing(Mutex(name, tmp_path)) as one:
        assert one.acquire(0)
    (file,) = tmp_path.glob(f".{name}-*.lock")
    with closing(mutex._locked(file)):  # as one does whose network, and so whose sockets, are others
        assert not one.acquire(0)
    with closing(one):
        assert one.acquire(0)
        assert mutex._locked(file) is None


def test_a_folder_that_can_not_be_written_is_no_obstacle(name, tmp_path):
    with closing(Mutex(name, tmp_path / "missing")) as one:
        assert one.acquire(0)


def test_a_command_line_can_not_write_to_the_terminal():
    shown = str(
        Holder(pid=1, process_started_s=1, command=f"x\x1b[2J\n{'y' * 500}", campaign="a\nb", since_s=0)
    )
    assert shown.isprintable()
    assert len(shown) < 220


def test_one_holds_it_at_a_time_and_each_gets_it(leases):
    """Each takes it again and again: never both at once, and they take turns."""
    holding, turns, overlaps = [], [], []

    def work(name, host_lock):
        for _ in range(12):
            with held(host_lock):
                overlaps.extend(holding)
                holding.append(name)
                turns.append(name)
                time.sleep(0.03)
                holding.remove(name)

    workers = [threading.Thread(target=work, args=pair) for pair in zip("ab", leases(2), strict=True)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    assert overlaps == []
    both = "".join(turns)[:20]  # while both still want it
    assert "aaaa" not in both
    assert "bbbb" not in both
