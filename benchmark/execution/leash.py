"""Ends a process with the one that holds the other end of a pipe, however that one ends.

The standard library is all that is imported here, as in the server that children are forked from.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import sys
import threading
from contextlib import suppress
from typing import Final

LEASH: Final = "BENCHMARK_LEASH"
"""Environment variable: the pipe by which a process of another interpreter sees the end of its command."""


def follow(leash: int) -> None:
    """End this process group when the other end of the pipe `leash` is closed, also by its owner's death.

    On Linux the kernel does it: a thread would wait for a compiler that holds Python's global lock.
    """
    if sys.platform != "linux":
        threading.Thread(target=_wait_and_end, args=(leash,), daemon=True).start()
        return
    fcntl.fcntl(leash, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(leash, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(leash, fcntl.F_SETFL, fcntl.fcntl(leash, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([leash], [], [], 0)[0]:  # it was closed before
        _wait_and_end(leash)


def follow_parent() -> None:
    """In a process of another interpreter: end with the command that has started it."""
    if leash := os.environ.pop(LEASH, ""):
        follow(int(leash))


def follow_no_more(leash: int) -> None:
    """Undo `follow` on Linux."""
    fcntl.fcntl(leash, fcntl.F_SETFL, fcntl.fcntl(leash, fcntl.F_GETFL) & ~os.O_ASYNC)


def _wait_and_end(leash: int) -> None:
    with suppress(OSError):
        os.read(leash, 1)
    os.killpg(0, signal.SIGKILL)
