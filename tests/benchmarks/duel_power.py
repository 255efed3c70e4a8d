"""What turn-taking finds, and what it finds where nothing is: duels of tiny BERT with itself, and 5 % slower.

python tests/benchmarks/duel_power.py [--duels 20] [--pairs 8] [--turns 20] [--neighbour] [overrides]

The slower side is an interpreter with a copy of this program whose TorchScript model waits, busily, for 5 %
of each call's time. After each duel the same sides are measured in the usual way, one process after another,
and the usual rule is asked of each two: does the p50 differ by more than 5 %? (Of a true 5 % it finds half.)
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmark.stats.ratio_test import CONFIDENCE, RatioTest, ratio_test, turns_ratio
from benchmark.timing import duel

ROOT = Path(__file__).parents[2]
CELL = ("model=bert_tiny", "compiler=torchscript")
USUAL = 0.05

SLOWER = """

_honest = TorchScript.load


def _slower(self, workload, folder):
    import time
    from dataclasses import replace

    session = _honest(self, workload, folder)

    def run():
        start = time.perf_counter_ns()
        outputs = session.run()
        until = start + (time.perf_counter_ns() - start) * 105 // 100
        while time.perf_counter_ns() < until:
            pass
        return outputs

    return replace(session, run=run)


TorchScript.load = _slower
"""


class Duels(NamedTuple):
    """One duel."""

    ratio_test: RatioTest
    seconds: float
    """From the start of the first pair to the end of the last; the sides had been started before."""
    p50s: list[float]
    """Ratios of p50, each of two processes that ran one after the other."""

    @property
    def by_p50(self):
        """For each two processes, whether their p50 differ by more than the usual 5 %."""
        return [abs(ratio - 1) > USUAL for ratio in self.p50s]


def slower_python(folder):
    """An interpreter whose copy of this program is 5 % slower."""
    for part in ("benchmark", "conf"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    with (folder / "benchmark" / "compilers" / "torchscript.py").open("a") as module:
        module.write(SLOWER)
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={folder} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    return str(python)


def p50_alone(side, number, turns, calls):
    """The usual way: one process from its start to its end."""
    side.warm(number)
    latencies = [ns for turn in range(turns) for ns in side.block(turn, calls).nanoseconds]
    side.dismiss()
    return statistics.median(latencies)


def play(sides, seed, options):
    since = time.perf_counter()
    coin = random.Random(seed)  # noqa: S311 - no secret
    pairs = list(duel._pairs(sides, options.pairs, options.turns, options.calls, coin))
    seconds = time.perf_counter() - since
    calls = round(statistics.median(pair.calls for pair in pairs))
    alone = [
        {name: p50_alone(side, number, options.turns, calls) for name, side in sides.items()}
        for number in range(options.alone)
    ]
    found = ratio_test([turns_ratio(pair.a.blocks, pair.b.blocks) for pair in pairs])
    ended = Duels(found, seconds, [p50["B"] / p50["A"] for p50 in alone])
    idle_ms = 1e3 * statistics.fmean(t.idle_cpu_s for p in pairs for s in (p.a, p.b) for t in s.turns)
    print(
        f"  {found.ratio:.4f} [{found.lo:.4f}, {found.hi:.4f}] {found.verdict}, {seconds:.0f} s, "
        f"blocks of {calls}, idle {idle_ms:.2f} ms CPU a turn, load {os.getloadavg()[0]:.1f}; "
        f"p50 one after the other: {min(ended.p50s):.3f} to {max(ended.p50s):.3f}",
        flush=True,
    )
    return ended


@contextmanager
def neighbour(wanted):
    """Somebody who computes all the time."""
    command = [sys.executable, "-c", "while True: pass"]
    process = subprocess.Popen(command) if wanted else None
    try:
        yield
    finally:
        if process:
            process.kill()
            process.wait()


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--duels", type=int, default=20, help="of each kind")
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--alone", type=int, default=1, help="of each side after a duel, in the usual way")
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--calls", type=int, default=40, help="in a block at most")
    parser.add_argument(
        "--neighbour", action="store_true", help="beside a process that computes all the time"
    )
    parser.add_argument("overrides", nargs="*", help=f"beside {' '.join(CELL)}")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, neighbour(options.neighbour):
        folder = Path(name)
        cell = (*CELL, f"cache.root={folder / 'cache'}", *options.overrides)
        honest = duel.SideSpec(overrides=cell)
        slower = duel.SideSpec(overrides=cell, python=slower_python(folder / "slower"))
        summary = []
        for kind, rival, verdict in (("A/A", honest, "false alarms"), ("+5 %", slower, "found")):
            print(f"{kind}: ratio [interval at {CONFIDENCE}] and verdict of each duel")
            since = time.perf_counter()
            with duel.seated({"A": honest, "B": rival}, folder / kind[0]) as sides:
                print(f"  both sides started in {time.perf_counter() - since:.0f} s")
                ended = [play(sides, number, options) for number in range(options.duels)]
            by_turns = [one.ratio_test.verdict in {"regression", "improvement"} for one in ended]
            usual = [alarm for one in ended for alarm in one.by_p50]
            summary.append(
                f"{kind}, {verdict}: by turns {sum(by_turns)} of {len(ended)}, "
                f"by p50 of one process each {sum(usual)} of {len(usual)}; "
                f"median {statistics.median(one.seconds for one in ended):.0f} s a duel"
            )
    print(*summary, sep="\n")


if __name__ == "__main__":
    main()
