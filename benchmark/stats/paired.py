"""Is one model less right than another on the same items? Intervals, exact tests and verdicts.

Right and wrong answers to the same items are paired: only discordant items, where one of both is right, say
something about the difference. `lost` counts those that the reference alone answers rightly, `won` the
reverse.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final, Literal, NamedTuple

import numpy as np

CONFIDENCE: Final = 0.95
FEWEST_DISCORDANT: Final = 6
"""Of five discordant items or fewer even 5:0 has p = .0625."""
_Z2: Final = 1.959963984540054**2
_RESAMPLES: Final = 10_000

Verdict = Literal["no measurable difference", "worse", "better", "too few to tell"]


class Bounds(NamedTuple):
    """A value with its 95 % interval."""

    value: float
    lo: float
    hi: float


def wilson(right: int, items: int) -> Bounds:
    """Share of right answers with Wilson's score interval (1927)."""
    from scipy.stats import binomtest

    interval = binomtest(right, items).proportion_ci(confidence_level=CONFIDENCE, method="wilson")
    return Bounds(right / items, float(interval.low), float(interval.high))


def mcnemar(lost: int, won: int) -> float:
    """Two-sided p of McNemar's exact test: both kinds of discordant item are equally likely."""
    from scipy.stats import binomtest

    return float(binomtest(lost, lost + won, 0.5).pvalue) if lost + won else 1.0


def power(items: int, lost_share: float, won_share: float, level: float = 1 - CONFIDENCE) -> float:
    """Probability that McNemar's exact test finds a difference, from the shares of discordant items.

    The number of discordant items is binomial, and so is the number of lost ones among them.
    """
    from scipy.stats import binom

    discordant = lost_share + won_share
    found = 0.0
    for m in range(FEWEST_DISCORDANT, items + 1):
        weight = float(binom.pmf(m, items, discordant))
        if weight < 1e-12:  # noqa: PLR2004 - adds nothing
            continue
        most = _most_even(m, level)
        p = lost_share / discordant
        found += weight * float(binom.cdf(most, m, p) + binom.sf(m - most - 1, m, p))
    return found


@lru_cache(maxsize=4096)
def _most_even(discordant: int, level: float = 1 - CONFIDENCE) -> int:
    """The largest smaller count of a significant split of so many discordant items; -1: none is."""
    from scipy.stats import binom

    counts = np.arange(discordant // 2 + 1)
    significant = 2 * binom.cdf(counts, discordant, 0.5) < level
    return int(np.flatnonzero(significant)[-1]) if significant.any() else -1


def smallest_difference(lost: int, won: int, items: int) -> float:
    """The smallest difference that would be significant with so many discordant items, as a share of all.

    Fewer discordant items than six show none; then that of six.
    """
    discordant = max(lost + won, FEWEST_DISCORDANT)
    return (discordant - 2 * _most_even(discordant)) / items


def difference(lost: int, won: int, items: int) -> Bounds:
    """Difference of the shares of right answers, model minus reference, with its 95 % interval.

    Tango's score interval (1998), widened to that of the exact test given the discordant items: so it
    excludes 0 if and only if McNemar's exact test does.
    """
    from scipy.stats import binomtest

    value = (won - lost) / items
    lo, hi = _tango(won, lost, items)
    if discordant := lost + won:
        exact = binomtest(won, discordant, 0.5).proportion_ci(CONFIDENCE, method="exact")
        lo = min(lo, (2 * float(exact.low) - 1) * discordant / items)
        hi = max(hi, (2 * float(exact.high) - 1) * discordant / items)
    return Bounds(value, lo, hi)


def _tango(won: int, lost: int, items: int) -> tuple[float, float]:
    """Tango's interval: the differences that a score test doesn't reject."""
    from scipy.optimize import brentq

    def excess(delta: float) -> float:
        b = -won - lost + (2 * items - won + lost) * delta
        c = -lost * delta * (1 - delta)
        least = (math.sqrt(max(0.0, b * b - 8 * items * c)) - b) / (4 * items)
        variance = items * (2 * least + delta * (1 - delta))
        score = won - lost - items * delta
        return score * score - _Z2 * max(variance, 1e-300)

    value, edge = (won - lost) / items, 1 - 1e-12
    lo = -1.0 if excess(-edge) <= 0 else float(brentq(excess, -edge, value))
    hi = 1.0 if excess(edge) <= 0 else float(brentq(excess, value, edge))
    return lo, hi


def bootstrap(
    statistic: Callable[[np.ndarray], np.ndarray], items: int, seed: int = 0
) -> tuple[float, float]:
    """95 % percentile interval of a statistic over resampled items.

    `statistic` gets counts of (resamples, items): how often each item was drawn. It returns a value for each.
    """
    rng = np.random.default_rng(seed)
    block = max(1, min(_RESAMPLES, 20_000_000 // items))
    values = np.concatenate(
        [
            statistic(rng.multinomial(items, np.full(items, 1 / items), min(block, _RESAMPLES - start)))
            for start in range(0, _RESAMPLES, block)
        ]
    )
    tail = (1 - CONFIDENCE) / 2
    lo, hi = np.nanquantile(values, [tail, 1 - tail])
    return float(lo), float(hi)


def verdict(lost: int, won: int, items: int, p: float | None = None) -> Verdict:
    """What the discordant items say; `p` may be adjusted for several comparisons."""
    p = mcnemar(lost, won) if p is None else p
    if items < FEWEST_DISCORDANT or 0 < lost + won < FEWEST_DISCORDANT:
        return "too few to tell"
    if p >= 1 - CONFIDENCE:
        return "no measurable difference"
    return "worse" if lost > won else "better"


def adjusted(ps: Sequence[float]) -> list[float]:
    """P values of several comparisons with one reference, by Benjamini and Hochberg (1995)."""
    from scipy.stats import false_discovery_control

    return [float(p) for p in false_discovery_control(list(ps))] if ps else []


Floor = Literal["kept", "inconclusive", "missed"]


def floor(ratio: Bounds, least: float, items: int) -> tuple[Floor, int | None]:
    """Whether the ratio to the reference keeps a floor, and the number of items that would decide it.

    Missed only if the whole interval lies below: chance alone must not fail a model. None: no number of items
    decides, because the ratio is the floor itself.
    """
    if ratio.lo >= least:
        return "kept", items
    if ratio.hi < least:
        return "missed", items
    gap = abs(ratio.value - least)
    half = ratio.value - ratio.lo if ratio.value >= least else ratio.hi - ratio.value
    return "inconclusive", math.ceil(items * (half / gap) ** 2) if gap else None
