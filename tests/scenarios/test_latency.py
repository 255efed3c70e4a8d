"""The timing loop, counted call by call against a clock that only calls can move."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from benchmark.records import Arithmetic, Sampling, Session
from benchmark.scenarios.latency import Latency
from benchmark.timing.harness import measure_calls

MS = 1_000_000
UNLIMITED = Sampling(warmup_calls=0, warmup_s=0, min_calls=1, max_calls=10**9, min_s=0, max_s=1e9)
FP32 = Arithmetic(model_dtype="fp32", matmul_dtype="fp32", other_dtype="fp32", autocast="none")


class Clock:
    """Stands still between calls; each call takes the next of its durations, the last one for ever."""

    def __init__(self, *durations_ms):
        self.durations = [round(duration * MS) for duration in durations_ms]
        self.now = 12_345
        self.calls = 0

    def run(self):
        self.now += self.durations[min(self.calls, len(self.durations) - 1)]
        self.calls += 1

    @property
    def session(self):
        return Session(run=self.run, arithmetic=FP32, clock=lambda: self.now)


def sampling(**changes):
    return Sampling(
        **{**{name: getattr(UNLIMITED, name) for name in Sampling.__dataclass_fields__}, **changes}
    )


def test_every_call_is_timed_on_its_own_and_in_order():
    clock = Clock(3, 1, 2)
    assert measure_calls(clock.run, 3, lambda: clock.now) == [3 * MS, 1 * MS, 2 * MS]
    assert clock.calls == 3


def test_no_calls_are_no_samples():
    assert measure_calls(lambda: 1 / 0, 0) == []


def test_the_real_clock_is_in_nanoseconds_and_never_runs_backwards():
    assert all(nanoseconds >= 0 for nanoseconds in measure_calls(lambda: None, 100))


def test_exactly_the_least_number_of_calls_is_made_when_time_is_not_requested():
    clock = Clock(10)
    timing = Latency().measure([clock.session], sampling(warmup_calls=5, min_calls=30))
    assert (timing.warmup_calls, len(timing.nanoseconds), clock.calls) == (5, 30, 35)


def test_warm_up_calls_are_no_samples():
    clock = Clock(100, 100, 1)
    timing = Latency().measure([clock.session], sampling(warmup_calls=2, min_calls=3))
    assert timing.nanoseconds == (MS, MS, MS)
    assert timing.warmup_s == pytest.approx(0.2)
    assert timing.wall_s == pytest.approx(0.003)


def test_without_a_warm_up_the_first_call_is_a_sample():
    clock = Clock(100, 1)
    timing = Latency().measure([clock.session], sampling(min_calls=2))
    assert (timing.warmup_calls, timing.warmup_s) == (0, 0.0)
    assert timing.nanoseconds == (100 * MS, MS)


def test_calls_go_on_until_the_least_time_has_passed():
    # One call, then blocks of 0.1 s: 1 + 20 * 10 calls of 10 ms are the first to reach 2 s.
    timing = Latency().measure([Clock(10).session], sampling(min_s=2.0))
    assert len(timing.nanoseconds) == 201


def test_the_warm_up_goes_on_until_its_own_least_time_has_passed():
    timing = Latency().measure([Clock(10).session], sampling(warmup_calls=3, warmup_s=0.5))
    assert (timing.warmup_calls, len(timing.nanoseconds)) == (51, 1)


@pytest.mark.parametrize(
    ("call_ms", "limit", "samples"),
    [
        (1000, {"max_s": 3.0}, 3),
        (100_000, {"max_s": 60.0}, 1),
        (1, {"max_calls": 7}, 7),
        (0, {"max_calls": 7, "min_s": 2.0}, 7),
    ],
)
def test_one_maximum_is_enough_to_stop(call_ms, limit, samples):
    timing = Latency().measure([Clock(call_ms).session], sampling(**{"min_calls": 7, **limit}))
    assert len(timing.nanoseconds) == samples


def test_the_maxima_bound_the_warm_up_too():
    timing = Latency().measure([Clock(1000).session], sampling(warmup_calls=10, max_s=4.0))
    assert timing.warmup_calls == 4
    timing = Latency().measure([Clock(1).session], sampling(warmup_calls=10, max_calls=4))
    assert timing.warmup_calls == 4


def test_cpu_time_of_calls_that_only_move_a_clock_is_almost_none():
    timing = Latency().measure([Clock(1).session], sampling(min_calls=10))
    assert 0 <= timing.cpu_s < 1


class Drifting(Clock):
    """Each call takes a thousandth longer than the one before, for ever."""

    def run(self):
        self.now += round(MS * (1 + self.calls / 1000))
        self.calls += 1


def warming(calls):
    """Calls that are three times as slow at first; both kinds vary a little, in a pattern."""
    pattern = [1.0, 1.01, 0.99, 1.005, 0.995]
    return Clock(*(3 * pattern[n % 5] for n in range(calls)), *(pattern[n % 5] for n in range(5000)))


def test_calls_that_were_still_warming_up_are_no_samples():
    timing = Latency().measure([warming(60).session], sampling(warmup_calls=5, min_calls=300))
    assert timing.steady
    assert 50 <= timing.warmup_calls <= 70
    assert max(timing.nanoseconds) < 1.1 * MS
    assert len(timing.nanoseconds) >= 300
    assert timing.wall_s == pytest.approx(sum(timing.nanoseconds) / 1e9)
    assert timing.warmup_s == pytest.approx(60 * 0.003, rel=0.2)


def test_a_series_that_drifts_is_kept_whole_and_says_so():
    timing = Latency().measure([Drifting().session], sampling(min_calls=500, max_calls=500))
    assert not timing.steady
    assert (len(timing.nanoseconds), timing.warmup_calls) == (500, 0)


def test_sampling_ends_when_it_is_precise():
    spread = random.Random(0)  # noqa: S311 - no secret
    durations = [spread.lognormvariate(0, 0.3) for _ in range(20_000)]
    wanted = sampling(min_calls=50, max_calls=20_000, precision=0.02)
    timing = Latency().measure([Clock(*durations).session], wanted)
    assert timing.stop_reason == "precision"
    assert 500 < len(timing.nanoseconds) < 5_000
    coarse = Latency().measure([Clock(*durations).session], sampling(min_calls=50, precision=0.1))
    assert len(coarse.nanoseconds) < len(timing.nanoseconds)


@pytest.mark.parametrize(
    ("limit", "reason"),
    [({}, "enough"), ({"min_calls": 50, "max_calls": 60}, "max_calls"), ({"max_s": 0.05}, "max_s")],
)
def test_what_ended_the_sampling_is_reported(limit, reason):
    wanted = sampling(**{"min_calls": 10, "precision": 1e-4 if limit else None, **limit})
    assert Latency().measure([warming(0).session], wanted).stop_reason == reason


def test_inputs_are_changed_before_each_block_and_never_timed():
    clock, changed = Clock(10), []
    session = replace(clock.session, before_block=lambda: changed.append(clock.calls))
    timing = Latency().measure([session], sampling(min_s=0.5))
    assert changed[:3] == [0, 1, 11]
    assert set(timing.nanoseconds) == {10 * MS}


def test_the_devices_own_times_are_those_of_the_samples():
    clock, message = Clock(3, 3, 1), [0]

    def device_ns():
        since, message[0] = message[0], clock.calls
        return range(since, clock.calls)  # each call's number, as what it took

    session = replace(clock.session, device_ns=device_ns)
    timing = Latency().measure([session], sampling(warmup_calls=2, min_calls=10))
    assert len(timing.device_nanoseconds) == len(timing.nanoseconds) == 10
    assert timing.device_nanoseconds[0] >= 2  # those of the warm-up are forgotten


def test_the_tokens_of_a_call_stay_with_it():
    clock, message = Clock(3, 3, 1), [0]

    def token_ns():
        since, message[0] = message[0], clock.calls
        return [(number, number + 1) for number in range(since, clock.calls)]

    session = replace(clock.session, token_ns=token_ns)
    timing = Latency().measure([session], sampling(warmup_calls=2, min_calls=10))
    assert len(timing.token_nanoseconds) == 10
    assert timing.token_nanoseconds[0][0] >= 2
