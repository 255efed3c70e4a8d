"""Work folders of the compile cache. Their names show whether the builder still lives."""

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
"""Age at which an unfinished build of another host counts as abandoned."""
CLOCK_SLACK_S = 60.0
"""Tolerance between start times of processes and times of files."""


def delete(path: Path) -> None:
    """Delete a file or a whole folder. What can't be deleted stays until the next sweep."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def work_name() -> str:
    """Name for a work folder of this process. `is_abandoned` reads the owner from it."""
    return f"{_here()}-{os.getpid()}-{uuid.uuid4().hex}"


def _here() -> str:
    """Host and process namespace: containers can share a hostname without sharing process ids."""
    try:
        processes = Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        processes = 0
    return f"{socket.gethostname()}.{processes}"


def is_abandoned(leftover: Path, prefix: str = "") -> bool:
    """Whether the process that made a work folder is gone. For other hosts the age decides.

    `prefix` stands before its `work_name`.
    """
    try:
        changed_at = leftover.stat().st_mtime
    except OSError:
        return False  # its owner has just deleted it
    here, _, tail = leftover.name.removeprefix(prefix).rpartition("-")[0].rpartition("-")
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
