"""Percentiles with intervals that hold on real latency series, or that refuse; and when to stop sampling.

Samples of one process are alike, so order statistics are taken on the effective sample size; and one process
says nothing of the next, so several are summed up by a t interval on their quantiles.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np

from benchmark.measurement import Bounds, Summary
from benchmark.stats.autocorrelation import effective_sample_size

_MISS: Final = 0.025
"""Of a two-sided 95 % interval, on each side."""
_BODY: Final = (0.25, 0.5, 0.75, 0.9)
"""Quantiles whose autocorrelation counts besides that of the one that is asked for."""
_LEAST_ESS: Final = 50
"""Effective samples below which the effective sample size itself is a guess."""
_FLOOR_ESS: Final = 30
"""The same for the least of several quantiles', which is low by chance."""
_ENOUGH_ESS: Final = 100
"""Effective samples below which no dependent series is stopped for being narrow."""
_TAIL_SHARE: Final = 0.6
"""Of the samples that a bound in the tail needs, how many must be independent in that tail."""
_EXCEEDING: Final = 20
"""Samples beyond a quantile, without which its own autocorrelation can't be told."""
_LEAST_BEYOND: Final = 2.5
"""Independent samples beyond a process's quantile, without which it lies too low."""
_ALMOST_INDEPENDENT: Final = 0.7
_ONE_LOOK: Final = 1000
"""Independent samples of which one look is enough: fewer may have seen one state of several."""
_MARGIN: Final = 0.9
"""Of the width asked for: the first look that is narrow enough is narrower than it should be, by chance."""
GROWTH: Final = 1.5
"""From one look at the samples to the next, so that all looks cost three times the last."""
_FIRST_LOOK: Final = 200


class Interval(NamedTuple):
    """A quantile and its 95 % interval, in the unit of the samples; NaN where it is refused."""

    point: float
    lo: float
    hi: float


def needed(q: float) -> int:
    """Independent samples that make one beyond the quantile certain: p90 needs 36, p95 72, p99 368."""
    return math.ceil(math.log(_MISS) / math.log(max(q, 1 - q)))


def intervals(samples: Sequence[float] | np.ndarray, qs: Sequence[float]) -> list[Interval]:
    """`estimate` for several quantiles at once."""
    return [interval for interval, _ in _intervals(np.asarray(samples, float), qs)]


def estimate(samples: Sequence[float] | np.ndarray, q: float) -> tuple[float, float, float]:
    """Quantile and 95 % interval from one process: samples in time order, 1-D, in any unit.

    The interval is of binomial order statistics on the effective sample size (the least of those of q and of
    the quartiles and p90). It is NaN below 50 effective samples, or fewer than `needed` in the tail.
    """
    return intervals(samples, (q,))[0]


def estimate_groups(groups: Sequence[Sequence[float] | np.ndarray], q: float) -> tuple[float, float, float]:
    """Quantile and 95 % interval over processes: samples of each, 1-D, in any unit.

    The geometric mean of the processes' quantiles, and a t interval on their logarithms: what differs between
    processes is many times what differs within one. The interval is NaN with fewer than two processes, fewer
    than `needed` samples in one, or too few independent ones in the tail, where quantiles are biased.
    """
    found = of_processes([quantile(group, q) for group in groups])
    return found if groups and _telling(groups, q) else Interval(found.point, math.nan, math.nan)


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


def _telling(groups: Sequence[Sequence[float] | np.ndarray], q: float) -> bool:
    """Whether the processes' quantiles are those of their distributions, but for noise."""
    if min(map(len, groups)) < needed(q):
        return False
    beyond = [_tail_ess(np.asarray(group, float), q) * min(q, 1 - q) for group in groups]
    return bool(np.median(beyond) >= _LEAST_BEYOND)


def _tail_ess(values: np.ndarray, q: float) -> float:
    below = values <= np.quantile(values, _tail(q, len(values)))
    return float(effective_sample_size(below.astype(float))[0])


def _ess(values: np.ndarray) -> float:
    return min(len(values), float(effective_sample_size(values)[0]))


def _tail(q: float, n: int) -> float:
    """The quantile nearest to q beyond which enough of n samples lie to tell their autocorrelation."""
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


def summary(milliseconds: np.ndarray) -> Summary:
    """What a row tells of its samples: percentiles need as many as `needed` says, else they are null."""
    qs = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
    found = _intervals(milliseconds, tuple(qs.values()))
    told = {
        name: _told(interval) if q == 0.5 or len(milliseconds) >= needed(q) else (None, None, None)  # noqa: PLR2004
        for (name, q), (interval, _) in zip(qs.items(), found, strict=True)
    }
    return Summary(mean=_told(mean_interval(milliseconds)), effective_samples=found[0][1] or None, **told)


def _told(interval: Interval) -> Bounds:
    point, lo, hi = (None if math.isnan(value) else value for value in interval)
    return point, lo, hi


class Stopping:
    """Looks at a growing series until the interval of its quantile is narrow: ±rel of the point."""

    def __init__(self, q: float, rel: float) -> None:
        self._q, self._rel = q, rel
        self._agreeing = 0
        self.interval = Interval(math.nan, math.nan, math.nan)
        """What the last look found."""

    def look(self, samples: Sequence[float] | np.ndarray) -> bool:
        """Whether these samples are enough, at two looks in a row unless they are many and independent.

        Raises:
            ValueError: never for fewer than 50 samples; the interval is then refused and they aren't enough.
        """
        values = np.asarray(samples, float)
        ((self.interval, ess),) = _intervals(values, (self._q,))
        point, lo, hi = self.interval
        narrow = (hi - lo) / 2 <= _MARGIN * self._rel * abs(point)  # not where it is refused: NaN
        self._agreeing = self._agreeing + 1 if narrow else 0
        independent = ess >= _ALMOST_INDEPENDENT * len(values)
        told = independent or ess >= _ENOUGH_ESS
        return told and self._agreeing > (0 if independent and len(values) >= _ONE_LOOK else 1)


def looks(first: int, last: int) -> Iterator[int]:
    """Numbers of samples at which to look."""
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

    `draw(k)` gives the next k, in any unit; not reached after `max_n`, or when it gives fewer than asked for.
    """
    stopping, samples = Stopping(q, rel), np.empty(0)
    for n in looks(max(_FIRST_LOOK, needed(q)), max_n):
        drawn = np.asarray(draw(n - len(samples)), float)
        samples = np.concatenate([samples, drawn])
        if stopping.look(samples):
            return (*stopping.interval, len(samples), True)
        if len(samples) < n:
            break
    return (*stopping.interval, len(samples), False)


def _intervals(values: np.ndarray, qs: Sequence[float]) -> list[tuple[Interval, float]]:
    """Each quantile's interval, with the effective sample size that it stands on."""
    n = len(values)
    if n < _LEAST_ESS:
        return [(Interval(quantile(values, q), math.nan, math.nan), 0.0) for q in qs]
    if values.min() == values.max():
        return [(_constant(float(values[0]), n >= needed(q)), float(n)) for q in qs]
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
            or n < needed(q)
            or ess[tails[q]] < _TAIL_SHARE * needed(q)
        )
        lo, hi = (math.nan, math.nan) if refused else _order_statistics(in_order, q, least)
        found.append((Interval(quantile(values, q), lo, hi), float(least)))
    return found


def _constant(value: float, enough: bool) -> Interval:
    return Interval(value, value, value) if enough else Interval(value, math.nan, math.nan)


def _order_statistics(in_order: np.ndarray, q: float, ess: float) -> tuple[float, float]:
    """Samples between which the quantile lies in 95 % of cases, had only `ess` of them been drawn."""
    from scipy.special import bdtrik

    m, n = int(ess), len(in_order)
    low, high = (max(0.0, float(np.ceil(bdtrik(p, m, q)))) for p in (_MISS, 1 - _MISS))
    first = math.floor(low / (m + 1) * (n + 1)) - 1
    last = math.ceil((high + 1) / (m + 1) * (n + 1)) - 1
    return float(in_order[max(0, first)]), float(in_order[min(n - 1, last)])
