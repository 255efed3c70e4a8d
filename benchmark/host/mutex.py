"""Locks that one process of a host holds at a time, free again however their holder ends.

On Linux a lock is the name of an abstract Unix socket: who has bound it holds it. No file stays behind, and
neither TMPDIR nor another user's files and permissions play a part. Elsewhere it is a lock on a file in /tmp.

Containers have names of their own, as they have a network of their own. Where they share a folder, a lock on
a file in it excludes them too. The file is named by the kernel's boot id: all containers of a host have the
same one, and hosts that share the folder over a network have others.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import lru_cache, partial
from pathlib import Path
from typing import Final, Protocol

PLACE: Final = Path("/tmp")  # noqa: S108 - the same for every command, as TMPDIR isn't
"""Folder of what commands of all users on this host read."""
_POLL_S: Final = 0.01
_FOR_ALL: Final = 0o666


class _Taken(Protocol):
    """An open file that holds a part of a lock until it is closed."""

    def close(self) -> None:
        """Free it."""


class Mutex:
    """A lock of this host by name; objects of the same name exclude each other, within a process too."""

    def __init__(self, name: str, folder: Path | None = None) -> None:
        """`name` has letters, digits and `-`, 80 at most; containers that share `folder` are excluded too."""
        take = _bound if sys.platform == "linux" else _locked_in_place
        self._parts: list[Callable[[], _Taken | None]] = [partial(take, f"benchmark-{name}")]
        if folder is not None:
            self._parts.append(partial(_locked_if_possible, folder / f".{name}-{_boot_id()}.lock"))
        self._held = ExitStack()
        self.is_held = False
        """Whether this object holds the lock."""

    def acquire(self, timeout_s: float | None = None) -> bool:
        """Wait for the lock, so long at most; return whether this object holds it now.

        Raises:
            OSError: this process can open no more files.
        """
        until = None if timeout_s is None else time.monotonic() + timeout_s
        while not self._take():
            if until is not None and time.monotonic() >= until:
                return False
            time.sleep(_POLL_S)
        return True

    def close(self) -> None:
        """Free the lock, if this object holds it."""
        self.is_held = False
        self._held.close()

    def _take(self) -> bool:
        with ExitStack() as taken:
            for take in self._parts:
                if (part := take()) is None:
                    return False
                taken.callback(part.close)
            self._held = taken.pop_all()
            self.is_held = True
        return True


def _bound(name: str) -> socket.socket | None:
    """Bind the name; None where another process has."""
    taken = socket.socket(socket.AF_UNIX)
    try:
        taken.bind(f"\0{name}")
    except OSError as error:
        taken.close()
        if error.errno == errno.EADDRINUSE:
            return None
        raise
    return taken


def _locked_in_place(name: str) -> _Taken | None:
    return _locked(PLACE / f"{name}.lock")


def _locked_if_possible(file: Path) -> _Taken | None:
    """Lock a file; where the folder can't be written or knows no locks, hold nothing."""
    try:
        return _locked(file)
    except OSError:
        return ExitStack()


def _locked(file: Path) -> _Taken | None:
    """Lock the file, made where there is none; None where another process has locked it."""
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        descriptor = os.open(file, os.O_RDWR | os.O_CLOEXEC | os.O_CREAT)
        with suppress(OSError):  # another user has just made it
            os.fchmod(descriptor, _FOR_ALL)
    except PermissionError:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    taken = os.fdopen(descriptor)
    try:
        fcntl.flock(taken, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        taken.close()
        return None
    except OSError:
        taken.close()
        raise
    return taken


def scope() -> str:
    """Equal for processes whose locks exclude each other: those of a host, or of a container."""
    try:
        network = Path("/proc/self/ns/net").stat().st_ino
    except OSError:
        network = 0
    return f"{_boot_id()}-{network}"


@lru_cache(maxsize=1)
def _boot_id() -> str:
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return socket.gethostname()
