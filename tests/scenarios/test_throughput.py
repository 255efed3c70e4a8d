"""Several callers of several copies: rates add up, and no caller's calls are lost."""

from __future__ import annotations

import threading
import time

import pytest

from benchmark.records import Arithmetic, Sampling, Session
from benchmark.scenarios.throughput import Throughput

FP32 = Arithmetic(model_dtype="fp32", matmul_dtype="fp32", other_dtype="fp32", autocast="none")
SAMPLING = {
    "warmup_calls": 0,
    "warmup_s": 0.0,
    "min_calls": 1,
    "max_calls": 10_000,
    "min_s": 0.0,
    "max_s": 5.0,
}


def copy(call_ms):
    """A copy of a model whose calls take so long, each on a clock of its own."""
    now = 0

    def run():
        nonlocal now
        now += int(call_ms * 1e6)

    return Session(run=run, arithmetic=FP32, clock=lambda: now)


def sleeping(call_s, inside):
    """A copy that sleeps, and says how many callers are in it at a time."""

    def run():
        inside.append(threading.get_ident())
        time.sleep(call_s)

    return Session(run=run, arithmetic=FP32)


def sampling(**wanted):
    return Sampling(**{**SAMPLING, **wanted})


def test_the_rates_of_copies_add_up():
    timing = Throughput(replicas=2).measure([copy(1), copy(4)], sampling(min_s=2.0))
    assert len(timing.nanoseconds) / timing.wall_s == pytest.approx(1000 + 250, rel=0.01)
    assert set(timing.nanoseconds) == {1_000_000, 4_000_000}


def test_samples_stand_in_the_order_in_which_the_calls_ended():
    timing = Throughput(replicas=2).measure([copy(1), copy(4)], sampling(min_calls=8, max_calls=10))
    assert timing.nanoseconds[:5] == (1_000_000, 1_000_000, 1_000_000, 1_000_000, 4_000_000)


@pytest.mark.parametrize(("workers", "here"), [(1, True), (2, False)])
def test_a_single_caller_calls_as_a_plain_loop_does(workers, here):
    inside = []
    Throughput(workers=workers).measure([sleeping(0.001, inside)], sampling(min_calls=4))
    assert (threading.get_ident() in inside) is here


def test_callers_of_one_copy_are_in_it_at_a_time():
    inside = []
    timing = Throughput(workers=3).measure([sleeping(0.01, inside)], sampling(min_calls=30, max_calls=60))
    assert len(set(inside)) == 3
    assert len(timing.nanoseconds) / timing.wall_s > 1.5 / 0.01


def test_a_maximum_is_passed_by_less_than_a_call_of_each():
    timing = Throughput(replicas=3).measure([copy(1) for _ in range(3)], sampling(min_calls=10, max_calls=10))
    assert 9 <= len(timing.nanoseconds) <= 12


def test_values_are_varied_once_a_block_for_each_copy():
    varied = []
    one = Session(run=lambda: None, arithmetic=FP32, before_block=lambda: varied.append(1))
    Throughput(workers=2).measure([one], sampling(min_calls=2, max_calls=2))
    assert len(varied) == 1


def test_an_error_of_a_caller_ends_all_of_them():
    def fail():
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        Throughput(workers=2).measure([Session(run=fail, arithmetic=FP32)], sampling())


def test_a_row_says_how_many_copies_and_callers_there_were(simulated, run_cells):
    (row,) = run_cells(simulated("scenario=throughput", "scenario.replicas=2", "scenario.workers=3"))
    assert (row["status"], row["scenario"], row["replicas"], row["workers"]) == ("ok", "throughput", 2, 3)
    assert row["throughput_per_s"] == pytest.approx(6e3 / row["latency_mean_ms"], rel=0.05)


def test_a_search_tries_copies_up_to_the_cores_and_powers_of_two_of_the_batch():
    search = Throughput(search=True, max_batch=12, max_workers=2)
    assert search.sizes == (1, 2, 4, 8)
    tried = [(one.replicas, one.workers) for one in search.variants(3)]
    assert tried == [(1, 1), (1, 2), (2, 1), (2, 2), (3, 1), (3, 2)]
    assert not any(one.search for one in search.variants(3))
    assert (Throughput().sizes, Throughput().variants(8)) == ((1,), ())


def test_a_search_refuses_the_replicas_and_workers_that_it_would_ignore():
    refused = Throughput(search=True, replicas=2).refuse(None, None, None, None)
    assert refused.startswith(
        "scenario.search=true finds replicas and workers itself: leave out scenario.replicas=2"
    )
    assert Throughput(search=True).refuse(None, None, None, None) is None


def test_the_best_that_a_search_finds_is_measured(simulated, run_cells):
    """A call takes 1 ms and 0.5 ms an item: the largest batch is the fastest."""
    short = ("sampling.max_s=0.02", "sampling.min_s=0", "sampling.warmup_s=0", "sampling.min_calls=5")
    words = ("compiler=simulated", "scenario=throughput", "scenario.search=true", "scenario.max_batch=4")
    (row,) = run_cells(simulated(*words, "scenario.max_workers=1", *short))
    assert row["status"] == "ok"
    assert (row["batch_size"], row["replicas"], row["workers"]) == (4, 1, 1)
    assert row["throughput_per_s"] == pytest.approx(4 / 0.003, rel=0.01)
    assert dict(row["stage_seconds"])["seek"] > 0
