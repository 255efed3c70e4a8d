"""Effective sample size: successive latencies are correlated, so n of them count as fewer.

The estimator is that of Vehtari et al. (2021), "Rank-normalization, folding, and localization", section 3.2:
Geyer's initial monotone sequence on the autocovariances of both halves. A test compares it with arviz-stats;
importing that would cost every measuring child more than the rest of the analysis.
"""

from __future__ import annotations

import numpy as np


def effective_sample_size(values: np.ndarray) -> np.ndarray:
    """Number of independent samples that estimate each row's mean as well; n for a constant row.

    `values` is rows x n, or n values. A difference between the two halves of a row lowers the result too.
    """
    rows = np.atleast_2d(np.asarray(values, float))
    n = rows.shape[1]
    half = n // 2
    if half < 4:  # noqa: PLR2004 - too few for an autocovariance
        return np.full(len(rows), float(n))
    halves = np.stack([rows[:, :half], rows[:, n - half :]])  # 2 x rows x half
    found = _autocovariance(halves)
    within = found[..., 0].mean(0) * half / (half - 1)
    variance = within * (half - 1) / half + halves.mean(-1).var(0, ddof=1)
    still = variance <= np.finfo(float).eps * np.abs(rows).max(1) ** 2
    correlation = 1 - (within[:, None] - found.mean(0)) / np.where(still, 1.0, variance)[:, None]
    correlation[:, 0] = 1
    return np.where(still, float(n), n / _integrated(correlation, 1 / np.log10(2 * half)))


def autocorrelation_time(values: np.ndarray) -> float:
    """Calls after which a series is independent of its past: n / ESS, at least 1."""
    n = len(values)
    return float(max(1.0, n / effective_sample_size(values)[0])) if n else 1.0


def _autocovariance(values: np.ndarray) -> np.ndarray:
    """Biased autocovariances along the last axis, for every lag."""
    n = values.shape[-1]
    length = 1 << (2 * n - 1).bit_length()
    spectrum = np.fft.rfft(values - values.mean(-1, keepdims=True), length)
    return np.asarray(np.fft.irfft(spectrum * spectrum.conj(), length)[..., :n] / n)


def _integrated(correlation: np.ndarray, least: float) -> np.ndarray:
    """Integrated autocorrelation time of each row: pairs of lags while their sums are positive."""
    pairs = correlation[:, : correlation.shape[1] // 2 * 2].reshape(len(correlation), -1, 2).sum(-1)
    alive = np.logical_and.accumulate(pairs > 0, axis=1)
    falling = np.minimum.accumulate(np.where(alive, pairs, 0.0), axis=1)
    return np.asarray(np.maximum(2 * falling.sum(1) - 1, least))
