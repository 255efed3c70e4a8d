"""M/D/c against a table that was computed elsewhere, and against Erlang's formula for one server."""

from __future__ import annotations

import math

import pytest

from benchmark.stats.queueing import highest_load, kept


@pytest.mark.parametrize(
    ("servers", "limit", "percentile", "load"),
    [(1, 2, 99, 0.1352), (1, 5, 99, 0.5608), (2, 3, 95, 0.7065), (4, 5, 90, 0.9333)],
)
def test_the_highest_load_is_that_of_the_table(servers, limit, percentile, load):
    assert highest_load(servers, limit, percentile) == pytest.approx(load, abs=1e-4)


def test_one_server_waits_as_erlang_says():
    # P(wait <= x) for D = 1 and x in [1, 2): (1 - r) * (e^(r x) - r (x - 1) e^(r (x - 1)))
    load, wait = 0.7, 1.5
    erlang = (1 - load) * (math.exp(load * wait) - load * (wait - 1) * math.exp(load * (wait - 1)))
    assert kept(load, 1, wait + 1) == pytest.approx(erlang, abs=1e-8)


def test_no_load_keeps_a_limit_below_the_service_time():
    assert highest_load(2, 0.9, 50) == 0
    assert kept(0.1, 2, 0.9) == 0
