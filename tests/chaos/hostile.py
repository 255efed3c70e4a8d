"""A drill: children that do their worst. Each cell gets its answer, in time, and nothing of it stays behind.

By hand: python -m tests.chaos.hostile --times 64 --seed 0
"""

from __future__ import annotations

import os
import random
import resource
import sys
import tempfile
import time
import uuid
from collections import Counter
from contextlib import closing
from pathlib import Path
from unittest import mock

import psutil

from benchmark.errors import RunFailure
from benchmark.execution import child_log
from benchmark.execution.forkserver import ChildLimits, Forkserver
from tests.chaos import hostile_acts
from tests.chaos.drills import arguments, report
from tests.chaos.hostile_acts import EXPECTED, deaf_to_signals, stopped
from tests.chaos.survivors import VARIABLE, alive, survivors

TIMEOUT_S = 0.6
"""For those that never answer."""
FEW_S = 8.0
"""Time within which each call returns, on a busy host too."""


def answer(server, limits, function):
    """What a call returns, or the error, as a row would have it."""
    try:
        return server.call(limits, function)
    except RunFailure as error:
        return f"{error.status}: {error}"


def wrong(server, function, folder, mark):
    """What isn't as promised when a child does this, in words."""
    name, began = function.__name__, time.monotonic()
    log, before = folder / f"{name}.log", psutil.Process().memory_info().rss
    log.unlink(missing_ok=True)
    limits = ChildLimits(log=log, timeout_s=TIMEOUT_S if function in {stopped, deaf_to_signals} else 60)
    said = answer(server, limits, function)
    took, grown = time.monotonic() - began, psutil.Process().memory_info().rss - before
    left_behind = [pid for pid in alive(mark) if not in_session_of(server, pid)]
    if not said.startswith(EXPECTED[function]):
        yield f"{name}: {said[:200]!r}"
    if took > FEW_S:
        yield f"{name}: {took:.1f} s"
    if left_behind:
        yield f"{name}: still runs when the call has returned: {left_behind}"
    if child_log.size(log) > child_log.MOST_BYTES:
        yield f"{name}: a log of {child_log.size(log):,} bytes"
    if grown > 30 << 20:
        yield f"{name}: {grown >> 20} MiB more in this process"


def in_session_of(server, pid):
    """Whether it is the server, or its child that waits for work: others have sessions of their own."""
    try:
        return os.getsid(pid) == server._server._process.pid
    except ProcessLookupError:
        return True


def drill(times, seed, folder):
    """Let so many children do their worst, in a random order; return their number by kind, and faults."""
    mark = uuid.uuid4().hex
    order, done, faults = random.Random(seed), Counter(), []  # noqa: S311 - no secret
    with (
        mock.patch.dict(os.environ, {VARIABLE: mark}),
        closing(Forkserver([hostile_acts.__name__])) as server,
    ):
        server.call(ChildLimits(log=folder / "first.log", timeout_s=60), int)
        while done.total() < times:
            for function in order.sample([*EXPECTED], min(len(EXPECTED), times - done.total())):
                faults += wrong(server, function, folder, mark)
                done[function.__name__] += 1
        descriptors = len([*Path("/proc/self/fd").iterdir()])
    faults += [f"still alive: {left}"] if (left := set(survivors(mark)) - {os.getpid()}) else []
    return done, faults, descriptors


def main():
    """Drill in a temporary folder; exit code 1 if a promise was broken."""
    asked = arguments(__doc__, times=64, what="children")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with tempfile.TemporaryDirectory() as folder:
        done, faults, descriptors = drill(asked.times, asked.seed, Path(folder))
    return report(f"{done.total()} hostile children of {len(done)} kinds, {descriptors} open files", faults)


if __name__ == "__main__":
    sys.exit(main())
