"""Waiting times before equal servers with Poisson arrivals and a constant service time (M/D/c)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import numpy as np

_STATES: Final = 300
"""States of the number in the system; enough up to a load of 0.98."""
_PRECISION: Final = 1e-5


def kept(load: float, servers: int, limit: float) -> float:
    """Share of requests that are answered within `limit` service times.

    `load` is the rate as a share of the capacity of all servers, below 1. Source: Franx, A simple solution
    for the M/D/c waiting time distribution, Operations Research Letters 29 (2001). Its terms are positive.
    """
    from scipy.stats import poisson

    wait, rate = limit - 1, load * servers  # arrivals in one service time
    if wait < 0:
        return 0.0
    whole = int(np.floor(wait)) + 1
    cumulative = np.cumsum(_stationary(load, servers))
    terms = np.arange(whole * servers)
    states = np.minimum(servers + whole * servers - 1 - terms, len(cumulative) - 1)
    return float(cumulative[states] @ poisson.pmf(terms, rate * (whole - wait)))


@lru_cache(maxsize=4096)
def highest_load(servers: int, limit: float, percentile: float) -> float:
    """Highest load, a share of the capacity, at which so many percent keep a limit of `limit` service times.

    0 where a request that doesn't wait is too slow already.
    """
    if limit < 1:
        return 0.0
    lo, hi = 0.0, 0.98
    while hi - lo > _PRECISION:
        middle = (lo + hi) / 2
        lo, hi = (middle, hi) if kept(middle, servers, limit) >= percentile / 100 else (lo, middle)
    return lo


def _stationary(load: float, servers: int) -> Any:
    """Probabilities of each number in the system, from its own balance over one service time."""
    from scipy.stats import poisson

    arrivals = poisson.pmf(np.arange(_STATES), load * servers)
    lag = np.arange(_STATES)[:, None] - np.maximum(0, np.arange(_STATES)[None, :] - servers)
    balance = np.where(lag >= 0, arrivals[np.maximum(lag, 0)], 0.0) - np.eye(_STATES)
    balance[-1] = 1.0
    found = np.linalg.solve(balance, np.eye(_STATES)[-1])
    return np.clip(found, 0, None)
