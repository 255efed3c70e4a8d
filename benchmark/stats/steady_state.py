"""Steady state of a trace of latencies: the call from which it is steady, if there is one.

A trace is reduced in two ways that depend little on its unit, spikes, long tails and clock ticks: to the
mean rank of the calls in up to 200 blocks, and to the fast calls in up to 32 larger ones, whose level shows
a drift among slow calls that come and go. Two tests are made on each:

- Is there a step? The best split into two levels is compared with the long-run variance of what it leaves.
- Is its memory as long as the trace? A steady trace may have a long memory (a busy neighbour, a clock that
  changes its speed), but one much shorter than the trace. A drift, a decay that hasn't ended and a random
  walk look like a memory longer than the trace. Whittle's likelihood decides which of both explains the
  spectrum better ("Estimation and information in stationary time series", 1953).

While one answer is yes, the calls before the best split are dropped and the rest is tested again. If the
difference is too small to matter, the search ends; if too much is dropped, the trace is not steady.
`tests/benchmarks/warmup_targets.py` counts how often that is wrong.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from benchmark.stats.autocorrelation import autocorrelation_time

MOST_BLOCKS = 200
LARGE_BLOCKS = 32
FAST_CALLS = 0.1
"""Quantile of a large block, of at least four calls, that stands for the fast ones."""
FEWEST_BLOCKS = 8
"""Fewer look like a trend by chance."""
LONGEST_WARMUP = 0.5
"""Share of the trace; half of that if the calls got slower, which is rarely a warm-up."""
TOLERANCE = 0.015
"""Medians of parts that differ by less are the same."""
STEP = 15.0
"""Squared standard errors between two levels above which there is a step."""
LIKELIER = 3.0
"""Twice the log likelihood ratio of two memories above which the longer one is accepted."""
FREQUENCIES = 100
"""Number of lowest frequencies in the test, in half cycles per trace from 1 on."""
CORNERS = np.array([0.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 1e6])
"""Frequencies above which a memory fades: 0 is a random walk, the last is no memory."""
STEADY_CORNER = 10.0
"""An autoregressive trace with this corner counts as 16 independent calls."""
FLOORS = np.array([0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0])
"""Power of white noise over that of the memory at the lowest frequency."""
USUAL = 0.99
"""The first calls are dropped too while they are slower than this quantile of the later half."""


def steady_start(samples: ArrayLike) -> int | None:
    """The index of the first steady call: 0 without a warm-up, None if the trace never becomes steady.

    `samples` are latencies of consecutive calls in time order, from the first call on, in any unit.

    At least half of the trace has to be steady. It is not if it drifts, steps late or wanders by more than
    1.5 % and by more than its noise explains. Fewer than 8 calls can't be judged and count as steady; in up
    to 30 only a clear trend is seen. A trace with an effective sample size of 10 is refused in one case of
    three, with 5 in three of four: it may be steady, but its median isn't known.
    """
    values = np.asarray(samples, float)
    if len(values) < FEWEST_BLOCKS:
        return 0
    size = -(-len(values) // MOST_BLOCKS)
    whole = values[: len(values) // size * size]
    ranks = _ranks(whole).reshape(-1, size).mean(1)
    start = 0
    while split := _split(ranks[start:], whole[start * size :]):
        before, after = np.split(whole[start * size :], [split * size])
        start += split
        longest = LONGEST_WARMUP if np.median(after) < np.median(before) else LONGEST_WARMUP / 2
        if start > longest * len(ranks) or len(ranks) - start < FEWEST_BLOCKS:
            return None
    rest = values[start * size :]
    return start * size + int(np.argmin(rest > np.quantile(rest[len(rest) // 2 :], USUAL)))


def drift(samples: ArrayLike) -> float:
    """Greatest median of a quarter of the trace over the least, minus 1: how far latency has moved.

    0 for fewer than 8 calls, which are too few to tell.
    """
    values = np.asarray(samples, float)
    if len(values) < FEWEST_BLOCKS:
        return 0.0
    medians = [np.median(part) for part in np.array_split(values, 4)]
    return float(max(medians) / min(medians) - 1) if min(medians) > 0 else 0.0


def _split(ranks: np.ndarray, values: np.ndarray) -> int:
    """After how many blocks their level changes most, or 0 if they are steady."""
    if not (_changes(ranks) or _changes(_fast_calls(values))):
        return 0
    split, _ = _step(ranks)
    parts = np.split(values, [split * len(values) // len(ranks)]) + np.array_split(values, 4)
    medians = [np.median(part) for part in parts]
    return split if max(medians) > (1 + TOLERANCE) * min(medians) else 0


def _fast_calls(values: np.ndarray) -> np.ndarray:
    """Ranks of large blocks by their fast calls."""
    size = max(4, -(-len(values) // LARGE_BLOCKS))
    blocks = values[: len(values) // size * size].reshape(-1, size)
    return _ranks(np.quantile(blocks, FAST_CALLS, axis=1))


def _changes(ranks: np.ndarray) -> bool:
    """Whether blocks show a step or a long memory."""
    if len(ranks) < FEWEST_BLOCKS or np.ptp(ranks) == 0:
        return False
    return _step(ranks)[1] > STEP or _long_memory(ranks) > LIKELIER


def _step(ranks: np.ndarray) -> tuple[int, float]:
    """The split that leaves the least variance, and the squared standard errors between its two levels."""
    n = len(ranks)
    centred = ranks - ranks.mean()
    left = np.arange(1, n)
    gain = np.cumsum(centred)[:-1] ** 2 * n / (left * (n - left))
    split = 2 + int(np.argmax(gain[1:-1]))
    noise = np.concatenate([part - part.mean() for part in np.split(centred, [split])])
    long_run_variance = noise @ noise / (n - 2) * autocorrelation_time(noise)
    return split, float(gain[split - 1] / max(long_run_variance, np.finfo(float).eps))


def _long_memory(ranks: np.ndarray) -> float:
    """Twice the log likelihood ratio of a memory too long for a steady trace against a shorter one.

    The model is that of an autoregressive process, or one that switches between two states, plus white noise:
    a spectrum of (1 + corner^2) / (frequency^2 + corner^2) + floor. Its scale is fitted, floor and corner are
    the best of a grid.
    """
    mirrored = np.concatenate([ranks, ranks[::-1]])  # its Fourier transform is the cosine transform of ranks
    power = np.abs(np.fft.rfft(mirrored)[1 : len(ranks)][:FREQUENCIES]) ** 2
    frequencies = np.arange(1, len(power) + 1)
    squares = CORNERS[:, None, None] ** 2
    model = (1 + squares) / (frequencies**2 + squares) + FLOORS[:, None]  # corners x floors x frequencies
    fit = -len(power) * np.log((power / model).mean(-1)) - np.log(model).sum(-1)
    best = fit.max(1)
    steady = CORNERS >= STEADY_CORNER
    return float(best[~steady].max() - best[steady].max())


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1 on; equal values share their mean rank."""
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[which])
