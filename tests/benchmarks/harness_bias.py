"""What the timing loop adds, against a loop written by hand; and what looking at the samples costs.

python tests/benchmarks/harness_bias.py --turns 40

Both loops call the same function for the same number of calls, in turns that swap who goes first; the
medians of their differences are printed. The function computes for about as long as is said.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
from collections.abc import Callable

import numpy as np

from benchmark.stats.intervals import summary
from benchmark.stats.steady_state import steady_start
from benchmark.timing.harness import measure_calls

CALLS = {"50 us": (50e-6, 400), "1 ms": (1e-3, 40), "20 ms": (20e-3, 5)}


def working(seconds: float) -> Callable[[], float]:
    """A function that computes for about so long."""
    numbers = np.linspace(1, 2, 2000)

    def call(times: int) -> float:
        total = 0.0
        for _ in range(times):
            total += float(np.sqrt(numbers).sum())
        return total

    call(1000)
    took = []
    for _ in range(20):
        start = time.perf_counter()
        call(100)
        took.append((time.perf_counter() - start) / 100)
    times = max(1, round(seconds / min(took)))
    return lambda: call(times)


def by_hand(call, n):
    took, clock = [], time.perf_counter_ns  # looked up beforehand: else that is timed too, 0.1 us here
    for _ in range(n):
        start = clock()
        call()
        took.append(clock() - start)
    return took


def timed(loop, call, n):
    """Median reading, and wall time beside the readings, of one call in ns."""
    start = time.perf_counter_ns()
    took = loop(call, n)
    wall = time.perf_counter_ns() - start
    return statistics.median(took), (wall - sum(took)) / n


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=40)
    turns = parser.parse_args().turns
    gc.freeze()
    gc.disable()
    for name, (seconds, n) in CALLS.items():
        call = working(seconds)
        pairs = []
        for turn in range(turns):
            order = (measure_calls, by_hand)[:: 1 if turn % 2 else -1]
            found = {loop: timed(loop, call, n) for loop in order}
            pairs.append((*found[measure_calls], *found[by_hand]))
        ours, outside, theirs, outside_by_hand = map(np.array, zip(*pairs, strict=True))
        bias = np.median(ours - theirs)
        print(
            f"{name:>6}: p50 {np.median(ours) / 1e3:9.1f} us, by hand {np.median(theirs) / 1e3:9.1f} us; "
            f"bias {bias:+7.0f} ns ({bias / np.median(theirs):+.3%}); "
            f"outside the reading {np.median(outside):4.0f} ns, by hand {np.median(outside_by_hand):4.0f} ns"
        )
    for n in (100, 1000, 5000, 20_000):
        samples = np.random.default_rng(0).lognormal(0, 0.05, n)
        took = []
        for _ in range(12):
            start = time.perf_counter()
            steady_start(samples)
            middle = time.perf_counter()
            summary(samples)
            took.append((middle - start, time.perf_counter() - middle))
        steady, summed = (1e3 * statistics.median(part) for part in zip(*took, strict=True))
        print(f"analysis of {n:6} samples: steady state {steady:5.1f} ms, intervals {summed:5.1f} ms")


if __name__ == "__main__":
    main()
