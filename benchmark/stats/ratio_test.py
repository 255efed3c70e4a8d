"""Ratio test: is one build slower than another? A verdict on processes that took turns, or "inconclusive".

Both sides must run in the same rounds: no statistic mends a side that was measured after the other. Within a
round the sides are compared turn by turn, so that what slows both cancels out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

import numpy as np

Verdict = Literal["regression", "improvement", "same", "inconclusive"]

THRESHOLD: Final = 0.02
"""Relative difference that matters."""
CONFIDENCE: Final = 0.99
_LEAST_TIMES: Final = 5
_TURNS: Final = 20
_LEAST_IN_A_TURN: Final = 5


class RatioTest(NamedTuple):
    """The candidate's latency over the baseline's: 1.05 is 5 % slower."""

    ratio: float
    lo: float
    hi: float
    """Bounds of the ratio's interval; NaN with fewer than two rounds."""
    p_value: float
    """Two-sided, of the hypothesis of no difference."""
    rounds: int
    verdict: Verdict


def compare(
    base_groups: Sequence[Sequence[float] | np.ndarray],
    candidate_groups: Sequence[Sequence[float] | np.ndarray],
) -> Verdict:
    """Verdict on two builds: 1-D latencies of each process in time order, pair i from the same round.

    Raises:
        ValueError: the sides have different numbers of processes, or one has no samples.
    """
    return ratio_test(round_ratios(base_groups, candidate_groups)).verdict


def round_ratios(
    base_groups: Sequence[Sequence[float] | np.ndarray],
    candidate_groups: Sequence[Sequence[float] | np.ndarray],
) -> list[float]:
    """Candidate / baseline of each round: the median over turns of the ratio of the turns' medians.

    Raises:
        ValueError: as `compare`.
    """
    pairs = zip(base_groups, candidate_groups, strict=True)
    return [turns_ratio(_turns(base), _turns(candidate)) for base, candidate in pairs]


def turns_ratio(
    base: Sequence[Sequence[float] | np.ndarray],
    candidate: Sequence[Sequence[float] | np.ndarray],
    q: float = 0.5,
) -> float:
    """Candidate / baseline of one round: the median over turns of the ratio of their quantiles.

    Raises:
        ValueError: no turns, or one without samples.
    """
    turns = list(zip(base, candidate, strict=False))
    if not turns or not all(map(len, (*base, *candidate))):
        raise ValueError("no samples to compare: each process needs one at least")
    return float(np.median([np.quantile(after, q) / np.quantile(before, q) for before, after in turns]))


def ratio_test(
    ratios: Sequence[float], threshold: float = THRESHOLD, confidence: float = CONFIDENCE
) -> RatioTest:
    """Verdict on the ratios of independent rounds, by a t test on their logarithms.

    A regression or an improvement is significant and larger than the threshold. The sides are the same if the
    whole interval is within the threshold. Anything else is inconclusive.
    """
    logs, rounds = np.log(ratios), len(ratios)
    middle = float(logs.mean()) if rounds else math.nan
    if rounds < 2:  # noqa: PLR2004 - one round has no spread
        return RatioTest(math.exp(middle), math.nan, math.nan, math.nan, rounds, "inconclusive")
    error = float(logs.std(ddof=1)) / math.sqrt(rounds)
    return _judged(middle, error, rounds, threshold, confidence)


def apart(ratio: float, history: Sequence[float], threshold: float = THRESHOLD) -> RatioTest:
    """Verdict on one ratio of two sides measured at different times, by how the baseline varies over time.

    `history` is one figure for each time the baseline was measured, in any unit. With fewer than five it is
    inconclusive. With more it is still uncertain: anything may differ between the times.
    """
    if len(history) < _LEAST_TIMES:
        return RatioTest(ratio, math.nan, math.nan, math.nan, len(history), "inconclusive")
    error = float(np.log(history).std(ddof=1)) * math.sqrt(2)
    return _judged(math.log(ratio), error, len(history), threshold, CONFIDENCE)


def _judged(middle: float, error: float, rounds: int, threshold: float, confidence: float) -> RatioTest:
    """A t test of a logarithm with its standard error, on so many rounds less one degrees of freedom."""
    from scipy.special import stdtr, stdtrit

    error = max(error, float(np.finfo(float).eps))
    half = float(stdtrit(rounds - 1, (1 + confidence) / 2)) * error
    p_value = 2 * float(stdtr(rounds - 1, -abs(middle) / error))
    limit = math.log1p(threshold)
    if abs(middle) > max(half, limit):
        verdict: Verdict = "regression" if middle > 0 else "improvement"
    elif abs(middle) + half <= limit:
        verdict = "same"
    else:
        verdict = "inconclusive"
    return RatioTest(
        math.exp(middle), math.exp(middle - half), math.exp(middle + half), p_value, rounds, verdict
    )


def _turns(samples: Sequence[float] | np.ndarray) -> Sequence[np.ndarray]:
    """At most twenty pieces of equal length, in time order."""
    values = np.asarray(samples, float)
    return np.array_split(values, max(1, min(_TURNS, len(values) // _LEAST_IN_A_TURN)))
