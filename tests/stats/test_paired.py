"""Paired answers: exact tests, intervals, verdicts and floors, against known figures and other libraries."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import bootstrap as scipy_bootstrap

from benchmark.stats import paired
from benchmark.stats.paired import Bounds


@pytest.mark.parametrize(
    ("share", "items", "half_width"),
    [
        (0.971, 557, 0.014),
        (0.75, 800, 0.03),
        (0.936, 2190, 0.010),
        (0.85, 7529, 0.008),
        (0.769, 50_000, 0.0037),
    ],
)
def test_half_widths_of_wilson_are_the_known_ones(share, items, half_width):
    value, lo, hi = paired.wilson(round(share * items), items)
    assert value == pytest.approx(share, abs=1e-3)
    assert (hi - lo) / 2 == pytest.approx(half_width, rel=0.06)


@pytest.mark.parametrize(("lost", "won"), [(6, 0), (8, 0), (9, 1), (15, 5), (27, 13)])
def test_splits_that_are_just_significant(lost, won):
    assert paired.mcnemar(lost, won) < 0.05
    assert paired.mcnemar(lost - 1, won + 1) >= 0.05


def test_seven_lost_and_one_won_prove_nothing():
    assert paired.mcnemar(7, 1) == pytest.approx(0.0703, abs=1e-4)
    assert paired.verdict(7, 1, 557) == "no measurable difference"
    assert paired.smallest_difference(7, 1, 557) == pytest.approx(8 / 557)  # 8:0 would


@pytest.mark.parametrize(
    ("lost", "won", "items", "verdict"),
    [
        (0, 0, 557, "no measurable difference"),
        (0, 0, 5, "too few to tell"),
        (5, 0, 557, "too few to tell"),
        (1, 0, 50_000, "too few to tell"),
        (6, 0, 557, "worse"),
        (0, 6, 557, "better"),
        (15, 5, 1000, "worse"),
        (14, 6, 1000, "no measurable difference"),
    ],
)
def test_a_verdict_needs_six_discordant_items(lost, won, items, verdict):
    assert paired.verdict(lost, won, items) == verdict


@pytest.mark.parametrize("items", [20, 557])
def test_the_interval_of_the_difference_excludes_zero_where_the_test_does(items):
    for lost in range(16):
        for won in range(16 - lost):
            value, lo, hi = paired.difference(lost, won, items)
            assert lo <= value <= hi
            assert (lo > 0 or hi < 0) == (paired.mcnemar(lost, won) < 0.05)


def test_the_interval_is_that_of_tango_where_many_items_are_discordant():
    """Tango (1998), table V: 44 pairs with 0 and 1 discordant; the score interval is -.1181 to .0604."""
    lo, hi = paired._tango(0, 1, 44)
    assert (lo, hi) == pytest.approx((-0.1181, 0.0604), abs=2e-3)


def test_equal_answers_leave_an_interval_that_shrinks_with_the_items():
    assert paired.difference(0, 0, 557) == pytest.approx(Bounds(0, -0.00685, 0.00685), abs=1e-4)


def test_the_smallest_difference_of_all_splits_is_what_the_test_finds():
    for discordant in (6, 9, 20, 57, 133):
        least = round(paired.smallest_difference(discordant, 0, 1000) * 1000)
        lost = (discordant + least) // 2
        assert (
            paired.mcnemar(lost, discordant - lost) < 0.05 <= paired.mcnemar(lost - 1, discordant - lost + 1)
        )


def test_the_bootstrap_is_that_of_scipy():
    values = np.random.default_rng(1).gamma(2, size=200)
    theirs = scipy_bootstrap((values,), np.mean, method="percentile", rng=2, n_resamples=10_000)
    ours = paired.bootstrap(lambda counts: counts @ values / counts.sum(1), len(values))
    assert ours == pytest.approx((theirs.confidence_interval.low, theirs.confidence_interval.high), rel=0.01)


def test_the_same_seed_gives_the_same_interval():
    values = np.arange(50.0)
    assert paired.bootstrap(lambda counts: counts @ values, 50) == paired.bootstrap(
        lambda counts: counts @ values, 50
    )


def test_several_comparisons_are_adjusted_as_benjamini_and_hochberg_say():
    assert paired.adjusted([0.01, 0.04, 0.03, 0.5]) == pytest.approx([0.04, 0.04 * 4 / 3, 0.04 * 4 / 3, 0.5])
    assert paired.adjusted([]) == []


@pytest.mark.parametrize(
    ("ratio", "verdict"),
    [
        (Bounds(1.0, 0.995, 1.005), "kept"),
        (Bounds(0.995, 0.985, 1.0), "inconclusive"),
        (Bounds(0.98, 0.97, 0.991), "inconclusive"),
        (Bounds(0.97, 0.95, 0.985), "missed"),
    ],
)
def test_a_floor_is_missed_only_if_the_whole_interval_lies_below(ratio, verdict):
    assert paired.floor(ratio, 0.99, 557)[0] == verdict


def test_the_items_that_decide_about_a_floor_grow_as_the_square_of_the_width():
    assert paired.floor(Bounds(1.0, 0.97, 1.03), 0.99, 100) == ("inconclusive", 900)
    assert paired.floor(Bounds(0.98, 0.95, 1.0), 0.99, 100) == ("inconclusive", 400)
    assert paired.floor(Bounds(0.99, 0.95, 1.0), 0.99, 100) == ("inconclusive", None)


def test_coverage_false_alarms_and_power_are_those_of_their_formulas():
    """The quick form; tests/benchmarks/accuracy_targets.py has more cases and more draws."""
    rng = np.random.default_rng(0)
    for share, items in ((0.5, 100), (0.97, 557), (0.99, 1000)):
        draws = np.unique(rng.binomial(items, share, 2000), return_counts=True)
        covers = [lo <= share <= hi for _, lo, hi in (paired.wilson(int(k), items) for k in draws[0])]
        assert np.average(covers, weights=draws[1]) > 0.93
    for lost_share, won_share in ((0.03, 0.03), (0.06, 0.02)):
        items = 500
        counts = rng.multinomial(items, [lost_share, won_share, 1 - lost_share - won_share], 3000)
        pairs, times = np.unique(counts[:, :2], axis=0, return_counts=True)
        found = [paired.mcnemar(int(lost), int(won)) < 0.05 for lost, won in pairs]
        rate = float(np.average(found, weights=times))
        assert rate == pytest.approx(paired.power(items, lost_share, won_share), abs=0.025)
        assert lost_share != won_share or rate <= 0.05
