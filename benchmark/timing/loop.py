"""The timing loop and everything that is computed from its samples, by the names that others import.

estimate, estimate_groups, run_until   intervals.py, on autocorrelation.py
steady_start                           warmup.py
compare                                contrast.py
NightlyDetector                        nightly.py
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from benchmark.stats.intervals import GROWTH, Stopping, estimate, estimate_groups, run_until
from benchmark.stats.ratio_test import compare
from benchmark.stats.regression_detector import NightlyDetector
from benchmark.stats.steady_state import steady_start

__all__ = [
    "GROWTH",
    "NightlyDetector",
    "Stopping",
    "compare",
    "estimate",
    "estimate_groups",
    "measure_calls",
    "run_until",
    "steady_start",
]


def measure_calls(
    fn: Callable[[], Any], n: int, clock: Callable[[], int] = time.perf_counter_ns
) -> list[int]:
    """Latencies of `n` calls in nanoseconds, in order. The list is allocated before the first call."""
    latencies = [0] * n
    for index in range(n):
        start = clock()
        fn()
        latencies[index] = clock() - start
    return latencies
