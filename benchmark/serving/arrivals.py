"""When requests arrive: a schedule, seeded, that is never stretched to end at a given time."""

from __future__ import annotations

import numpy as np

from benchmark.serving_records import Arrivals


def schedule(
    arrivals: Arrivals, rate: float, seconds: float, rng: np.random.Generator, burstiness: float = 1.0
) -> np.ndarray:
    """Nanoseconds from the start of a load to each request, ascending int64, all before `seconds`."""
    if arrivals == "constant":
        times = np.arange(int(np.ceil(rate * seconds))) / rate
    elif arrivals == "poisson":
        times = np.sort(rng.uniform(0, seconds, rng.poisson(rate * seconds)))
    else:
        times = _renewals(rate, seconds, rng, burstiness)
    return (times[times < seconds] * 1e9).astype(np.int64)


def stream(
    seed: int, replication: int, *, confirming: bool = False, of_lengths: bool = False
) -> np.random.Generator:
    """The generator of one replication: independent of all others, the same for the same seed.

    Those that confirm a result have other streams than those that found it, and lengths than arrivals.
    """
    key = (2 * of_lengths + confirming, replication)
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def _renewals(rate: float, seconds: float, rng: np.random.Generator, burstiness: float) -> np.ndarray:
    """Arrivals with gamma gaps of mean 1/rate."""
    block = int(rate * seconds) + 100
    times = np.cumsum(rng.gamma(burstiness, 1 / (rate * burstiness), block))
    while times[-1] < seconds:
        more = rng.gamma(burstiness, 1 / (rate * burstiness), block)
        times = np.concatenate([times, times[-1] + np.cumsum(more)])
    return times
