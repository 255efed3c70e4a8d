"""Whether a queue grows: requests come faster than they are answered."""

from __future__ import annotations

from typing import Final

import numpy as np

_WINDOWS: Final = 10
_LEAST_REQUESTS: Final = 100
_CHANCE: Final = 3.0
"""Standard deviations of the number of arrivals by which a queue may grow by chance."""


def growth(seconds: np.ndarray, outstanding: np.ndarray, arrived: int) -> float | None:
    """Requests by which a queue grows in a second; None: it doesn't, or not for certain.

    At the moments `seconds`, ascending, `outstanding` requests had no answer; `arrived` came in all. The
    slope of the windows' means has to be above 0 with 95 %, and the growth beyond what a crowd of arrivals
    can do: a queue at its limit wanders like a sum of arrivals.
    """
    from scipy.stats import linregress, t

    if len(seconds) < 2 * _WINDOWS or arrived < _LEAST_REQUESTS:
        return None
    places = np.array_split(np.arange(len(seconds)), _WINDOWS)
    middles = np.array([seconds[place].mean() for place in places])
    means = np.array([outstanding[place].mean() for place in places])
    fit = linregress(middles, means)
    surely = fit.slope - float(t.ppf(0.95, _WINDOWS - 2)) * fit.stderr > 0
    much = means[-1] - means[0] > _CHANCE * np.sqrt(arrived)
    rises = means[: _WINDOWS // 2].mean() < means[_WINDOWS // 2 : -2].mean() < means[-2:].mean()
    return float(fit.slope) if surely and much and rises else None
