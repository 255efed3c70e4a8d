"""Finding processes by a word in their environment, which children and grandchildren inherit."""

from __future__ import annotations

import os
import time
import uuid
from pathlib import Path

VARIABLE = "BENCHMARK_CHAOS"


def marked():
    """An environment that marks whatever is started with it, and the mark."""
    mark = uuid.uuid4().hex
    return {**os.environ, VARIABLE: mark, "NO_COLOR": "1"}, mark


def alive(mark):
    """Process ids that bear the mark; the dead who only wait to be counted are none."""
    wanted = f"{VARIABLE}={mark}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
                found += [int(folder.name)] if state not in "ZX" else []
        except OSError:  # gone meanwhile, or another user's
            continue
    return found


def survivors(mark, within_s=2.0):
    """Those who bear the mark after so many seconds; at once when there are none."""
    deadline = time.monotonic() + within_s
    while (found := alive(mark)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


def wait_for(happened, within_s=60.0):
    """Look until it has happened, and return what was seen."""
    deadline = time.monotonic() + within_s
    while not (seen := happened()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)
    return seen
