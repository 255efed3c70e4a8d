"""Search for the highest rate of requests at which few enough answers are late.

One run at one rate is no verdict: at exactly the limit of an M/D/1 queue a run of 60 s passes 56 to 66 % of
the time, because a crowd of arrivals makes many answers late together. So every rate is tried in several
replications with arrivals of their own, and all of them decide together. What the arrivals alone explain is
taken out: a queue of the measured calls gets the same arrivals, and only the difference between its
late answers and the real ones is left to chance (a control variate). That difference has a t interval over
replications.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal, NamedTuple

import numpy as np

from benchmark.stats.queue_model import Calls, QueueModel

Role = Literal["search", "confirm"]
Found = tuple[float, float, float]
"""A rate and its 95 % interval."""

REPLICATIONS: Final = 15
"""Replications that the time is divided into."""
WARMUP: Final = 0.2
"""Share of a replication whose requests don't count: the queue is empty before the first."""
MOST_POINTS: Final = 25
"""Load points, which are different rates, that a search tries at most."""
_OFFSETS: Final = (1.0, -1.0, 0.5, -0.5)
"""Where the search tries, from the estimate, in units of the logit of the share of late answers."""
_LEAST_CONFIRMED: Final = 6
_PER_POINT: Final = 3
"""Confirming replications at one rate before the next estimate is made."""
_NEAR: Final = 1.5
"""A replication this far from the limit, in units of the logit, counts 0.6 of one at the limit."""
_CLOSE: Final = 3.0
"""Replications further away are as good as ignored: the search goes on until one is closer."""
_LOWEST: Final = 1e-3
"""Rates below this share of the first one aren't tried."""
_STEP: Final = 2.0
"""Greatest factor between the rates tried so far and the next one."""
_RESAMPLED: Final = 20
"""Times that the model answers the arrivals of a replication, with other calls."""
_SHORT, _LONG = 60_000, 300_000
"""Requests of the model's long run, during the search and for its result."""
_BATCHES: Final = 20
_FLOOR: Final = 0.01
"""Least half width of an interval, as a share: service times of one host drift by as much."""
_MOST_LOGIT: Final = 8.0
_BRACKET, _FARTHEST, _TOLERANCE = 0.2, 8.0, 1e-3
"""Of the logarithm of a rate: where its root is looked for first, at most, and how exactly."""
_LEAST_SLOPE: Final = 0.5
_NEWTON: Final = 30
"""Steps of Newton's method, which converges in fewer."""


class Trial(NamedTuple):
    """One replication at one rate."""

    rate: float
    """Requests per second that were offered."""
    role: Role
    spent_s: float
    """Seconds that it took."""
    counted_from_s: float
    """Requests that arrived before don't count."""
    arrivals: np.ndarray
    """Scheduled seconds of all requests, ascending."""
    late: np.ndarray
    """Whether the answer came too late, or never."""
    calls: Mapping[int, Calls]
    """The calls, by the batch that they had room for."""

    @property
    def counted(self) -> np.ndarray:
        """Which requests count."""
        return self.arrivals >= self.counted_from_s


class Next(NamedTuple):
    """The replication to make next."""

    rate: float
    role: Role


class _Compared(NamedTuple):
    """A replication and what the model makes of its arrivals."""

    requests: int
    late: int
    expected: float
    """Share of late answers of the model."""


class RateSearch:
    """Says which rate to try next, and what all trials so far have found."""

    def __init__(
        self,
        allowed: float,
        model: Callable[[Mapping[int, Calls]], QueueModel],
        *,
        start: float,
        seconds: float,
        precision: float,
    ) -> None:
        """Search for the rate at which a share of `allowed` answers is late.

        `model` makes the queue of measured calls; `start` is the first rate, in requests per second;
        `seconds` is the time for all replications; it ends earlier at a half width of `precision`, a share.
        """
        self._allowed, self._model = allowed, model
        self._start, self._seconds, self._precision = start, seconds, precision
        self.trials: list[Trial] = []

    def add(self, trial: Trial) -> None:
        """Count a replication, made now or before an interruption."""
        if trial.counted.any() and trial.calls:
            self.trials.append(trial)

    @property
    def replication_s(self) -> float:
        """Seconds of one replication."""
        return self._seconds / REPLICATIONS

    def next(self) -> Next | None:
        """The next replication; None: the rate is known, the time is spent, or no rate keeps the limit."""
        if not self.trials:
            return Next(self._start, "search")
        spent = sum(trial.spent_s for trial in self.trials)
        if spent + self.replication_s / 2 > self._seconds:
            return None
        confirmed = [trial.rate for trial in self.trials if trial.role == "confirm"]
        rates = {trial.rate for trial in self.trials}
        if confirmed and (len(confirmed) % _PER_POINT or len(rates) >= MOST_POINTS):
            return Next(confirmed[-1], "confirm")
        estimate = self._estimate(_SHORT)
        if not confirmed and (len(self.trials) < len(_OFFSETS) or not self._is_close()):
            offset = _OFFSETS[len(self.trials) % len(_OFFSETS)]
            rate = self._limited(estimate.rate(offset))
            return Next(rate, "search") if rate > self._start * _LOWEST else None
        rate, lo, hi = estimate.found()
        known = max(hi - rate, rate - lo) <= self._precision * rate
        return None if known and len(confirmed) >= _LEAST_CONFIRMED else Next(self._limited(rate), "confirm")

    def found(self) -> Found | None:
        """Highest rate with its 95 % interval; None: no replication came close to the limit."""
        return self._estimate(_LONG).found() if self.trials and self._is_close() else None

    def _is_close(self) -> bool:
        return any(abs(_logit(_share(trial)) - _logit(self._allowed)) < _CLOSE for trial in self.trials)

    def _limited(self, rate: float) -> float:
        rates = [trial.rate for trial in self.trials]
        return min(max(rate, min(rates) / _STEP), max(rates) * _STEP)

    def _estimate(self, requests: int) -> _Estimate:
        return _Estimate(self.trials, self._allowed, self._model, requests)


class _Estimate:
    """What trials say about the rate: the model's curve, shifted as their late answers demand."""

    def __init__(
        self,
        trials: Sequence[Trial],
        allowed: float,
        model: Callable[[Mapping[int, Calls]], QueueModel],
        requests: int,
    ) -> None:
        self._allowed = allowed
        self._logits: dict[float, float] = {}
        goal = _logit(allowed)
        distance = np.array([_logit(_share(trial)) - goal for trial in trials])
        near = np.exp(-0.5 * np.square(distance / _NEAR))
        self._weights = near + 1e-6
        closest = [trial for trial, weight in zip(trials, near, strict=True) if weight >= 0.1 * near.max()]
        self._queue = model(_pooled(closest))
        rng = np.random.default_rng(0)
        gaps = rng.exponential(size=requests)
        self._gaps, self._chance = gaps / gaps.mean(), rng.uniform(size=requests)
        self._compared = [self._compare(trial, rng) for trial in trials]
        self._shift, self._error, self._freedom = self._difference()
        self._reference = float(np.average([np.log(trial.rate) for trial in trials], weights=self._weights))

    def rate(self, offset: float = 0.0) -> float:
        """Rate at which the share of late answers is the allowed one; `offset` is added to its logit."""
        return self._rate_of(_logit(self._allowed) - self._shift + offset)

    def found(self) -> Found:
        """The rate with its interval."""
        from scipy.stats import t

        rate = self.rate()
        late = self._queue.late_in_the_long_run(rate, self._gaps, self._chance)
        batches = np.array([part.mean() for part in np.array_split(late, _BATCHES)])
        share = float(batches.mean())
        own = float(batches.std(ddof=1)) / np.sqrt(_BATCHES) / max(share * (1 - share), 1e-9)
        half = float(t.ppf(0.975, self._freedom)) * float(np.hypot(self._error, own))
        width = half / self._slope_at(float(np.log(rate)))
        return rate, rate * np.exp(-max(width, _FLOOR)), rate * np.exp(max(width, _FLOOR))

    def _slope_at(self, log_rate: float) -> float:
        """How steeply the logit rises with the rate's logarithm."""
        rise = self._logit_at(log_rate + _BRACKET / 4) - self._logit_at(log_rate - _BRACKET / 4)
        return max(rise / (_BRACKET / 2), _LEAST_SLOPE)

    def _compare(self, trial: Trial, rng: np.random.Generator) -> _Compared:
        counted = trial.counted
        again = [
            self._queue.late(trial.arrivals, rng.uniform(size=len(trial.arrivals)))[counted]
            for _ in range(_RESAMPLED)
        ]
        late = int(trial.late[counted].sum())
        return _Compared(int(counted.sum()), late, float(np.mean(again)))

    def _difference(self) -> tuple[float, float, int]:
        """Shift of the logit between the model and the trials, its standard error and degrees of freedom."""
        requests = np.array([one.requests for one in self._compared], float)
        late = np.array([one.late for one in self._compared], float)
        expected = np.array([one.expected for one in self._compared])
        floor = 0.5 / requests.sum()
        logits = np.array([_logit(min(max(share, floor), 1 - floor)) for share in expected])
        weights, shift = self._weights, 0.0
        slope = 1.0
        for _ in range(_NEWTON):
            share = 1 / (1 + np.exp(-(logits + shift)))
            slope = float(weights @ (requests * share * (1 - share))) + 1e-9
            step = float(weights @ (late - requests * share)) - shift / 4.0  # a wide prior around no shift
            change = float(np.clip(step / (slope + 0.25), -1, 1))
            shift = float(np.clip(shift + change, -_MOST_LOGIT, _MOST_LOGIT))
        share = 1 / (1 + np.exp(-(logits + shift)))
        effective = float(weights.sum() ** 2 / np.square(weights).sum())
        freedom = max(1, round(effective) - 1)
        spread = np.square(weights * (late - requests * share)).sum() * effective / freedom
        return shift, float(np.sqrt(spread)) / slope, freedom

    def _rate_of(self, logit: float) -> float:
        """Rate at which the model's share of late answers has this logit."""
        from scipy.optimize import brentq

        def gap(log_rate: float) -> float:
            return self._logit_at(log_rate) - logit

        lo, hi, width = self._reference - _BRACKET, self._reference + _BRACKET, _BRACKET
        while gap(lo) > 0 and width < _FARTHEST:
            width *= 2
            lo -= width
        while gap(hi) < 0 and width < _FARTHEST:
            width *= 2
            hi += width
        if gap(lo) * gap(hi) >= 0:
            return float(np.exp(lo if gap(lo) > 0 else hi))
        return float(np.exp(brentq(gap, lo, hi, xtol=_TOLERANCE)))

    def _logit_at(self, log_rate: float) -> float:
        if log_rate not in self._logits:
            self._logits[log_rate] = self._logit_of(log_rate)
        return self._logits[log_rate]

    def _logit_of(self, log_rate: float) -> float:
        late = self._queue.late_in_the_long_run(float(np.exp(log_rate)), self._gaps, self._chance)
        return _logit((late.sum() + 0.5) / (len(late) + 1))


def _share(trial: Trial) -> float:
    late = trial.late[trial.counted]
    return float((late.sum() + 0.5) / (len(late) + 1))


def _pooled(trials: Sequence[Trial]) -> dict[int, Calls]:
    sizes = sorted({size for trial in trials for size in trial.calls})
    found = {size: [trial.calls[size] for trial in trials if size in trial.calls] for size in sizes}
    return {size: Calls(*map(np.concatenate, zip(*parts, strict=True))) for size, parts in found.items()}


def _logit(share: float) -> float:
    return float(np.log(share / (1 - share)))
