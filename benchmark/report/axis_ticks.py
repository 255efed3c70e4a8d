"""Round values for the ticks of logarithmic axes, instead of Vega's nine in each power of ten."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

_STEPS = (((1, 2, 3, 5, 7), 9), ((1, 2, 5), 13), ((1,), math.inf))
"""Digits of the ticks, from the closest to the widest, and how many ticks of them an axis shows at most."""
_ENOUGH = 4
"""Fewer ticks than these are worse than Vega's own."""
_BEYOND = 1.1
"""An axis goes a little beyond its values."""


def logarithmic(ends: Sequence[tuple[float, float]], base: float = 10) -> list[float]:
    """Ticks for axes from the lowest to the highest value of each panel, all positive.

    Each axis shows those within its values. Empty where the values are too close: Vega's own are better then.
    """
    if any(low == high for low, high in ends):
        return []
    low, high = min(low for low, _ in ends) / _BEYOND, max(high for _, high in ends) * _BEYOND
    powers = range(math.floor(math.log(low, base)), math.ceil(math.log(high, base)) + 1)
    if base != 10:  # noqa: PLR2004 - such as 2, for batches and lengths
        return [tick for power in powers if low <= (tick := float(base) ** power) <= high]
    for digits, most in _STEPS:
        found = [digit * 10.0**power for power, digit in itertools.product(powers, digits)]
        shown = max(sum(first <= tick <= last for tick in found) for first, last in ends)
        ticks = [float(f"{tick:.6g}") for tick in found if low <= tick <= high]
        if shown <= most:
            return ticks if len(ticks) >= _ENOUGH else []
    return []
