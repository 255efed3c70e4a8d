"""One thing at a time on a host: a cell that is timed, or the compilations of one command.

Fair lock: waiters queue on a second lock, so that a looping holder can't starve them.
"""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path

from filelock import FileLock

_POLL_S = 0.01


class HostLock:
    """File lock of this host: one command at a time holds it, of any user."""

    def __init__(self, folder: Path | None = None) -> None:
        place = folder or Path(tempfile.gettempdir())
        self._queue = FileLock(place / "benchmark-queue.lock", mode=0o666, thread_local=False)
        self._host = FileLock(place / "benchmark-host.lock", mode=0o666, thread_local=False)
        self._threads = threading.Lock()

    def acquire(self) -> None:
        """Wait until the host is free, and hold it; do nothing if this command holds it already."""
        with self._threads:
            if not self._host.is_locked:
                with self._queue.acquire(poll_interval=_POLL_S):
                    self._host.acquire(poll_interval=_POLL_S)

    def release(self) -> None:
        """Free the host for other commands."""
        with self._threads:
            self._host.release(force=True)
