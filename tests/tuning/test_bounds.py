"""Bounds of differences: as wide as they must be at every look, and not thrown by a single look."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmark.tuning.bounds import bounds, z


def test_a_mean_leaves_its_bounds_at_any_look_as_rarely_as_asked():
    rng = np.random.default_rng(0)
    looks = np.arange(1, 400)
    means = np.cumsum(rng.normal(size=(4000, len(looks))), axis=1) / looks
    ever = (np.abs(means) > z(looks, 0.05) / np.sqrt(looks)).any(axis=1)
    assert 0.01 < ever.mean() <= 0.05


@pytest.mark.parametrize("noise", ["normal", "unlike", "disturbed"])
def test_estimated_bounds_hold_at_every_look_too(noise):
    rng = np.random.default_rng(1)
    wrong = []
    for _ in range(60):
        values = rng.normal(size=(20, 40))
        if noise == "unlike":
            values *= np.exp(rng.uniform(-1, 1, size=(20, 1)))
        elif noise == "disturbed":  # on both sides, as differences are
            values += np.where(rng.random(values.shape) < 0.1, rng.normal(0, 7, size=values.shape), 0)
        ever = np.zeros(20, bool)
        for n in range(2, 41):
            ever |= bounds(values[:, :n], 0.05).lo > 0
        wrong.append(ever.mean())
    assert np.mean(wrong) <= 0.05


def test_a_single_disturbed_look_neither_moves_nor_widens_much():
    values = np.random.default_rng(2).normal(0, 0.02, size=(10, 20))
    before = bounds(values, 0.01)
    values[3, 5] += 1.0
    after = bounds(values, 0.01)
    assert abs(after.mean[3] - before.mean[3]) < 0.01
    assert after.half[3] < 1.5 * before.half[3]


def test_nothing_is_bounded_before_two_common_rounds():
    values = np.array([[0.1, math.nan], [math.nan, math.nan], [0.1, 0.2]])
    found = bounds(values, 0.05)
    assert list(found.rounds) == [1, 0, 2]
    assert found.half[0] == found.half[1] == math.inf
    assert math.isnan(found.mean[1])
    assert found.mean[0] == pytest.approx(0.1)
