"""Figures of a load: latency from the schedule, and what it consists of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from benchmark.serving_records import Interval, Load, Observed, ServingOptions, TokenFigures

_LATE_SHARE: Final = 0.05
"""Of the limit: a generator whose p99 lateness is greater is late."""
_LATE_MS: Final = 0.2
"""Without a limit: lateness that is no reason for a flag, as a quiet host has it."""
_LEAST_ACHIEVED: Final = 0.99
_LEAST_IDLE: Final = 10
"""Requests that must have found an idle copy, for a median of what the transport took."""
_WINDOWS: Final = 10
"""Parts of a single replication whose shares give the attainment its interval."""


class Replication(NamedTuple):
    """One replication at one rate."""

    rate: float
    """Requests per second that were asked for."""
    seconds: float
    """Length of its schedule."""
    counted_from_s: float
    """Requests before don't count."""
    seen: Observed
    confirms: bool = False

    @property
    def counted(self) -> np.ndarray:
        """Which requests count."""
        return self.seen.scheduled >= self.counted_from_s * 1e9

    @property
    def length_s(self) -> float:
        """Seconds in which requests were issued: fewer than planned if stopped, more if late."""
        issued = self.seen.issued[-1] / 1e9 if len(self.seen.issued) else 0.0
        return float(issued) if self.seen.growing is not None else max(self.seconds, float(issued))


def is_late(replication: Replication, options: ServingOptions) -> bool:
    """Whether the generator couldn't keep to its schedule: then latencies say nothing about the model."""
    seen = replication.seen
    if not len(seen.issued):
        return False
    lateness = float(np.percentile(seen.issued - seen.scheduled, 99))
    most = _LATE_SHARE * 1e9 * min(options.limits[:2])
    if not np.isfinite(most):
        answered = (seen.ended - seen.scheduled)[seen.answered]
        most = max(_LATE_MS * 1e6, _LATE_SHARE * float(np.percentile(answered, 99)) if len(answered) else 0.0)
    asked = len(seen.scheduled) / replication.seconds
    slow = seen.growing is None and len(seen.issued) / replication.length_s < _LEAST_ACHIEVED * asked
    return lateness > most or slow


def figures(replications: Sequence[Replication], options: ServingOptions) -> Load:
    """Figures of replications at one rate, or close to one."""
    parts = [(one.seen, one.counted) for one in replications]

    def joined(values: Sequence[np.ndarray]) -> np.ndarray:
        return np.concatenate([value[kept] for value, (_, kept) in zip(values, parts, strict=True)])

    latency = joined([seen.latencies_s for seen, _ in parts]) * 1e3
    started = [np.where(seen.started > 0, seen.started - seen.scheduled, 0) for seen, _ in parts]
    answered = joined([seen.answered for seen, _ in parts])
    queueing = joined(started)[answered] / 1e6
    service = np.concatenate(
        [calls.seconds for seen, _ in parts for calls in seen.calls.values()] or [np.zeros(0)]
    )
    lateness = joined([seen.issued - seen.scheduled for seen, _ in parts]) / 1e6
    growing = [seen.growing for seen, _ in parts if seen.growing is not None]
    late = any(is_late(one, options) for one in replications)
    means, most = zip(*(outstanding(one) for one in replications), strict=True)
    calls = sum(int(seen.first[seen.answered].sum()) for seen, _ in parts)
    return Load(
        offered_per_s=float(np.mean([one.rate for one in replications])),
        achieved_per_s=sum(len(seen.issued) for seen, _ in parts) / sum(one.length_s for one in replications),
        requests=len(latency),
        latency_ms=() if growing or late else _percentiles(latency, 50, 95, 99),
        queueing_ms=_percentiles(queueing, 50, 99),
        service_ms=_percentiles(service * 1e3, 50, 99),
        lateness_ms=(*_percentiles(lateness, 50, 99), float(lateness.max(initial=0))),
        outstanding=(float(np.mean(means)), float(max(most))),
        attainment=None if late else _attainment(replications, options),
        tokens=_tokens(replications, trusted=not growing and not late),
        batch=sum(int(seen.answered.sum()) for seen, _ in parts) / max(1, calls),
        growing=float(np.mean(growing)) if growing else None,
        late=late,
    )


def transport_ms(replications: Sequence[Replication]) -> float | None:
    """Median time from the issue of a request to its call, where all earlier ones had their answer.

    It grows with the time that a copy had slept. None where too few requests came so.
    """
    found = []
    for seen in (one.seen for one in replications):
        ended = np.where(seen.answered, seen.ended, np.iinfo(np.int64).max)
        before = np.maximum.accumulate(np.append(0, ended))[:-1]
        found.append((seen.started - seen.issued)[seen.answered & (seen.issued > before)])
    idle = np.concatenate(found)
    return float(np.median(idle)) / 1e6 if len(idle) >= _LEAST_IDLE else None


def outstanding(replication: Replication) -> tuple[float, float]:
    """Mean and greatest number of requests without an answer, counted from their scheduled times."""
    seen = replication.seen
    if not len(seen.scheduled):
        return 0.0, 0.0
    ends = seen.ended[seen.answered]
    times = np.concatenate([seen.scheduled, ends])
    steps = np.concatenate([np.ones(len(seen.scheduled)), -np.ones(len(ends))])
    order = np.argsort(times, kind="stable")
    number, times = np.cumsum(steps[order]), times[order]
    since, until = replication.counted_from_s * 1e9, replication.length_s * 1e9
    bounds = np.clip(np.append(times, max(until, times[-1])), since, until)
    mean = float(number @ np.diff(bounds)) / max(1.0, until - since)
    return mean, float(number.max())


def _attainment(replications: Sequence[Replication], options: ServingOptions) -> Interval | None:
    """Share of requests within the limits; t interval over replications, or over the parts of one alone."""
    if not np.isfinite(options.limits).any():
        return None
    kept = [one.seen.within(options)[one.counted] for one in replications]
    whole = np.concatenate(kept)
    if not len(whole):
        return 0.0, None, None
    parts = kept if len(kept) > 1 else np.array_split(kept[0], _WINDOWS)
    shares = np.array([part.mean() for part in parts if len(part)])
    if len(shares) < 2:  # noqa: PLR2004 - one has no spread
        return float(whole.mean()), None, None
    from scipy.special import stdtrit

    half = float(stdtrit(len(shares) - 1, 0.975) * shares.std(ddof=1) / np.sqrt(len(shares)))
    share = float(whole.mean())
    return share, max(0.0, share - half), min(1.0, share + half)


def _tokens(replications: Sequence[Replication], *, trusted: bool) -> TokenFigures | None:
    """Figures of generations; times only where latencies are trusted."""
    answered = [one.counted & one.seen.answered & (one.seen.output > 0) for one in replications]

    def joined(name: str) -> np.ndarray:
        pairs = zip(replications, answered, strict=True)
        return np.concatenate([getattr(one.seen, name)[kept] for one, kept in pairs])

    output = joined("output")
    if not len(output):
        return None
    prompt, padded, per_token = joined("prompt"), joined("padded"), joined("per_token_s")
    return TokenFigures(
        first_token_ms=_with_mean(1e3 * joined("first_token_s")) if trusted else (),
        per_token_ms=_with_mean(1e3 * per_token[np.isfinite(per_token)]) if trusted else (),
        prompt=float(prompt.mean()),
        output=float(output.mean()),
        padding_share=1 - float(prompt.sum() / max(1, padded.sum())) if padded.any() else 0.0,
    )


def _with_mean(values: np.ndarray) -> tuple[float, ...]:
    return (float(values.mean()), *_percentiles(values, 50, 95, 99)) if len(values) else ()


def _percentiles(values: np.ndarray, *percents: float) -> tuple[float, ...]:
    if not len(values):
        return (0.0,) * len(percents)
    return tuple(float(value) for value in np.percentile(values, percents, method="median_unbiased"))
