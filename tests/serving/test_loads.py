"""Loads of a run, on a queue that is computed at once instead of waited for."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.errors import Incompatible, Saturated
from benchmark.serving.figures import Replication, figures, is_late
from benchmark.serving.loads import Search, one_load
from benchmark.serving.replications import Kept
from benchmark.serving_records import Observed, ServingOptions
from tests.benchmarks.rate_search_targets import answered

SERVICE_S = 0.01
WITHIN = ServingOptions(slo_ms=50.0, percentile=95.0, search_s=60.0)
SERVICES = {1: np.full(20, SERVICE_S)}


class Queue:
    """An M/D/1 queue; `late_ns` is how late the generator issues each request."""

    def __init__(self, late_ns=0, most=None):
        self.loads, self.late_ns, self.most = [], late_ns, most

    def __call__(self, schedule_ns):
        if len(self.loads) == self.most:
            raise KeyboardInterrupt
        self.loads.append(schedule_ns)
        issued = schedule_ns + self.late_ns
        ended = issued + (answered(issued / 1e9, 1, SERVICE_S) * 1e9).astype(int)
        ones = np.ones(len(issued), int)
        return Observed(
            scheduled=schedule_ns,
            issued=issued,
            started=ended - round(SERVICE_S * 1e9),
            ended=ended,
            room=ones,
            first=ones > 0,
            growing=None,
        )


def test_a_search_that_was_stopped_goes_on_with_what_it_has(tmp_path):
    whole, stopped = Queue(), Queue(most=4)
    expected = Search(WITHIN, SERVICES, whole, Kept(tmp_path / "whole")).made()
    with pytest.raises(KeyboardInterrupt):
        Search(WITHIN, SERVICES, stopped, Kept(tmp_path / "stopped")).made()
    rest = Queue()
    assert Search(WITHIN, SERVICES, rest, Kept(tmp_path / "stopped")).made() == pytest.approx(expected)
    assert len(rest.loads) == len(whole.loads) - 4
    assert Kept(tmp_path / "stopped").table().num_rows == len(whole.loads)


def test_what_confirms_a_rate_has_other_arrivals_than_what_found_it(tmp_path):
    queue = Queue()
    search = Search(WITHIN, SERVICES, queue, Kept(tmp_path))
    rate, lo, hi = search.made()
    assert rate == pytest.approx(69.4, rel=0.05)  # 0.6938 of the capacity, 100/s
    assert lo < rate < hi
    assert len({load[:3].tobytes() for load in queue.loads}) == len(queue.loads)
    assert all(one.confirms for one in search.confirming)
    load = figures(search.confirming, WITHIN)
    share, low, high = load.attainment
    assert low < 0.95 < high
    assert share == pytest.approx(0.95, abs=0.03)


def test_a_limit_below_a_call_alone_needs_no_load(tmp_path):
    queue = Queue()
    options = ServingOptions(slo_ms=5.0)
    with pytest.raises(
        Saturated, match=r"no rate keeps 5.00 ms: one call alone takes 10.0 ms: raise scenario"
    ):
        Search(options, SERVICES, queue, Kept(tmp_path))
    assert not queue.loads


def test_a_late_generator_gives_no_rate_and_no_percentile(tmp_path):
    search = Search(WITHIN, SERVICES, Queue(late_ns=3_000_000), Kept(tmp_path))
    assert search.made() is None
    assert not search.replications
    load = figures(search.late, WITHIN)
    assert load.late
    assert load.latency_ms == ()


def test_one_load_is_made_again_while_its_generator_is_late(tmp_path):
    options = ServingOptions(rate=50.0, duration_s=2.0, slo_ms=50.0)
    load, attempts = one_load(options, Queue(late_ns=3_000_000), Kept(tmp_path), retries=2)
    assert attempts == 3
    assert is_late(load, options)
    assert one_load(options, Queue(), Kept(tmp_path / "other"), retries=2)[1] == 1


def test_little_s_law_holds_for_what_is_counted():
    schedule = (np.arange(1000) * 12e6).astype(np.int64)
    load = figures([Replication(1000 / 12, 12.0, 0.0, Queue()(schedule))], ServingOptions(rate=1000 / 12))
    mean, most = load.outstanding
    assert mean == pytest.approx(load.achieved_per_s * 0.01, rel=0.01)
    assert most == 1
    assert load.queueing_ms == pytest.approx((0, 0), abs=1e-6)
    assert load.attainment is None


def test_goodput_counts_what_is_within_the_limit():
    schedule = (np.repeat(np.arange(100), 2) * 50e6).astype(np.int64)  # pairs: the second waits for 10 ms
    options = ServingOptions(rate=40.0, slo_ms=15.0)
    load = figures([Replication(40.0, 5.0, 0.0, Queue()(schedule))], options)
    assert load.attainment[0] == pytest.approx(0.5)
    assert load.latency_ms == pytest.approx((15, 20, 20), abs=5.1)


@pytest.mark.parametrize("limit_ms", [400.0, 4000.0])
def test_a_search_that_sees_no_late_answers_has_no_rate(tmp_path, limit_ms):
    """A queue this close to its capacity needs minutes to grow as long as the limit allows."""
    options = ServingOptions(slo_ms=limit_ms, percentile=90.0, search_s=8.0)
    with pytest.raises(Incompatible, match=r"scenario.search_s=8 is too short to see a queue at its limit"):
        Search(options, SERVICES, Queue(), Kept(tmp_path)).made()
