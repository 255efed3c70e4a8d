"""Searches on queues whose limit is known; tests/benchmarks/rate_search_targets.py prints all of them."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.stats.queue_model import QueueModel
from benchmark.stats.queueing import highest_load
from benchmark.stats.rate_search import MOST_POINTS, WARMUP, RateSearch, Trial
from tests.benchmarks.rate_search_targets import answered, equal, searched

LENGTH_S = 75 / 15


@pytest.mark.parametrize(("servers", "limit", "percentile", "first"), [(1, 5, 99, 0.4), (4, 3, 90, 2.5)])
def test_a_search_finds_the_exact_limit_wherever_it_begins(servers, limit, percentile, first):
    search = searched(servers, limit, percentile, seed=3, first=first)
    rate, lo, hi = search.found()
    assert rate == pytest.approx(100, rel=0.05)
    assert lo <= 100 <= hi
    assert len({trial.rate for trial in search.trials}) <= MOST_POINTS
    assert sum(trial.spent_s for trial in search.trials) <= 75 + LENGTH_S


def test_the_result_stands_on_replications_that_confirm_it():
    roles = [trial.role for trial in searched(1, 5, 90, seed=1).trials]
    assert roles == sorted(roles, reverse=True)  # "search" first
    assert roles.count("confirm") >= 6


def test_delays_that_no_service_time_shows_lower_the_rate():
    # Answers come half a service time later than calls end: the limit of 5 is one of 4.5.
    service_s, rng = 0.007, np.random.default_rng(5)
    search = RateSearch(
        0.05,
        lambda calls: QueueModel(1, 1, 0.0, calls),
        start=80.0,
        seconds=75.0,
        precision=0.03,
    )
    while wanted := search.next():
        arrivals = np.sort(rng.uniform(0, LENGTH_S, rng.poisson(wanted.rate * LENGTH_S)))
        late = answered(arrivals, 1, service_s) + service_s / 2 > 5 * service_s
        calls = {1: equal(len(arrivals), service_s, 4 * service_s)}
        search.add(Trial(wanted.rate, wanted.role, LENGTH_S, WARMUP * LENGTH_S, arrivals, late, calls))
    rate, lo, hi = search.found()
    exact, naive = (highest_load(1, limit, 95) / service_s for limit in (4.5, 5))
    assert rate == pytest.approx(exact, rel=0.04)
    assert lo <= exact <= hi < naive


def test_a_limit_that_no_rate_keeps_ends_the_search_without_a_rate():
    search = RateSearch(
        0.01,
        lambda calls: QueueModel(1, 1, 0.0, calls),
        start=50.0,
        seconds=20.0,
        precision=0.03,
    )
    while wanted := search.next():
        arrivals = np.linspace(0, 1, 200)
        calls = {1: equal(200, 0.01, 0.001 - 0.01)}
        search.add(Trial(wanted.rate, wanted.role, 1.0, 0.2, arrivals, np.ones(200, bool), calls))
    assert search.found() is None
