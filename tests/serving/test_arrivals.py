"""Schedules: distributed as named, the same for the same seed, and never stretched."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest

from benchmark.serving.arrivals import schedule, stream


def gaps(arrivals, seed, **options):
    return np.diff(schedule(arrivals, 100.0, 50.0, stream(seed, 0), **options)) / 1e9


def test_poisson_gaps_are_exponential():
    passed = [kstest(gaps("poisson", seed), "expon", args=(0, 0.01)).pvalue > 0.01 for seed in range(100)]
    assert sum(passed) >= 95


def test_counts_vary_as_poisson_counts_do():
    """Stretched to a fixed number of requests, they would all be the same."""
    counts = [len(schedule("poisson", 100.0, 1.0, stream(7, number))) for number in range(1000)]
    assert np.var(counts) / np.mean(counts) == pytest.approx(1, abs=0.1)


def test_constant_gaps_are_all_the_same():
    found = gaps("constant", 0)
    assert found.std() / found.mean() < 0.02
    assert len(found) == 4999


@pytest.mark.parametrize("burstiness", [0.25, 4.0])
def test_gamma_gaps_vary_as_asked(burstiness):
    found = gaps("gamma", 1, burstiness=burstiness)
    assert found.mean() == pytest.approx(0.01, rel=0.1)
    assert found.std() / found.mean() == pytest.approx(burstiness**-0.5, rel=0.1)


@pytest.mark.parametrize("arrivals", ["poisson", "gamma"])
def test_the_same_seed_is_the_same_schedule_to_the_nanosecond(arrivals):
    def made(*key, **which):
        return schedule(arrivals, 100.0, 1.0, stream(*key, **which), 0.5).tolist()

    assert made(1, 2) == made(1, 2)
    assert made(1, 2) != made(1, 3)
    assert made(1, 2) != made(2, 2)
    assert made(1, 2) != made(1, 2, confirming=True)
    assert made(1, 2) != made(1, 2, of_lengths=True) != made(1, 2, confirming=True)
