"""Verdicts on processes that took turns."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from benchmark.stats.ratio_test import compare, ratio_test, round_ratios, turns_ratio


def rounds(ratio, spread=0.02, n=12, seed=0):
    """Ratios of so many rounds around a true one."""
    return ratio * np.exp(np.random.default_rng(seed).normal(0, spread, n))


@pytest.mark.parametrize(
    ("ratio", "spread", "verdict"),
    [
        (1.05, 0.005, "regression"),
        (0.95, 0.005, "improvement"),
        (1.0, 0.005, "same"),
        (1.01, 0.001, "same"),
        (1.0, 0.05, "inconclusive"),
        (1.03, 0.05, "inconclusive"),
    ],
)
def test_the_verdict_follows_effect_and_spread(ratio, spread, verdict):
    assert ratio_test(rounds(ratio, spread)).verdict == verdict


def test_an_effect_below_the_threshold_is_no_regression_however_certain():
    found = ratio_test(rounds(1.015, 0.0005))
    assert found.p_value < 1e-6
    assert found.verdict == "same"
    assert ratio_test(rounds(1.015, 0.0005), threshold=0.01).verdict == "regression"


def test_effect_and_interval_are_those_of_a_t_test_on_logarithms():
    ratios = rounds(1.04, 0.03)
    found = ratio_test(ratios)
    test = stats.ttest_1samp(np.log(ratios), 0)
    bounds = test.confidence_interval(0.99)
    assert found.ratio == pytest.approx(math.exp(np.log(ratios).mean()))
    assert (found.lo, found.hi) == pytest.approx((math.exp(bounds.low), math.exp(bounds.high)))
    assert found.p_value == pytest.approx(test.pvalue)
    assert found.rounds == 12


def test_one_round_tells_nothing():
    found = ratio_test([1.5])
    assert (found.ratio, found.verdict) == (1.5, "inconclusive")
    assert math.isnan(found.lo)


def test_what_slows_both_sides_of_a_round_cancels():
    host = np.exp(np.random.default_rng(1).normal(0, 0.3, 8))
    drift = np.linspace(1, 1.5, 200)
    base = [10 * slow * drift for slow in host]
    candidate = [10.5 * slow * drift for slow in host]
    assert round_ratios(base, candidate) == pytest.approx([1.05] * 8)
    assert compare(base, candidate) == "regression"
    assert compare(base, base) == "same"


def test_a_disturbed_turn_does_not_count():
    calm, disturbed = [[10.0] * 5] * 4, [[10.0] * 5] * 3 + [[100.0] * 5]
    assert turns_ratio(calm, disturbed) == 1


def test_sides_with_different_numbers_of_processes_are_a_mistake():
    with pytest.raises(ValueError, match="zip"):
        compare([[1.0]], [[1.0], [1.0]])


def test_a_process_without_samples_is_a_mistake():
    with pytest.raises(ValueError, match="no samples"):
        compare([[1.0], []], [[1.0], [1.0]])
