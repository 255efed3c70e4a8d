"""The host is held by one at a time, and whoever waits gets it before the holder gets it again."""

from __future__ import annotations

import os
import re
import threading
import time
from contextlib import contextmanager

import pytest
from filelock import FileLock, Timeout

from benchmark.execution.host_lock import Holder, HostLock


@pytest.fixture
def leases(tmp_path):
    """As many leases of one host as are asked for, each as a process of its own would have it."""
    return lambda count: [HostLock(tmp_path) for _ in range(count)]


def is_free(folder):
    try:
        with FileLock(folder / "benchmark-host.lock").acquire(timeout=0):
            return True
    except Timeout:
        return False


@contextmanager
def held(host_lock):
    host_lock.acquire()
    try:
        yield
    finally:
        host_lock.release()


def test_it_is_held_until_it_is_given_back(leases, tmp_path):
    (host_lock,) = leases(1)
    with held(host_lock):
        assert not is_free(tmp_path)
    assert is_free(tmp_path)


def test_taking_it_twice_is_taking_it_once(leases, tmp_path):
    (host_lock,) = leases(1)
    host_lock.acquire()
    host_lock.acquire()
    host_lock.release()
    assert is_free(tmp_path)


def test_threads_of_one_command_share_it(leases, tmp_path):
    (host_lock,) = leases(1)
    takers = [threading.Thread(target=host_lock.acquire) for _ in range(8)]
    for taker in takers:
        taker.start()
    for taker in takers:
        taker.join(5)
    assert not is_free(tmp_path)
    host_lock.release()
    assert is_free(tmp_path)


def test_a_command_that_waits_hears_who_holds_it(leases, tmp_path):
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
    assert not [*tmp_path.glob("*.json")]


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
def test_a_file_of_a_command_that_was_killed_names_no_holder(leases, tmp_path, text):
    (tmp_path / "benchmark-holder-5.json").write_text(text)
    (host_lock,) = leases(1)
    assert host_lock.holder() is None
    seen = []
    with FileLock(tmp_path / "benchmark-host.lock"):
        waiter = threading.Thread(target=host_lock.acquire, args=("", seen.append))
        waiter.start()
        while not seen:
            time.sleep(0.01)
    waiter.join(5)
    assert seen == ["another command has it"]
    host_lock.release()


def test_a_command_line_can_not_write_to_the_terminal():
    shown = str(
        Holder(pid=1, process_started_s=1, command=f"x\x1b[2J\n{'y' * 500}", campaign="a\nb", since_s=0)
    )
    assert shown.isprintable()
    assert len(shown) < 220


def test_nobody_holds_it_beside_another_and_nobody_starves(leases):
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
