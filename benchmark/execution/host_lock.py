"""One thing at a time on a host: a cell that is timed, or the compilations of one command.

Fair lock: waiters queue on a second lock, so that a looping holder can't starve them. A file in /tmp says
which command holds the host, for those that wait.
"""

from __future__ import annotations

import os
import re
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from benchmark.host import machine
from benchmark.host.mutex import PLACE, Mutex
from benchmark.records import frozen

LOCK_NAME: Final = "BENCHMARK_HOST_LOCK"
"""Environment variable: commands that set it to different words don't wait for each other, as tests do."""
_LOOK_S: Final = 0.25
"""How often a command that waits looks for the holder."""
_READABLE: Final = 0o644
_MOST_CHARACTERS: Final = 160

Waiting = Callable[[str], None]
"""Gets a description of the holder as soon as a command waits, and when the holder changes."""


@frozen
class Holder:
    """The command that holds the host."""

    pid: int
    process_started_s: float | None
    command: str
    campaign: str
    """Empty for commands without one."""
    since_s: float
    """When it got the host, in seconds since 1970."""

    @property
    def is_running(self) -> bool:
        """Whether its process lives; a file of one that was killed stays behind."""
        return machine.is_running(self.pid, self.process_started_s)

    def __str__(self) -> str:
        command = "".join(letter if letter.isprintable() else "?" for letter in self.command)
        if len(command) > _MOST_CHARACTERS:
            command = command[:_MOST_CHARACTERS] + " …"
        campaign = f"campaign {self.campaign}, " if self.campaign.isprintable() and self.campaign else ""
        since = f"{datetime.fromtimestamp(self.since_s).astimezone():%H:%M:%S}"
        return f"{command} ({campaign}pid {self.pid}) has it since {since}"


_HOLDER = TypeAdapter(Holder)
_UNKNOWN: Final = "another command has it"


class HostLock:
    """Lock on this host: one command at a time holds it, of any user."""

    def __init__(self, shared: Path | None = None) -> None:
        """`shared` is a folder, such as the cache: commands in containers that share it are excluded too."""
        self._name = re.sub(r"\W", "_", os.environ.get(LOCK_NAME) or "host")[:40]
        self._queue = Mutex(f"{self._name}-queue", shared)
        self._host = Mutex(self._name, shared)
        self._threads = threading.Lock()

    def acquire(self, campaign: str = "", waiting: Waiting = lambda _: None) -> None:
        """Wait until the host is free, and hold it; do nothing if this command holds it already."""
        with self._threads:
            if self._host.is_held:
                return
            self._take(self._queue, waiting)
            try:
                self._take(self._host, waiting)
            finally:
                self._queue.close()
            self._sign(campaign)

    def release(self) -> None:
        """Free the host for other commands."""
        with self._threads:
            if self._host.is_held:
                with suppress(OSError):
                    self._signature.unlink(missing_ok=True)
            self._host.close()

    def holder(self) -> Holder | None:
        """The command that holds the host; None where it is unknown."""
        found = (holder_of(file) for file in PLACE.glob(f"benchmark-{self._name}-[0-9]*.json"))
        return max(filter(None, found), key=lambda holder: holder.since_s, default=None)

    def _take(self, lock: Mutex, waiting: Waiting) -> None:
        reported = None
        while not lock.acquire(_LOOK_S):
            if (now := str(self.holder() or _UNKNOWN)) != reported:
                reported = now
                waiting(now)

    @property
    def _signature(self) -> Path:
        return PLACE / f"benchmark-{self._name}-{os.getpid()}.json"

    def _sign(self, campaign: str) -> None:
        """Say who holds the host. A file for each process: another user's can't be replaced."""
        mine = Holder(
            pid=os.getpid(),
            process_started_s=machine.process_started_s(os.getpid()),
            command=machine.command(),
            campaign=campaign,
            since_s=time.time(),
        )
        with suppress(OSError):  # a full disk; the others then don't know the holder
            descriptor, fresh = tempfile.mkstemp(dir=PLACE, prefix="benchmark-", suffix=".new")
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(_HOLDER.dump_json(mine))
                    os.fchmod(descriptor, _READABLE)
                Path(fresh).replace(self._signature)
            except OSError:
                Path(fresh).unlink()
                raise


def holder_of(file: Path) -> Holder | None:
    """The running command that a file names; None for another file, or a command that has ended."""
    with suppress(OSError, ValidationError):
        if file.is_file() and not file.is_symlink():
            found = _HOLDER.validate_json(file.read_bytes())
            return found if found.is_running else None
    return None
