"""Loads of a run, on a queue that is computed at once instead of waited for."""

from __future__ import annotations

import os

import numpy as np
import pytest

from benchmark.errors import Incompatible, Saturated
from benchmark.records import Shape
from benchmark.serving.board import Board
from benchmark.serving.figures import Replication, figures, is_late, transport_ms
from benchmark.serving.generator import Generator
from benchmark.serving.loads import Search, one_load
from benchmark.serving.replications import Kept
from benchmark.serving.requests import Source
from benchmark.serving_records import CallTimes, Observed, Requests, ServingOptions
from tests.benchmarks.rate_search_targets import answered

SERVICE_S = 0.01
WITHIN = ServingOptions(slo_ms=50.0, percentile=95.0, search_s=60.0)
ALONE = {1: CallTimes(np.full(20, SERVICE_S), np.zeros(20), np.full(20, np.nan))}


def of(options):
    return Source(options, Shape(batch_size=1))


class Queue:
    """An M/D/1 queue; `late_ns` is how late the generator issues each request."""

    def __init__(self, late_ns=0, most=None):
        self.loads, self.late_ns, self.most = [], late_ns, most

    def __call__(self, requests):
        schedule_ns = requests.scheduled
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
            **dict.fromkeys(("prompt", "output", "padded", "first_token"), 0 * ones),
            growing=None,
        )


def test_a_search_that_was_stopped_goes_on_with_what_it_has(tmp_path):
    whole, stopped = Queue(), Queue(most=4)
    expected = Search(of(WITHIN), ALONE, whole, Kept(tmp_path / "whole")).made()
    with pytest.raises(KeyboardInterrupt):
        Search(of(WITHIN), ALONE, stopped, Kept(tmp_path / "stopped")).made()
    rest = Queue()
    assert Search(of(WITHIN), ALONE, rest, Kept(tmp_path / "stopped")).made() == pytest.approx(expected)
    assert len(rest.loads) == len(whole.loads) - 4
    assert Kept(tmp_path / "stopped").table().num_rows == len(whole.loads)


def test_what_confirms_a_rate_has_other_arrivals_than_what_found_it(tmp_path):
    queue = Queue()
    search = Search(of(WITHIN), ALONE, queue, Kept(tmp_path))
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
        Search(of(options), ALONE, queue, Kept(tmp_path))
    assert not queue.loads


def test_a_late_generator_gives_no_rate_and_no_percentile(tmp_path):
    search = Search(of(WITHIN), ALONE, Queue(late_ns=3_000_000), Kept(tmp_path))
    assert search.made() is None
    assert not search.replications
    load = figures(search.late, WITHIN)
    assert load.late
    assert load.latency_ms == ()


def test_a_generator_without_the_right_to_run_first_works_as_well(monkeypatch):
    asked = []

    def refused(*arguments):
        asked.append(arguments)
        raise PermissionError

    monkeypatch.setattr(os, "sched_setscheduler", refused, raising=False)
    Generator(Board())
    assert [of for of, *_ in asked] == [0]


def test_one_load_is_made_again_while_its_generator_is_late(tmp_path):
    options = ServingOptions(rate=50.0, duration_s=2.0, slo_ms=50.0)
    load, attempts = one_load(of(options), Queue(late_ns=3_000_000), Kept(tmp_path), retries=2)
    assert attempts == 3
    assert is_late(load, options)
    assert one_load(of(options), Queue(), Kept(tmp_path / "other"), retries=2)[1] == 1


def test_little_s_law_holds_for_what_is_counted():
    schedule = (np.arange(1000) * 12e6).astype(np.int64)
    load = figures(
        [Replication(1000 / 12, 12.0, 0.0, Queue()(Requests(schedule)))], ServingOptions(rate=1000 / 12)
    )
    mean, most = load.outstanding
    assert mean == pytest.approx(load.achieved_per_s * 0.01, rel=0.01)
    assert most == 1
    assert load.queueing_ms == pytest.approx((0, 0), abs=1e-6)
    assert load.attainment is None


def test_the_transport_is_what_an_idle_copy_takes_to_begin():
    """Every other request finds a call under way: it says nothing of the transport."""
    schedule = (np.repeat(np.arange(20), 2) * 50e6 + np.tile([0, 4e6], 20)).astype(np.int64)
    seen = Queue()(Requests(schedule))
    seen = seen._replace(issued=seen.scheduled - 70_000)
    assert transport_ms([Replication(40.0, 1.0, 0.0, seen)]) == pytest.approx(0.07)
    few = Queue()(Requests(schedule[:18]))
    assert transport_ms([Replication(40.0, 1.0, 0.0, few)]) is None


def test_goodput_counts_what_is_within_the_limit():
    schedule = (np.repeat(np.arange(100), 2) * 50e6).astype(np.int64)  # pairs: the second waits for 10 ms
    options = ServingOptions(rate=40.0, slo_ms=15.0)
    load = figures([Replication(40.0, 5.0, 0.0, Queue()(Requests(schedule)))], options)
    assert load.attainment[0] == pytest.approx(0.5)
    assert load.latency_ms == pytest.approx((15, 20, 20), abs=5.1)


@pytest.mark.parametrize("limit_ms", [400.0, 4000.0])
def test_a_search_that_sees_no_late_answers_has_no_rate(tmp_path, limit_ms):
    """A queue this close to its capacity needs minutes to grow as long as the limit allows."""
    options = ServingOptions(slo_ms=limit_ms, percentile=90.0, search_s=8.0)
    with pytest.raises(Incompatible, match=r"scenario.search_s=8 is too short to see a queue at its limit"):
        Search(of(options), ALONE, Queue(), Kept(tmp_path)).made()


def test_goodput_of_generations_keeps_the_limits_of_first_token_and_time_per_token():
    """Four requests at once, alone in their calls: only the last is late, and only the third is slow."""
    each = np.ones(4, int)
    first_token = np.array([10, 20, 30, 90]) * 1_000_000
    seen = Observed(
        scheduled=0 * each,
        issued=0 * each,
        started=first_token - 1,
        ended=first_token + np.array([0, 30, 90, 30]) * 1_000_000,
        room=each,
        first=each > 0,
        prompt=np.array([3, 4, 8, 9]),
        output=np.array([1, 4, 4, 4]),
        padded=np.array([8, 8, 8, 16]),
        first_token=first_token,
        growing=None,
    )
    options = ServingOptions(rate=40.0, ttft_ms=50.0, tpot_ms=15.0)
    load = figures([Replication(40.0, 0.1, 0.0, seen)], options)
    assert load.attainment[0] == 0.5
    assert load.tokens.first_token_ms[:2] == pytest.approx((37.5, 25))
    assert load.tokens.per_token_ms[:2] == pytest.approx(
        (50 / 3, 10)
    )  # one token alone has no time per token
    assert load.tokens.padding_share == pytest.approx(1 - 24 / 40)
    assert (load.tokens.prompt, load.tokens.output) == (6, 3.25)
    assert figures([Replication(40.0, 0.1, 0.0, seen)], ServingOptions(rate=40.0)).attainment is None


class Decoder(Queue):
    """The same queue: each call has its first token after 4 ms, and 2 ms a token."""

    def __call__(self, requests):
        seen = super().__call__(requests)
        first_token = seen.started + 4_000_000
        return seen._replace(output=4 * seen.room, first_token=first_token)


DECODES = {1: CallTimes(np.full(20, SERVICE_S), np.full(20, 0.004), np.full(20, 0.002))}


def test_a_search_within_a_limit_of_the_first_token_finds_where_the_wait_exceeds_it(tmp_path):
    # A wait of 40 ms, the limit of the first token without its 4 ms, is that of slo_ms=50 without the call.
    options = ServingOptions(ttft_ms=44.0, tpot_ms=2.5, percentile=95.0, search_s=60.0)
    rate, lo, hi = Search(of(options), DECODES, Decoder(), Kept(tmp_path)).made()
    assert rate == pytest.approx(69.4, rel=0.05)
    assert lo < 69.4 < hi


@pytest.mark.parametrize(
    ("limits", "sentence"),
    [
        (
            {"ttft_ms": 3.0},
            "no rate keeps 3.00 ms: the first token of a call alone takes 4.00 ms: raise scenario.ttft_ms",
        ),
        (
            {"ttft_ms": 9.0, "tpot_ms": 1.0},
            "no rate keeps 1.00 ms: a call alone takes, per token, 2.00 ms: raise scenario.tpot_ms",
        ),
    ],
)
def test_a_limit_of_tokens_that_a_call_alone_breaks_needs_no_load(tmp_path, limits, sentence):
    with pytest.raises(Saturated, match=sentence):
        Search(of(ServingOptions(**limits)), DECODES, Decoder(), Kept(tmp_path))


def test_the_longest_request_alone_says_nothing_of_mixed_ones(tmp_path):
    queue = Decoder(most=0)
    limits = ServingOptions(ttft_ms=3.0, lengths="uniform")
    search = Search(of(limits), DECODES, queue, Kept(tmp_path))
    with pytest.raises(KeyboardInterrupt):  # it begins, instead of refusing
        search.made()


def test_the_service_of_a_call_ends_with_the_last_of_its_requests():
    seen = Queue()(Requests(np.arange(3) * 1_000_000_000))
    batch = seen._replace(
        started=np.full(3, 5), first=np.array([True, False, True]), ended=np.array([25, 105, 55])
    )
    assert batch.calls[1].seconds.tolist() == pytest.approx([100e-9, 50e-9])
