"""Effective sample sizes: of series whose memory is known, and as arviz-stats has them."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.stats.autocorrelation import autocorrelation_time, effective_sample_size


def remembering(phi, n, seed=0):
    """A first-order autoregressive series: n * (1 - phi) / (1 + phi) of its values are independent."""
    noise = np.random.default_rng(seed).standard_normal(n)
    series = [noise[0]]
    for shock in noise[1:] * np.sqrt(1 - phi**2):
        series.append(phi * series[-1] + shock)
    return np.array(series)


@pytest.mark.parametrize("phi", [0.0, 0.3, 0.6, 0.9])
def test_a_series_counts_as_many_samples_as_it_forgets(phi):
    found = np.mean([effective_sample_size(remembering(phi, 2000, seed))[0] for seed in range(20)])
    assert found == pytest.approx(2000 * (1 - phi) / (1 + phi), rel=0.1)


def test_a_series_that_never_changes_counts_in_full():
    assert effective_sample_size(np.full(100, 3.0)).tolist() == [100]
    assert autocorrelation_time(np.full(100, 3.0)) == 1


def test_too_few_values_have_no_memory_to_speak_of():
    assert effective_sample_size(np.arange(7.0)).tolist() == [7]
    assert autocorrelation_time(np.array([])) == 1


def test_halves_that_differ_count_for_little():
    steps = np.repeat([1.0, 2.0], 500) + 0.01 * np.random.default_rng(0).standard_normal(1000)
    assert effective_sample_size(steps)[0] < 10


def test_rows_are_judged_each_for_itself():
    rows = np.stack([remembering(0.0, 500), remembering(0.9, 500)])
    assert effective_sample_size(rows) == pytest.approx(
        [effective_sample_size(row)[0] for row in rows], rel=1e-9
    )


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("n", [100, 1001])
def test_the_library_that_is_too_slow_to_import_finds_the_same(phi, n):
    stats = pytest.importorskip("arviz_stats.base", reason="arviz-stats needs Python 3.11").array_stats
    series = remembering(phi, n)
    below = (series <= np.median(series)).astype(float)
    theirs = stats.ess(series[None], chain_axis=0, draw_axis=1, method="quantile", prob=0.5)
    assert effective_sample_size(below)[0] == pytest.approx(float(theirs), rel=0.1)
