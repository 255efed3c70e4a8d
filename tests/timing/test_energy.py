"""Energy is that of the timed calls: neither warm-up nor analysis counts."""

from __future__ import annotations

import pytest

from benchmark.records import Arithmetic, Sampling, Session
from benchmark.scenarios.latency import Latency
from benchmark.scenarios.throughput import Throughput
from benchmark.timing.energy import Energy

FP32 = Arithmetic(model_dtype="fp32", matmul_dtype="fp32", other_dtype="fp32", autocast="none")


class Card:
    """Each call takes 1 ms and 2 J; between two blocks of calls it takes 1000 J."""

    def __init__(self):
        self.calls, self.reads = 0, 0

    def run(self):
        self.calls += 1

    def clock(self):
        return self.calls * 1_000_000

    def energy_j(self):
        blocks, self.reads = self.reads // 2, self.reads + 1
        return 2.0 * self.calls + 1000.0 * blocks


@pytest.mark.parametrize("scenario", [Latency(), Throughput()])
def test_only_blocks_of_timed_calls_count(scenario):
    card = Card()
    session = Session(run=card.run, arithmetic=FP32, clock=card.clock, energy_j=card.energy_j)
    sampling = Sampling(warmup_calls=50, min_calls=40, max_calls=40, min_s=0, max_s=100, warmup_s=0)
    timing = scenario.measure([session], sampling)
    assert timing.energy_j / len(timing.nanoseconds) == pytest.approx(2.0)


def test_without_a_counter_there_is_no_energy():
    energy = Energy(None)
    with energy.counted():
        pass
    assert energy.joules is None


def test_a_counter_that_goes_back_adds_nothing():
    energy = Energy(iter([5.0, 1.0]).__next__)
    with energy.counted():
        pass
    assert energy.joules == 0.0
