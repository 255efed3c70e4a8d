"""Bounds that hold at every look: how far apart two candidates are, however often one looks.

Candidates are compared within rounds, by the differences of their logarithms, so that what slows the whole
machine cancels out. The mean of n differences is bounded by Robbins' normal mixture (1970): with z below, the
chance that any of the first, second, third ... bounds is wrong is `miss`, in all.

    z(n)^2 = (1 + r / n) * (2 * log(1 / miss) + log(1 + n / r)),  r = 3

The spread is estimated, so z becomes the quantile of Student's t with the same chance. Fifths of the
differences at both ends are trimmed (Yuen 1974), for a look that was disturbed must not decide.
`tests/benchmarks/tune_landscapes.py` shows how often the bounds are wrong.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np

_MIXTURE: Final = 3.0
"""r: bounds are narrowest after a few times as many looks."""
_TRIMMED: Final = 0.2
_BORROWED: Final = 20.0
"""Degrees of freedom, at most, that the spread of all candidates adds to that of one."""
_ONE_IN: Final = 2.0
"""Degrees of freedom of the others for each that is borrowed."""
_LEAST_SPREAD: Final = 5e-4
"""Standard deviation of a difference that is taken for granted: clocks and caches differ by as much."""


class Bounds(NamedTuple):
    """Differences of many candidates from one of them, in logarithms; NaN below two common rounds."""

    mean: np.ndarray
    """Defined from the first common round on."""
    half: np.ndarray
    """Half width of the interval; infinite below two common rounds."""
    rounds: np.ndarray
    """Common rounds of each candidate."""

    @property
    def lo(self) -> np.ndarray:
        """Lower bounds."""
        return np.asarray(self.mean - self.half)

    @property
    def hi(self) -> np.ndarray:
        """Upper bounds."""
        return np.asarray(self.mean + self.half)


def bounds(differences: np.ndarray, miss: float) -> Bounds:
    """Bounds of the mean of each line; `differences` is (candidates, rounds), NaN where a look is missing.

    `miss` is the chance that one given line is ever outside of its bound, on one side.
    """
    rounds = np.sum(~np.isnan(differences), axis=1)
    mean, variance, freedom = _spread(differences, rounds)
    variance, freedom = _pooled(variance, freedom)
    half = np.full(len(rounds), math.inf)
    many = rounds > 1
    n = rounds[many]
    half[many] = _t(z(n, miss), freedom[many]) * np.sqrt(variance[many] / n)
    return Bounds(mean, half, rounds)


def z(n: np.ndarray, miss: float) -> np.ndarray:
    """Standard errors that the mean of n draws stays within, at every n at once."""
    return np.sqrt((1 + _MIXTURE / n) * (-2 * math.log(miss) + np.log1p(n / _MIXTURE)))


def _spread(values: np.ndarray, rounds: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Trimmed mean of each line, the variance of one look that explains its error, degrees of freedom."""
    in_order = np.sort(values, axis=1)  # NaN come last
    lines, places = np.arange(len(values)), np.arange(values.shape[1])
    cut = (_TRIMMED * rounds).astype(int)
    lo = in_order[lines, np.minimum(cut, values.shape[1] - 1)]
    hi = in_order[lines, np.maximum(rounds - cut - 1, 0)]
    within = (places >= cut[:, None]) & (places < (rounds - cut)[:, None])
    kept = rounds - 2 * cut
    total = np.where(within, in_order, 0.0).sum(axis=1)
    winsorized = (total + cut * (lo + hi)) / np.maximum(rounds, 1)
    squares = np.where(within, np.square(in_order - winsorized[:, None]), 0.0).sum(axis=1)
    squares += cut * (np.square(lo - winsorized) + np.square(hi - winsorized))
    mean = np.where(kept > 0, total / np.maximum(kept, 1), math.nan)
    freedom = np.maximum(kept - 1, 0).astype(float)
    variance = np.where(kept > 1, rounds * squares / np.maximum(kept * (kept - 1), 1), 0.0)
    return mean, variance, freedom


def _pooled(variance: np.ndarray, freedom: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each variance, drawn toward the typical one of the others as far as they have looks enough."""
    known = freedom > 0
    if not known.any():
        return variance, freedom
    # The median of chi-squared over its degrees of freedom, by Wilson and Hilferty.
    to_median = (1 - 2 / (9 * freedom[known])) ** 3
    typical = float(np.median(variance[known] / to_median))
    borrowed = np.minimum(_BORROWED, (freedom.sum() - freedom) / _ONE_IN)
    drawn = (borrowed * typical + freedom * variance) / np.maximum(borrowed + freedom, 1e-9)
    return np.maximum(drawn, _LEAST_SPREAD**2), borrowed + freedom


def _t(z_: np.ndarray, freedom: np.ndarray) -> np.ndarray:
    """Student's t with the same chance beyond as z of a normal."""
    from scipy.special import ndtr, stdtrit

    return np.asarray(-stdtrit(np.maximum(freedom, 1e-3), np.maximum(ndtr(-z_), 1e-300)))
