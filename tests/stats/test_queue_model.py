"""The queue that replications are compared with: who waits for whom, and which call answers whom."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.stats.queue_model import Calls, QueueModel


def latencies(arrivals, services, *, servers=1, most=1, delay=0.0):
    known = {size: Calls(np.array(times, float), -np.array(times, float)) for size, times in services.items()}
    model = QueueModel(servers, most, delay, known)
    wait, slack = model.waited(np.array(arrivals, float), np.zeros(len(arrivals)))
    return (wait - slack).tolist()  # the limit is 0: what is missing is the latency


def test_a_request_waits_for_those_before_it():
    assert latencies([0, 1, 10], {1: [4]}) == [4, 7, 4]


def test_a_second_server_takes_the_second_request():
    assert latencies([0, 1, 2], {1: [4]}, servers=2) == [4, 4, 6]


def test_what_waits_is_answered_together_up_to_the_most():
    # The first alone; the next three wait until 4: two together, then the last.
    assert latencies([0, 1, 2, 3], {1: [4], 2: [5]}, most=2) == [4, 8, 7, 10]


def test_a_batch_waits_for_its_delay_and_no_longer_once_it_is_full():
    assert latencies([0, 2, 20], {1: [4], 2: [5]}, most=2, delay=3) == [7, 5, 7]


@pytest.mark.parametrize("servers", [1, 3])
def test_batches_of_one_without_delay_are_one_by_one(servers):
    rng = np.random.default_rng(1)
    arrivals, chance = np.cumsum(rng.exponential(size=500)), rng.uniform(size=500)
    model = QueueModel(servers, 1, 0.0, {1: Calls(np.array([0.5, 1.5]) * servers, np.array([2.0, 3.0]))})
    wait, slack = model._in_batches(arrivals, {1: model.calls[1].drawn(chance)})
    assert model.waited(arrivals, chance).wait == pytest.approx(wait)
    assert (model.late(arrivals, chance) == (wait > slack)).all()
