"""Evidence for a slow-down from noisy nights and paired runs: robust levels, odds, a t test.

All figures are logs of times, so that a shift is a ratio of times.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

NIGHTS = 3
"""A slow-down may have come tonight or up to two nights ago; nights before these are history."""
EFFECTS = np.log1p([0.03, 0.06, 0.12])
"""Slow-downs in the alternative hypothesis; one between or beyond them is found by its neighbours."""
TAIL = 5.0
"""Degrees of freedom of the likelihoods: heavy tails, so that outliers don't decide."""
LEAST_SD = 0.001
"""Least standard deviation: simulated times may not vary at all."""
TRIM = 0.1
"""Share of the pairs trimmed at either end in the test: one outlier must not hide a slow-down."""
PRIOR_NIGHTS = 4
"""Nights that the typical series' noise counts for in each series' own."""
OBVIOUS = 2.0
"""Standard errors by which each of the last NIGHTS must be out for them to be a new level."""
LEAST_STEPS = 8
"""Least number of steps from pair to pair that estimate a night's noise of pairs."""


class Recent(NamedTuple):
    """Each series' last nights against its history.

    Arrays are (series), but `shift`, `error` and `p` (NIGHTS, series): row i is about the last i + 1 nights.
    """

    judged: np.ndarray
    """Whether there is enough history."""
    sd: np.ndarray
    """Noise of a night."""
    shift: np.ndarray
    """Mean of the last nights from the level before."""
    error: np.ndarray
    """Standard error of the shift."""
    p: np.ndarray
    """One-sided p of the shift."""
    below: np.ndarray
    """Whether each of the last NIGHTS is obviously below the level."""
    above: np.ndarray
    """By how much each of them at least is above it, -inf where not obviously."""


def middle(p50s: Sequence[float]) -> float:
    """A series' value of a night: mean log of the middle half of its processes, NaN without any."""
    logs = sorted(math.log(p50) for p50 in p50s if 0 < p50 < math.inf)
    if not logs:
        return math.nan
    cut = min(round(len(logs) / 4), (len(logs) - 1) // 2)
    return float(np.mean(logs[cut : len(logs) - cut]))


def levels(table: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Count, level (NaN without any) and standard deviation of each column; outliers are winsorised.

    Args:
        table: (nights, series), NaN where missing.
    """
    count = np.isfinite(table).sum(axis=0)
    centre = _median(table, count)
    reach = 3 * np.maximum(1.4826 * _median(np.abs(table - centre), count), LEAST_SD)
    drawn = np.clip(table, centre - reach, centre + reach)
    level = np.nansum(drawn, axis=0) / np.maximum(count, 1)
    squares = np.nansum((drawn - level) ** 2, axis=0)
    return count, np.where(count > 0, level, np.nan), np.sqrt(squares / np.maximum(count - 1, 1))


def compare(table: np.ndarray, least_nights: int) -> Recent:
    """Compare the last nights with those before; a series' noise is shrunk towards the typical one.

    Args:
        table: (nights, series), the latest night last, NaN where missing.
        least_nights: Nights of history needed.
    """
    from scipy.special import stdtr

    count, level, sd = levels(table[:-NIGHTS])
    judged = count >= least_nights
    freedom = np.maximum(count - 1.0, 1)
    if judged.any():
        typical = np.median(sd[judged])
        sd = np.sqrt((PRIOR_NIGHTS * typical**2 + freedom * sd**2) / (PRIOR_NIGHTS + freedom))
    sd = np.maximum(sd, LEAST_SD)
    latest = (table[-NIGHTS:] - level)[::-1]
    seen = np.maximum(np.isfinite(latest).cumsum(axis=0), 1)
    shift = np.nancumsum(latest, axis=0) / seen
    error = sd * np.sqrt(1 / seen + 1 / np.maximum(count, 1))
    out, least = OBVIOUS * error[0], latest.min(axis=0)
    return Recent(
        judged=judged,
        sd=sd,
        shift=shift,
        error=error,
        p=stdtr(freedom + PRIOR_NIGHTS, -shift / error),
        below=judged & (latest.max(axis=0) < -out),
        above=np.where(judged & (least > out), least, -np.inf),
    )


def _median(table: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Median of each column: `np.nanmedian` goes through a table of few rows column by column."""
    ordered, column = np.sort(table, axis=0), np.arange(table.shape[1])
    last = np.maximum(count - 1, 0)
    halves: np.ndarray = ordered[last // 2, column] + ordered[(last + 1) // 2, column]
    return halves / 2


def gains(shift: np.ndarray | float, error: np.ndarray | float) -> np.ndarray:
    """Log likelihood ratios of each of EFFECTS (a new last axis) over none, errors being Student's t.

    A shift beyond the greatest effect counts as that effect: in the tail of both the ratio would be smaller.
    """
    spread = np.asarray(error)[..., None]
    shift = np.minimum(shift, EFFECTS[-1])[..., None]
    none, some = shift / spread, (shift - EFFECTS) / spread
    ratios: np.ndarray = (TAIL + 1) / 2 * (np.log1p(none**2 / TAIL) - np.log1p(some**2 / TAIL))
    return ratios


def odds(gain: np.ndarray) -> np.ndarray:
    """Log of the mean likelihood ratio over the last two axes, onsets and effects."""
    total = np.logaddexp.reduce(np.logaddexp.reduce(gain, axis=-1), axis=-1)
    return np.asarray(total - math.log(gain.shape[-1] * gain.shape[-2]))


def trimmed(pairs: Sequence[float]) -> tuple[float, float, int]:
    """Trimmed mean, its standard error and degrees of freedom (Tukey and McLaughlin 1963).

    Without two pairs the error is infinite and has no degree of freedom; without one the mean is NaN.
    """
    n = len(pairs)
    if n <= 1:
        return (pairs[0] if pairs else math.nan), math.inf, 0
    cut = int(TRIM * n)
    kept = n - 2 * cut
    ordered = np.sort(pairs)
    drawn = np.clip(ordered, ordered[cut], ordered[n - 1 - cut])
    error = math.sqrt(((drawn - drawn.mean()) ** 2).sum() / (kept * (kept - 1)))
    return float(ordered[cut : n - cut].mean()), max(error, LEAST_SD / math.sqrt(kept)), kept - 1


def noise(before: float, pairs: Iterable[Sequence[float]]) -> float:
    """Standard deviation of a pair: a fifth of the way from that known before to tonight's.

    Args:
        before: The one known before.
        pairs: Tonight's log ratios, series by series: a step from one to the next knows no slow-down.
    """
    steps = np.concatenate([np.empty(0), *(np.abs(np.diff(one)) for one in pairs)])
    if len(steps) < LEAST_STEPS:
        return before
    tonight = float(np.median(steps)) / 0.954  # the median step of normal pairs of standard deviation 1
    return math.exp(0.8 * math.log(before) + 0.2 * math.log(max(tonight, LEAST_SD)))
