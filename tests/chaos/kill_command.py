"""A drill: commands are killed with SIGKILL while their children import or work; nothing of them goes on.

By hand: python -m tests.chaos.kill_command --times 60 --seed 0

Their children have started daemons: in sessions of their own, by two forks, in the group of the child. They
keep Python's lock, as compilers do. Three kinds of command take turns: with a server of its own, with one
that stays warm, with the worker of another interpreter; and a fourth that is still importing torch.
"""

from __future__ import annotations

import ctypes
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from unittest import mock

from benchmark.execution import leftovers
from tests.chaos.drills import arguments, report
from tests.chaos.hostile_acts import daemon_by_two_forks, daemon_of_its_own_session
from tests.chaos.survivors import alive, marked, survivors, wait_for

COMMAND = """
import sys
from pathlib import Path
from unittest import mock
from benchmark.execution.forkserver import ChildLimits
from benchmark.execution.interpreters import Interpreters
from benchmark.execution.server_connection import CORE
from tests.chaos.kill_command import daemons_then_work

kind, ready = sys.argv[1:]
other, core = {sys.executable: ()} if kind == "worker" else {}, CORE if kind == "importing" else ("json",)
modules, keep_warm_s = {*core, "tests.chaos.kill_command"}, 0.5 * (kind == "warm")
children = Interpreters(modules, other, core=core, keep_warm_s=keep_warm_s)
limits = ChildLimits(log=Path(ready).with_suffix(".log"), timeout_s=60)
children.call_in(sys.executable if other else None)(limits, daemons_then_work, ready)
"""
KINDS = ("own", "warm", "worker", "importing")
LATEST_S = 1.5
"""Kills amid imports fall within so many seconds from the start; amid work, within a tenth after it began."""


def daemons_then_work(ready):
    """In the child: start what should not outlive it, then work without letting Python's lock go."""
    daemon_of_its_own_session()
    daemon_by_two_forks()
    subprocess.Popen(["sleep", "60"])
    Path(ready).touch()
    ctypes.PyDLL(None).sleep(60)


def killed(kind, folder, moment):
    """Kill a command at a random moment; return what it was at, and what is still alive two seconds later."""
    environment, mark = marked()
    ready = folder / f"{mark}.ready"
    environment["TMPDIR"] = str(folder)
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    command = [sys.executable, "-c", COMMAND, kind, str(ready)]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, cwd=folder)
    if kind != "importing" and moment.random() < 0.7:
        wait_for(ready.exists)
        time.sleep(moment.uniform(0, LATEST_S / 10))
    else:
        time.sleep(moment.uniform(0, LATEST_S))
    at = "working" if ready.exists() else "importing"
    before = len(alive(mark))
    process.kill()
    process.wait()
    began, left = time.monotonic(), survivors(mark)
    return at, before, time.monotonic() - began, left


def drill(times, seed, folder):
    """Kill so many commands; return how the kills fell, the longest time to the end of all, and faults."""
    moment, kills, faults, longest = random.Random(seed), Counter(), [], 0.0  # noqa: S311 - no secret
    for number in range(times):
        kind = KINDS[number % len(KINDS)]
        at, before, took, left = killed(kind, folder, moment)
        kills[f"{kind}, {at}"] += 1
        longest = max(longest, took)
        if left:
            names = [(pid, _name(pid)) for pid in left]
            faults.append(f"{kind}, {at}: of {before} processes are alive after {took:.1f} s: {names}")
    return kills, longest, faults


def _name(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:80]
    except OSError:
        return "gone"


def main():
    """Drill in a temporary folder; exit code 1 if a promise was broken."""
    asked = arguments(__doc__, times=60, what="kills")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        kills, longest, faults = drill(asked.times, asked.seed, Path(folder))
        with mock.patch("tempfile.tempdir", folder):
            leftovers.clear()
            faults += [f"left behind: {path}" for path in Path(folder).glob("benchmark-source-*")]
    fell = ", ".join(f"{count} {when}" for when, count in sorted(kills.items()))
    return report(f"{kills.total()} kills ({fell}), all gone in {longest:.2f} s", faults)


if __name__ == "__main__":
    sys.exit(main())
