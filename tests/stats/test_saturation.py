"""A queue that grows differs from one that has a long moment: saturation is the first alone."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.stats.saturation import growth
from tests.benchmarks.rate_search_targets import answered

SERVICE_S = 0.01


def watched(load, seconds, seed, stalled_at=None):
    """Moments and outstanding requests of an M/D/1 queue at this load."""
    rng = np.random.default_rng(seed)
    rate = load / SERVICE_S
    arrivals = np.sort(rng.uniform(0, seconds, rng.poisson(rate * seconds)))
    ends = arrivals + answered(arrivals, 1, SERVICE_S)
    if stalled_at is not None:
        ends = np.where(ends > stalled_at, np.maximum(ends, stalled_at + 0.5), ends)
    moments = np.arange(0, seconds, 0.02)
    outstanding = np.searchsorted(arrivals, moments) - np.searchsorted(np.sort(ends), moments)
    return moments, outstanding, len(arrivals)


def test_above_the_capacity_it_grows_by_what_comes_too_much():
    assert growth(*watched(1.5, 5, seed=1)) == pytest.approx(50, rel=0.25)


def test_below_the_capacity_it_does_not_grow():
    grown = [growth(*watched(0.9, 5, seed)) is not None for seed in range(100)]
    assert sum(grown) <= 2


def test_a_device_that_stalls_once_is_not_saturated():
    assert growth(*watched(0.3, 4, seed=2, stalled_at=1.0)) is None


def test_few_requests_say_nothing():
    assert growth(np.arange(100.0), np.arange(100.0), 50) is None
