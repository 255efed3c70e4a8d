"""Percentiles with 95 % intervals for dependent latencies, and the stopping rule of a sampling.

Samples of one process are correlated, so its order statistics use the effective sample size. One process
doesn't predict the next, so several are combined by a t interval on their quantiles. An interval that isn't
reliable is refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from benchmark.measurement import Bounds, Summary
from benchmark.stats.autocorrelation import effective_sample_size

_MISS: Final = 0.025
"""Of a two-sided 95 % interval, on each side."""
_BODY: Final = (0.25, 0.5, 0.75, 0.9)
"""Quantiles whose autocorrelation counts besides that of the requested one."""
_LEAST_ESS: Final = 50
"""Effective samples below which the effective sample size itself is uncertain."""
_FLOOR_ESS: Final = 30
"""The same for the smallest of several quantiles' sizes, which is low by chance."""
_ENOUGH_ESS: Final = 100
"""Effective samples below which the sampling of a dependent series goes on, however narrow its interval."""
_TAIL_SHARE: Final = 0.6
"""Share of the samples needed for a bound in the tail that must be independent in that tail."""
_EXCEEDING: Final = 20
"""Samples beyond a quantile below which its own autocorrelation can't be estimated."""
_LEAST_BEYOND: Final = 2.5
"""Independent samples beyond a process's quantile below which the quantile is biased low."""
_ALMOST_INDEPENDENT: Final = 0.7
_ONE_CHECK: Final = 1000
"""Independent samples for which one check is enough: fewer may all come from one state of several."""
_MARGIN: Final = 0.9
"""Share of the requested width: the first interval that is narrow enough is too narrow by chance."""
GROWTH: Final = 1.5
"""From one check of the samples to the next, so that all checks cost three times the last."""
_FIRST_CHECK: Final = 200
_QUARTERS: Final = 4


class Interval(NamedTuple):
    """A quantile and its 95 % interval, in the unit of the samples; NaN if it is refused."""

    point: float
    lo: float
    hi: float


def samples_needed(q: float) -> int:
    """Smallest sample for which a 95 % bound of quantile q exists: p90 needs 36, p95 72, p99 368."""
    return math.ceil(math.log(_MISS) / math.log(max(q, 1 - q)))


def intervals(samples: Sequence[float] | np.ndarray, qs: Sequence[float]) -> list[Interval]:
    """`estimate` for several quantiles at once."""
    return [interval for interval, _ in _intervals(np.asarray(samples, float), qs)]


def estimate(samples: Sequence[float] | np.ndarray, q: float) -> tuple[float, float, float]:
    """Quantile and 95 % interval from one process: samples in time order, 1-D, in any unit.

    The interval is of binomial order statistics on the effective sample size (the least of those of q and of
    the quartiles and p90). It is NaN below 50 effective samples, or fewer than `samples_needed` in the tail.
    """
    return intervals(samples, (q,))[0]


def estimate_groups(groups: Sequence[Sequence[float] | np.ndarray], q: float) -> tuple[float, float, float]:
    """Quantile and 95 % interval over processes: samples of each, 1-D, in any unit.

    The geometric mean of the processes' quantiles, and a t interval on their logarithms: processes differ
    many times more than samples of one process do. The interval is NaN with fewer than two processes, with
    fewer than `samples_needed` in one, or too few independent ones in the tail, where quantiles are biased.
    """
    found = of_processes([quantile(group, q) for group in groups])
    return found if groups and _has_enough_beyond(groups, q) else Interval(found.point, math.nan, math.nan)


def of_processes(points: Sequence[float]) -> Interval:
    """One statistic of several processes: geometric mean and 95 % t interval on the logarithms.

    All NaN where one is missing or not positive; no bounds with fewer than two.
    """
    from scipy.special import stdtrit

    if not points or not all(point > 0 for point in points):
        return Interval(math.nan, math.nan, math.nan)
    logs = np.log(points)
    middle = math.exp(logs.mean())
    if len(logs) < 2:  # noqa: PLR2004 - one process has no spread
        return Interval(middle, math.nan, math.nan)
    half = float(stdtrit(len(logs) - 1, 1 - _MISS) * logs.std(ddof=1) / math.sqrt(len(logs)))
    return Interval(middle, middle * math.exp(-half), middle * math.exp(half))


def of_groups(values: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`of_processes` for many cells: middle, lo and hi of each. `codes` says which cell a value is of."""
    from scipy.special import stdtrit

    sizes = np.bincount(codes)
    with np.errstate(invalid="ignore", divide="ignore"):
        logs = np.where(values > 0, np.log(values), np.nan)
        middle = np.bincount(codes, logs) / sizes
        variance = np.bincount(codes, np.square(logs - middle[codes])) / (sizes - 1)
        half = stdtrit(sizes - 1, 1 - _MISS) * np.sqrt(variance / sizes)
    return np.exp(middle), np.exp(middle - half), np.exp(middle + half)


def half_width(points: Sequence[float]) -> float:
    """Greater half of the interval of `of_processes`, as a share of its middle; NaN without bounds."""
    middle, lo, hi = of_processes(points)
    return max(hi - middle, middle - lo) / middle


def _has_enough_beyond(groups: Sequence[Sequence[float] | np.ndarray], q: float) -> bool:
    """Whether each process has enough samples beyond the quantile for an unbiased estimate."""
    if min(map(len, groups)) < samples_needed(q):
        return False
    beyond = [_tail_ess(np.asarray(group, float), q) * min(q, 1 - q) for group in groups]
    return bool(np.median(beyond) >= _LEAST_BEYOND)


def _tail_ess(values: np.ndarray, q: float) -> float:
    below = values <= np.quantile(values, _tail(q, len(values)))
    return float(effective_sample_size(below.astype(float))[0])


def _ess(values: np.ndarray) -> float:
    return min(len(values), float(effective_sample_size(values)[0]))


def _tail(q: float, n: int) -> float:
    """The quantile nearest to q beyond which enough of n samples lie to estimate their autocorrelation."""
    least = min(0.5, _EXCEEDING / n)
    return min(max(q, least), 1 - least)


def quantile(samples: Sequence[float] | np.ndarray, q: float) -> float:
    """The median-unbiased quantile; NaN with fewer than 1 / (1 - q) samples: it would be extrapolated."""
    if len(samples) < (1 if q == 0.5 else round(1 / min(q, 1 - q))):  # noqa: PLR2004 - the median has no tail
        return math.nan
    return float(np.quantile(samples, q, method="median_unbiased"))


def mean_interval(samples: Sequence[float] | np.ndarray) -> Interval:
    """Mean and 95 % interval from one process, by the effective sample size; refused as `estimate` does."""
    values = np.asarray(samples, float)
    if not len(values):
        return Interval(math.nan, math.nan, math.nan)
    point = float(values.mean())
    if len(values) < _LEAST_ESS or (ess := _ess(values)) < _LEAST_ESS:
        return Interval(point, math.nan, math.nan)
    from scipy.special import stdtrit

    half = float(stdtrit(ess - 1, 1 - _MISS) * values.std(ddof=1) / math.sqrt(ess))
    return Interval(point, point - half, point + half)


def of_quarters(
    samples: Sequence[float] | np.ndarray, statistic: Callable[[np.ndarray], np.floating[Any]]
) -> Interval:
    """Statistic and 95 % interval from one process that `estimate` refuses: a t interval over four parts.

    Wide, and right where the memory of the series is short beside a quarter of it: on simulated series with
    10 and more independent calls it covers 95 %, with 5 to 10 of them 91 %, with 2 to 5 of them 86 %
    (2026-11). No bounds with fewer than 4 samples.
    """
    values = np.asarray(samples, float)
    point = float(statistic(values)) if len(values) else math.nan
    if len(values) < _QUARTERS:
        return Interval(point, math.nan, math.nan)
    middle, lo, hi = of_processes([float(statistic(part)) for part in np.array_split(values, _QUARTERS)])
    return Interval(point, point * lo / middle, point * hi / middle)


def summary(milliseconds: np.ndarray) -> Summary:
    """Percentiles, mean and effective samples of a row; a percentile is null below `samples_needed`.

    Where the intervals of median and mean are refused, they are those of the quarters.
    """
    qs = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
    found = _intervals(milliseconds, tuple(qs.values()))
    percentiles = {
        name: _bounds(interval) if q == 0.5 or len(milliseconds) >= samples_needed(q) else (None, None, None)  # noqa: PLR2004
        for (name, q), (interval, _) in zip(qs.items(), found, strict=True)
    }
    if math.isnan(found[0][0].lo):
        percentiles["p50"] = _bounds(of_quarters(milliseconds, np.median))
    mean = mean_interval(milliseconds)
    return Summary(
        mean=_bounds(of_quarters(milliseconds, np.mean) if math.isnan(mean.lo) else mean),
        effective_samples=found[0][1] or None,
        **percentiles,
    )


def _bounds(interval: Interval) -> Bounds:
    point, lo, hi = (None if math.isnan(value) else value for value in interval)
    return point, lo, hi


class StoppingRule:
    """When a growing series has enough samples: the interval of its quantile is ±rel of the point."""

    def __init__(self, q: float, rel: float) -> None:
        self._q, self._rel = q, rel
        self._agreeing = 0
        self.interval = Interval(math.nan, math.nan, math.nan)
        """That of the last check."""

    def is_met(self, samples: Sequence[float] | np.ndarray) -> bool:
        """Whether these samples are enough: in two checks in a row, unless they are many and independent."""
        values = np.asarray(samples, float)
        ((self.interval, ess),) = _intervals(values, (self._q,))
        point, lo, hi = self.interval
        narrow = (hi - lo) / 2 <= _MARGIN * self._rel * abs(point)  # false if refused: NaN
        self._agreeing = self._agreeing + 1 if narrow else 0
        independent = ess >= _ALMOST_INDEPENDENT * len(values)
        reliable = independent or ess >= _ENOUGH_ESS
        return reliable and self._agreeing > (0 if independent and len(values) >= _ONE_CHECK else 1)


def check_sizes(first: int, last: int) -> Iterator[int]:
    """Numbers of samples at which to check the stopping rule."""
    n = min(first, last)
    while True:
        yield n
        if n >= last:
            return
        n = min(math.ceil(n * GROWTH), last)


def run_until(
    draw: Callable[[int], Sequence[float]], q: float, rel: float, max_n: int = 200_000
) -> tuple[float, float, float, int, bool]:
    """Draw latencies until the quantile's 95 % interval is ±rel of it: (point, lo, hi, n, reached).

    `draw(k)` gives the next k, in any unit; not reached after `max_n`, or when it gives fewer than requested.
    """
    stopping, samples = StoppingRule(q, rel), np.empty(0)
    for n in check_sizes(max(_FIRST_CHECK, samples_needed(q)), max_n):
        drawn = np.asarray(draw(n - len(samples)), float)
        samples = np.concatenate([samples, drawn])
        if stopping.is_met(samples):
            return (*stopping.interval, len(samples), True)
        if len(samples) < n:
            break
    return (*stopping.interval, len(samples), False)


def _intervals(values: np.ndarray, qs: Sequence[float]) -> list[tuple[Interval, float]]:
    """Each quantile's interval, with the effective sample size behind it."""
    n = len(values)
    if n < _LEAST_ESS:
        return [(Interval(quantile(values, q), math.nan, math.nan), 0.0) for q in qs]
    if values.min() == values.max():
        return [(_constant(float(values[0]), n >= samples_needed(q)), float(n)) for q in qs]
    tails = {q: _tail(q, n) for q in qs}
    cuts = sorted({*_BODY, *qs, *tails.values()})
    below = values <= np.quantile(values, cuts, method="median_unbiased")[:, None]
    ess = dict(zip(cuts, np.minimum(effective_sample_size(below.astype(float)), n), strict=True))
    in_order = np.sort(values)
    found = []
    for q in qs:
        least, usual = min(ess[one] for one in (*_BODY, q)), np.median([ess[one] for one in (*_BODY, q)])
        refused = (
            usual < _LEAST_ESS
            or least < _FLOOR_ESS
            or n < samples_needed(q)
            or ess[tails[q]] < _TAIL_SHARE * samples_needed(q)
        )
        lo, hi = (math.nan, math.nan) if refused else _order_statistics(in_order, q, least)
        found.append((Interval(quantile(values, q), lo, hi), float(least)))
    return found


def _constant(value: float, enough: bool) -> Interval:
    return Interval(value, value, value) if enough else Interval(value, math.nan, math.nan)


def _order_statistics(in_order: np.ndarray, q: float, ess: float) -> tuple[float, float]:
    """Samples that bound the quantile with 95 % confidence, as if only `ess` of them had been drawn."""
    from scipy.special import bdtrik

    m, n = int(ess), len(in_order)
    low, high = (max(0.0, float(np.ceil(bdtrik(p, m, q)))) for p in (_MISS, 1 - _MISS))
    first = math.floor(low / (m + 1) * (n + 1)) - 1
    last = math.ceil((high + 1) / (m + 1) * (n + 1)) - 1
    return float(in_order[max(0, first)]), float(in_order[min(n - 1, last)])
