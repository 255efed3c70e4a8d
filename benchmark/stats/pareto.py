"""The Pareto front of two objectives: what no other choice beats in both."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def unbeaten(first: pd.Series[float], second: pd.Series[float]) -> pd.Series[Any]:
    """Whether no other row is better in one objective without being worse in the other; less is better.

    Infinity is an unknown value: it counts as the worst, and a row without any value is no choice.
    """
    least = second.groupby(first).min()
    of_faster = first.map(least.cummin().shift())
    beaten = (second >= of_faster) | (second > first.map(least))
    return ~beaten & ((first < math.inf) | (second < math.inf))
