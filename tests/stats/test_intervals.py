"""Intervals that hold or refuse, and sampling that ends when they are narrow."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from benchmark.stats.intervals import (
    StoppingRule,
    check_sizes,
    estimate,
    estimate_groups,
    intervals,
    mean_interval,
    of_groups,
    of_processes,
    quantile,
    run_until,
    samples_needed,
    summary,
)

RNG = np.random.default_rng
NAMES = ("p50", "p90", "p95", "p99")


def refused(interval):
    return math.isnan(interval[1]) and math.isnan(interval[2])


@pytest.mark.parametrize(("q", "least"), [(0.5, 6), (0.9, 36), (0.95, 72), (0.99, 368), (0.1, 36)])
def test_a_bound_needs_as_many_samples_as_make_one_beyond_it_certain(q, least):
    assert samples_needed(q) == least
    assert max(q, 1 - q) ** least <= 0.025 < max(q, 1 - q) ** (least - 1)


@pytest.mark.parametrize(("q", "fewest"), [(0.5, 1), (0.9, 10), (0.95, 20), (0.99, 100), (0.1, 10)])
def test_no_quantile_is_extrapolated(q, fewest):
    assert math.isnan(quantile([1.0] * (fewest - 1), q))
    assert quantile([1.0] * fewest, q) == 1.0


def test_quantiles_are_those_of_the_samples_whatever_their_order():
    samples = [place * 7919 % 1000 + 1 for place in range(1000)]  # 1 to 1000, shuffled
    assert quantile(samples, 0.5) == pytest.approx(500.5)
    assert quantile(samples, 0.99) == pytest.approx(990.5, abs=0.6)


def test_an_interval_holds_the_quantile_between_samples():
    samples = RNG(1).lognormal(0, 0.1, 1000)
    for q in (0.5, 0.9, 0.95, 0.99):
        point, lo, hi = estimate(samples, q)
        assert lo < point < hi
        assert {lo, hi} <= set(samples)
        assert lo < math.exp(0.1 * stats.norm.ppf(q)) < hi


def test_intervals_scale_with_the_unit():
    samples = RNG(2).lognormal(0, 0.1, 500)
    assert estimate(samples * 1e6, 0.95) == pytest.approx([1e6 * one for one in estimate(samples, 0.95)])


@pytest.mark.parametrize(
    ("samples", "q"),
    [
        (RNG(0).lognormal(size=49), 0.5),  # less than 50 effective samples can't be
        (RNG(0).lognormal(size=71), 0.95),
        (RNG(0).lognormal(size=367), 0.99),
        (np.cumsum(RNG(0).standard_normal(2000)) + 1000, 0.5),  # it wanders: few of them are independent
        (np.repeat([1.0, 2.0], 1000), 0.5),
        ([], 0.5),
    ],
)
def test_what_can_not_be_said_is_refused(samples, q):
    assert refused(estimate(samples, q))


def test_a_series_that_never_changes_is_its_own_interval():
    assert estimate([2.0] * 100, 0.95) == (2, 2, 2)
    assert refused(estimate([2.0] * 100, 0.99))
    assert mean_interval([2.0] * 100) == (2, 2, 2)


def test_memory_makes_an_interval_wider():
    shocks = RNG(3).standard_normal(4000)
    remembering = np.convolve(shocks, 0.8 ** np.arange(40), mode="same")
    independent = RNG(3).permutation(remembering)
    widths = [np.ptp(estimate(10 + series, 0.5)[1:]) for series in (remembering, independent)]
    assert widths[0] > 2 * widths[1]


def test_several_quantiles_at_once_are_those_one_by_one():
    samples = RNG(4).gamma(2, size=800)
    assert intervals(samples, (0.5, 0.95)) == [estimate(samples, 0.5), estimate(samples, 0.95)]


def test_the_mean_has_a_t_interval_on_independent_samples():
    samples = RNG(5).standard_normal(500) + 10
    point, lo, hi = mean_interval(samples)
    assert point == samples.mean()
    assert (lo + hi) / 2 == pytest.approx(point)
    assert (hi - lo) / 2 == pytest.approx(1.96 * samples.std(ddof=1) / math.sqrt(500), rel=0.1)


def test_processes_are_summed_up_by_a_t_interval_on_logarithms():
    point, lo, hi = of_processes([1.0, 2.0, 4.0])
    half = stats.t.ppf(0.975, 2) * math.log(2) / math.sqrt(3)
    assert (point, lo, hi) == pytest.approx((2, 2 * math.exp(-half), 2 * math.exp(half)))


@pytest.mark.parametrize("points", [[], [1.0, math.nan], [1.0, 0.0]])
def test_a_process_that_tells_nothing_leaves_nothing_to_sum_up(points):
    assert all(map(math.isnan, of_processes(points)))


def test_one_process_says_nothing_of_the_next():
    assert of_processes([3.0])[0] == pytest.approx(3)
    assert refused(of_processes([3.0]))
    assert refused(estimate_groups([RNG(0).lognormal(size=1000)], 0.5))


def test_groups_are_summed_up_by_their_quantiles():
    groups = [RNG(seed).lognormal(0, 0.1, 500) for seed in range(5)]
    assert estimate_groups(groups, 0.95) == of_processes([quantile(group, 0.95) for group in groups])


def test_groups_too_short_for_the_tail_are_refused():
    groups = [RNG(seed).lognormal(0, 0.1, 100) for seed in range(5)]
    assert not refused(estimate_groups(groups, 0.95))
    assert refused(estimate_groups(groups, 0.99))


def test_a_summary_tells_no_percentile_of_too_few_samples():
    for samples, message in ((35, 1), (36, 2), (72, 3), (368, 4)):
        found = summary(RNG(6).lognormal(size=samples))
        points = [getattr(found, name)[0] for name in NAMES]
        assert [point is not None for point in points] == [True] * message + [False] * (4 - message)


def test_sampling_ends_when_the_interval_is_narrow():
    rng = RNG(7)
    point, lo, hi, n, reached = run_until(lambda k: rng.lognormal(0, 0.1, k), 0.5, 0.01)
    assert reached
    assert (hi - lo) / 2 <= 0.01 * point
    assert 300 < n < 3000


def test_sampling_that_finds_no_end_says_so():
    rng = RNG(8)
    *_, n, reached = run_until(lambda k: rng.lognormal(0, 0.5, k), 0.99, 0.001, max_n=1000)
    assert (n, reached) == (1000, False)


def test_sampling_ends_with_its_source():
    *_, n, reached = run_until(lambda k: [1.0, 2.0] * 30 if k > 60 else [], 0.5, 0.01)
    assert (n, reached) == (60, False)


def test_a_series_with_a_memory_has_to_be_narrow_twice():
    switching = np.tile(np.repeat([1.0, 1.01], 5), 200)  # fast and slow for five calls each
    stopping = StoppingRule(0.5, 0.1)
    assert [stopping.is_met(switching), stopping.is_met(switching)] == [False, True]


def test_looks_are_half_as_many_calls_again():
    assert list(check_sizes(100, 400)) == [100, 150, 225, 338, 400]
    assert list(check_sizes(100, 50)) == [50]


def test_one_process_without_enough_independent_calls_has_the_interval_of_its_quarters():
    rng = np.random.default_rng(0)
    walk = 10 + np.cumsum(rng.normal(0, 0.1, 400))
    assert np.isnan(estimate(walk, 0.5)[1])
    quarters = [float(np.median(part)) for part in np.array_split(walk, 4)]
    _, lo, hi = summary(walk).p50
    middle, expected_lo, expected_hi = of_processes(quarters)
    assert (lo / np.median(walk), hi / np.median(walk)) == pytest.approx(
        (expected_lo / middle, expected_hi / middle)
    )
    assert summary(walk[:3]).p50[1:] == (None, None)


def test_many_cells_have_the_intervals_of_each():
    rng = np.random.default_rng(1)
    values, codes = rng.lognormal(size=30), np.repeat(np.arange(4), [1, 2, 9, 18])
    values[-1] = np.nan
    together = np.array(of_groups(values, codes)).T
    alone = [of_processes([*values[codes == code]]) for code in range(4)]
    np.testing.assert_allclose(together, alone)
