"""One thing at a time on a host: a cell that is timed, or the compilations of one command.

Two file locks. Whoever wants the host first takes the door, then the host, and then leaves the door: so one
command that takes the host again and again lets another in between.
"""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path

from filelock import FileLock

_POLL_S = 0.01


class HostLock:
    """This host's; held by one command at a time, whatever user runs it."""

    def __init__(self, folder: Path | None = None) -> None:
        place = folder or Path(tempfile.gettempdir())
        self._door = FileLock(place / "benchmark-door.lock", mode=0o666, thread_local=False)
        self._host = FileLock(place / "benchmark-host.lock", mode=0o666, thread_local=False)
        self._threads = threading.Lock()

    def acquire(self) -> None:
        """Wait until the host is free, and hold it; nothing happens where it is held already."""
        with self._threads:
            if not self._host.is_locked:
                with self._door.acquire(poll_interval=_POLL_S):
                    self._host.acquire(poll_interval=_POLL_S)

    def release(self) -> None:
        """Let others have it."""
        with self._threads:
            self._host.release(force=True)
