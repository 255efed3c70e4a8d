"""Callers that call at the same time: one rate, and one order, of all."""

from __future__ import annotations

import time

import pytest

from benchmark.records import Arithmetic, Session
from benchmark.timing.callers import Caller, call_repeatedly, calls_per_ns, in_order

FP32 = Arithmetic(model_dtype="fp32", matmul_dtype="fp32", other_dtype="fp32", autocast="none")


def test_only_the_time_in_which_all_call_counts_and_a_call_beyond_it_in_part():
    early, late = Caller(0, 100, [10] * 10), Caller(50, 250, [20] * 10)
    assert calls_per_ns([early, late]) == pytest.approx((5 + 2.5) / 50)


def test_time_between_calls_counts():
    assert calls_per_ns([Caller(0, 200, [10] * 10)]) == pytest.approx(10 / 200)


def test_callers_that_never_called_at_a_time_add_their_rates():
    assert calls_per_ns([Caller(0, 10, [10]), Caller(20, 40, [20])]) == pytest.approx(1 / 10 + 1 / 20)


def test_calls_stand_in_the_order_in_which_they_ended():
    assert in_order([Caller(0, 30, [10, 20]), Caller(5, 20, [15])]) == [10, 15, 20]


def test_a_caller_says_when_it_began_and_ended_by_the_clock_of_the_host():
    before = time.perf_counter_ns()
    caller = call_repeatedly(Session(run=lambda: time.sleep(0.001), arithmetic=FP32), 5, 10**9)
    assert before <= caller.began_ns < caller.ended_ns <= time.perf_counter_ns()
    assert len(caller.latencies) == 5
    assert sum(caller.latencies) <= caller.ended_ns - caller.began_ns
