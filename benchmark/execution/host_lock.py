"""One thing at a time on a host: a cell that is timed, or the compilations of one command.

Fair lock: waiters queue on a second lock, so that a looping holder can't starve them. A file beside the locks
says which command holds the host, for those that wait.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout
from pydantic import TypeAdapter, ValidationError

from benchmark.host import machine
from benchmark.paths import write_whole
from benchmark.records import frozen

_POLL_S: Final = 0.01
_LOOK_S: Final = 0.25
"""How often a command that waits looks for the holder."""
_OLD_S: Final = 24 * 3600.0
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
    """File lock of this host: one command at a time holds it, of any user."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or Path(tempfile.gettempdir())
        self._queue = FileLock(self._folder / "benchmark-queue.lock", mode=0o666, thread_local=False)
        self._host = FileLock(self._folder / "benchmark-host.lock", mode=0o666, thread_local=False)
        self._threads = threading.Lock()

    def acquire(self, campaign: str = "", waiting: Waiting = lambda _: None) -> None:
        """Wait until the host is free, and hold it; do nothing if this command holds it already."""
        with self._threads:
            if self._host.is_locked:
                return
            self._take(self._queue, waiting)
            try:
                self._take(self._host, waiting)
            finally:
                self._queue.release()
            self._sign(campaign)

    def release(self) -> None:
        """Free the host for other commands."""
        with self._threads:
            if self._host.is_locked:
                with suppress(OSError):
                    self._signature.unlink(missing_ok=True)
            self._host.release(force=True)

    def holder(self) -> Holder | None:
        """The command that holds the host; None where it is unknown."""
        return max(self._holders(), key=lambda holder: holder.since_s, default=None)

    def _take(self, lock: FileLock, waiting: Waiting) -> None:
        reported = None
        while True:
            try:
                lock.acquire(timeout=_LOOK_S, poll_interval=_POLL_S)
            except Timeout:
                if (now := str(self.holder() or _UNKNOWN)) != reported:
                    reported = now
                    waiting(now)
            else:
                return

    @property
    def _signature(self) -> Path:
        return self._folder / f"benchmark-holder-{os.getpid()}.json"

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
            write_whole(self._signature, _HOLDER.dump_json(mine))

    def _holders(self) -> Iterator[Holder]:
        """Commands that wrote such a file and run; files of others are removed when they are old."""
        for file in self._folder.glob("benchmark-holder-*.json"):
            with suppress(OSError, ValidationError):
                found = _HOLDER.validate_json(file.read_bytes())
                if found.is_running:
                    yield found
                elif time.time() - found.since_s > _OLD_S:
                    file.unlink()
