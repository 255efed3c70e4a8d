"""A drill: commands with temporary folders of their own take turns on the host; holders are killed.

By hand: python -m tests.chaos.kill_locks --times 200 --seed 0

Each writes down when it holds the host. No two hold it at once, the dead hold nothing, and no file
of theirs stays behind.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

from benchmark.execution import leftovers
from benchmark.execution.host_lock import LOCK_NAME
from benchmark.host.mutex import PLACE
from tests.chaos.drills import arguments, report

COMMANDS = 3
TURNS = """
import os, sys, time
from benchmark.execution.host_lock import HostLock
lock, diary = HostLock(), os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
def say(word):
    os.write(diary, f"{os.getpid()} {word}\\n".encode())
while True:
    lock.acquire()
    say("has")
    time.sleep(0.004)
    say("gives")
    lock.release()
"""


def drill(times, seed, folder):
    """Kill so many holders and waiters; return the number of turns, of kills, and what went wrong."""
    moment, diary, name = random.Random(seed), folder / "diary", f"drill_{uuid.uuid4().hex[:12]}"  # noqa: S311
    killed = set()

    def command(number):
        place = folder / f"tmp-{number}"
        place.mkdir(exist_ok=True)
        environment = {**os.environ, LOCK_NAME: name, "TMPDIR": str(place)}
        environment["PYTHONPATH"] = str(Path(__file__).parents[2])
        return subprocess.Popen([sys.executable, "-c", TURNS, str(diary)], env=environment)

    commands = [command(number) for number in range(COMMANDS)]
    while len(killed) < times:
        wait_for_turns(diary, {str(one.pid) for one in commands}, since=len(turns(diary)))
        time.sleep(moment.uniform(0, 0.02))
        number = moment.randrange(COMMANDS)
        commands[number].kill()
        commands[number].wait()
        killed.add(commands[number].pid)
        commands[number] = command(number)
    for one in commands:
        one.kill()
        one.wait()
        killed.add(one.pid)
    leftovers.clear()
    left = [file.name for file in PLACE.glob(f"benchmark-{name}*")]
    return len(turns(diary)), times, [*overlaps(turns(diary), killed), *left]


def turns(diary):
    """What the commands have written down: process id and word."""
    return [tuple(line.split()) for line in diary.read_text().splitlines()] if diary.exists() else []


def wait_for_turns(diary, pids, since):
    """Wait until each of them has had a turn: none is stuck, and all want the lock."""
    deadline = time.monotonic() + 60
    while pids - {pid for pid, _ in turns(diary)[since:]}:
        assert time.monotonic() < deadline, "a command never gets the lock"
        time.sleep(0.01)


def overlaps(lines, killed):
    """Turns that began before the one before had ended, unless its command was killed."""
    holder = None
    for place, (pid, word) in enumerate(lines):
        if word == "gives":
            if pid != holder:
                yield f"line {place}: {pid} gives what {holder} has"
            holder = None
        else:
            if holder is not None and (int(holder) not in killed or (holder, "gives") in lines[place:]):
                yield f"line {place}: {pid} has it beside {holder}"
            holder = pid


def main():
    """Drill in a temporary folder; exit code 1 if a promise was broken."""
    asked = arguments(__doc__, times=200, what="kills")
    with tempfile.TemporaryDirectory() as folder:
        taken, kills, faults = drill(asked.times, asked.seed, Path(folder))
    return report(f"{kills} kills amid {taken} turns", faults)


if __name__ == "__main__":
    sys.exit(main())
