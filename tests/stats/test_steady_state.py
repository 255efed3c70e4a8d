"""Where a trace becomes steady, on traces whose truth is known; benchmarks/warmup_targets.py has more."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.stats.steady_state import drift, steady_start

SEEDS = range(40)


def noise(seed, n, deviation=0.02):
    return np.exp(deviation * np.random.default_rng(seed).normal(size=n))


def autoregressive(seed, n, phi, deviation=0.05):
    logs = np.random.default_rng(seed).normal(size=n) * deviation
    for call in range(1, n):
        logs[call] = phi * logs[call - 1] + np.sqrt(1 - phi**2) * logs[call]
    return np.exp(logs)


def switching(seed, n):
    """A slow state, 20 % slower, takes 15 calls of 45 on average."""
    rng = np.random.default_rng(seed)
    stays = np.stack([rng.geometric(1 / 30, n), rng.geometric(1 / 15, n)], -1).ravel()
    return noise(seed, n) * np.repeat(np.arange(2 * n) % 2 * 0.2 + 1, stays)[:n]


def answers(make):
    return [steady_start(make(seed)) for seed in SEEDS]


@pytest.mark.parametrize("calls", [0, 1, 7, 8, 100, 5000])
def test_a_constant_trace_is_steady_from_its_first_call(calls):
    assert steady_start([250_000] * calls) == 0


@pytest.mark.parametrize("warmup", [3, 20, 70])
def test_a_step_down_is_found_to_the_call(warmup):
    samples = noise(0, 150)
    samples[:warmup] *= 1.5
    assert steady_start(samples) == warmup


def test_a_step_without_noise_is_found_to_the_call():
    assert steady_start([9] * 40 + [7] * 100) == 40


def test_in_a_long_trace_a_step_is_found_to_the_block_and_its_slow_calls_to_the_call():
    samples = noise(0, 5000)
    samples[:333] *= 3
    assert steady_start(samples) == 333


def test_several_tiers_are_dropped_together():
    samples = noise(0, 600) * np.repeat([4, 1.8, 1.2, 1], [30, 60, 110, 400])
    assert steady_start(samples) == pytest.approx(200, abs=3)


def test_a_decay_is_dropped_until_it_no_longer_bends_the_median():
    samples = noise(0, 1000) * (1 + 3 * np.exp(-np.arange(1000) / 60))
    start = steady_start(samples)
    assert 150 <= start <= 400
    assert np.median(samples[start:]) == pytest.approx(1, rel=0.003)


def test_slow_first_calls_are_dropped_even_if_too_few_to_bend_the_median():
    samples = noise(0, 1000)
    samples[:2] *= 4
    assert steady_start(samples) == 2


def test_calls_that_soon_get_slower_for_good_are_a_warm_up_too():
    samples = noise(0, 200)
    samples[:30] *= 0.8
    assert steady_start(samples) == pytest.approx(30, abs=1)


@pytest.mark.parametrize("warmup", [0, 50])
def test_neither_the_unit_nor_spikes_matter(warmup):
    samples = noise(0, 200)
    samples[:warmup] *= 1.5
    spiky = samples.copy()
    spiky[13::50] *= 10
    assert [steady_start(trace) for trace in (samples, samples * 1e6, spiky)] == [warmup] * 3


@pytest.mark.parametrize("drift", [0.05, -0.05, 0.5])
@pytest.mark.parametrize("calls", [300, 4000])
def test_a_linear_drift_is_never_steady(drift, calls):
    assert steady_start(noise(0, calls, 0.01) * (1 + drift * np.linspace(0, 1, calls))) is None


@pytest.mark.parametrize("level", [1.1, 0.9])
@pytest.mark.parametrize("share", [0.55, 0.8])
def test_a_late_step_is_never_steady(level, share):
    samples = noise(0, 500)
    samples[int(500 * share) :] *= level
    assert steady_start(samples) is None


def test_a_step_up_in_the_middle_is_no_warm_up():
    samples = noise(0, 500)
    samples[200:] *= 1.1
    assert steady_start(samples) is None


def test_a_decay_that_has_not_ended_is_never_steady():
    assert steady_start(noise(0, 1000) * (1 + 0.5 * np.exp(-np.linspace(0, 1, 1000)))) is None


def test_a_drift_too_small_to_matter_is_steady():
    assert steady_start(noise(0, 4000, 0.01) * np.linspace(1, 1.01, 4000)) == 0


def test_a_trend_of_few_calls_is_seen_and_their_noise_is_not():
    assert steady_start(range(100, 120)) is None
    assert answers(lambda seed: noise(seed, 20)).count(None) <= 2


@pytest.mark.parametrize("phi", [0.3, 0.8, 0.95])
def test_a_long_memory_is_steady(phi):
    found = answers(lambda seed: autoregressive(seed, 2000, phi))
    assert found.count(None) <= 2


def test_many_switches_between_two_levels_are_steady():
    assert answers(lambda seed: switching(seed, 3000)).count(None) <= 2


def test_clock_ticks_are_steady():
    assert answers(lambda seed: np.round(noise(seed, 500) / 0.03) * 0.03).count(None) <= 2


def test_a_random_walk_is_rarely_steady():
    found = answers(lambda seed: np.exp(np.random.default_rng(seed).normal(size=1000).cumsum() / 200))
    assert found.count(None) >= 36


def test_the_median_is_not_bent_by_where_the_trace_is_cut():
    def bias(seed):
        samples = autoregressive(seed, 600, 0.7)
        warm = samples * (1 + 2 * np.exp(-np.arange(600) / 30))
        return np.median(warm[steady_start(warm) :]) / np.median(samples) - 1

    assert abs(np.mean([bias(seed) for seed in SEEDS])) < 0.01


def test_drift_is_how_far_the_medians_of_quarters_are_apart():
    assert drift([1.0] * 50 + [1.1] * 50) == pytest.approx(0.1)
    assert drift(np.tile([1.0, 5.0, 1.0], 40)) == 0
    assert drift([1, 2, 3]) == 0
