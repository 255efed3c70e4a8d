"""Processes that a child has started and left behind, in sessions of their own too: found, and ended.

The server of children and each child are subreapers: the kernel gives the orphans of a child to the child
while it lives, then to the server. So a child of the server that the server hasn't forked is left over.

The standard library is all that is imported here, as in the server.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

MARK: Final = "BENCHMARK_SERVER_MARK"
"""Environment variable of a server and of what its children start: another word for each server."""
_PR_SET_CHILD_SUBREAPER: Final = 36
_PATIENCE_S: Final = 2.0
"""Time for processes to end after they were killed; one that waits for a disk or a device can't."""
_POLL_S: Final = 0.002


def adopt_orphans() -> None:
    """Become the parent of processes that descendants of this one leave behind; Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_children_except(known: Collection[int]) -> None:
    """Kill the children of this process that aren't among the known ones, then what those leave behind."""
    deadline = time.monotonic() + _PATIENCE_S
    while (left := _children().difference(known)) and time.monotonic() < deadline:
        for pid in left:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        time.sleep(_POLL_S)


def end_marked(mark: str) -> None:
    """Kill every process whose environment has the mark: for a server that can no longer end its own."""
    deadline = time.monotonic() + _PATIENCE_S
    while (left := set(_marked(f"{MARK}={mark}".encode()))) and time.monotonic() < deadline:
        for pid in left:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_POLL_S)


def _children() -> set[int]:
    """Process ids of this process's children, those included that have ended and weren't waited for."""
    files = list(Path("/proc/self/task").glob("*/children"))  # of each of its threads
    if files:
        found = set[int]()
        for file in files:
            with suppress(OSError):  # the thread has ended
                found.update(map(int, file.read_text().split()))
        return found
    return {pid for pid in _processes() if _parent(pid) == os.getpid()}  # a kernel that lacks these files


def _parent(pid: int) -> int:
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


def _marked(entry: bytes) -> Iterator[int]:
    for pid in _processes():
        with suppress(OSError):  # it has ended, or is another user's
            if entry in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                yield pid


def _processes() -> Iterator[int]:
    for folder in Path("/proc").glob("[0-9]*"):
        yield int(folder.name)
