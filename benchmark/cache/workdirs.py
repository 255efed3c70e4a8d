"""Work folders of the compile cache: named so that a killed builder's can be told from a living one's."""

from __future__ import annotations

import os
import shutil
import socket
import time
import uuid
from contextlib import suppress
from pathlib import Path

import psutil

FOREIGN_BUILD_S = 24 * 3600.0
"""Age at which another host's unfinished build is given up."""
CLOCK_SLACK_S = 60.0
"""Start times of processes and times of files may disagree this much."""


def delete(path: Path) -> None:
    """Delete a file or a whole folder; what can't be deleted stays for the next sweep."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def work_name() -> str:
    """Name for a folder of this process, from which `is_abandoned` reads its owner."""
    return f"{_here()}-{os.getpid()}-{uuid.uuid4().hex}"


def _here() -> str:
    """Where a process id means something: containers can share a hostname without sharing processes."""
    try:
        processes = Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        processes = 0
    return f"{socket.gethostname()}.{processes}"


def is_abandoned(leftover: Path) -> bool:
    """Tell whether the process that made this work folder is gone; of other hosts, only age tells."""
    try:
        changed_at = leftover.stat().st_mtime
    except OSError:
        return False  # its owner has just cleared it away
    here, _, tail = leftover.name.rpartition("-")[0].rpartition("-")
    if here != _here() or not tail.isdecimal():
        return time.time() - changed_at > FOREIGN_BUILD_S
    try:
        process = psutil.Process(int(tail))
        zombie: bool = process.status() == psutil.STATUS_ZOMBIE
        started_at: float = process.create_time()
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:
        return False
    reused = started_at > changed_at + CLOCK_SLACK_S  # a builder is older than its folder
    return zombie or reused
