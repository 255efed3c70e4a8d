"""The timing loop and what is computed from its samples."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


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


def percentile(samples: Sequence[float] | np.ndarray, q: float) -> float | None:
    """The median-unbiased quantile, or None with fewer than 1 / (1 - q) samples: it would be extrapolated.

    p90 needs 10 samples, p95 20 and p99 100: with fewer, the largest is all that is known of that tail.
    The median has no tail: one sample is enough.
    """
    return percentiles(samples, (q,))[0]


def percentiles(samples: Sequence[float] | np.ndarray, qs: Sequence[float]) -> list[float | None]:
    """`percentile` for several quantiles at once."""
    enough = [q for q in qs if len(samples) >= (round(1 / (1 - q)) if q > 0.5 else 1)]  # noqa: PLR2004 - the median
    found = np.quantile(samples, enough, method="median_unbiased") if enough else ()
    told = dict(zip(enough, map(float, found), strict=True))
    return [told.get(q) for q in qs]
