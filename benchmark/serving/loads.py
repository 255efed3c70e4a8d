"""Which loads a run makes: one rate, or a search for the highest rate within the limit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from benchmark.errors import Incompatible, Saturated
from benchmark.formatting import significant
from benchmark.serving.figures import Replication, figures, is_late
from benchmark.serving.replications import Kept
from benchmark.serving.requests import Source
from benchmark.serving_records import Observed, Requests, Served, ServingOptions
from benchmark.stats.queue_model import QueueModel
from benchmark.stats.queueing import highest_load
from benchmark.stats.rate_search import WARMUP, Next, RateSearch, Trial

Run = Callable[[Requests], Observed]
"""Runs a load."""

_MOST_LATE: Final = 5
"""Replications with a late generator that are made again, at least; else as many as have counted so far."""
_LEAST_SEEN: Final = 10
"""Late answers that a result needs."""
_LEAST_LOAD, _BATCHED_LOAD = 0.05, 0.7
"""First rate of a search as a share of the capacity: at least, and where calls answer several requests."""


def one_load(source: Source, run: Run, kept: Kept, retries: int) -> tuple[Replication, int]:
    """The load at `rate`, or of the trace; made again, at most `retries` times, while its generator is late.

    Returns it and the number of attempts.
    """
    options, done = source.options, kept.all()
    while not done or (is_late(done[-1], options) and len(done) <= retries):
        if options.rate is None:
            requests, seconds = source.replay()
        else:
            seconds = options.duration_s
            requests = source.requests(options.rate, seconds, len(done))
        rate = options.rate or len(requests.scheduled) / seconds
        done.append(Replication(rate, seconds, 0.0, run(requests)))
        kept.keep(done[-1])
    return done[-1], len(done)


class Search:
    """The search for the highest rate; replications that are kept already aren't made again."""

    def __init__(self, source: Source, services: Mapping[int, np.ndarray], run: Run, kept: Kept) -> None:
        """`services` are seconds of calls in a closed loop, by the requests that a call has room for.

        Raises:
            Saturated: a call alone takes longer than the limit.
        """
        self._source, self._run, self._kept = source, run, kept
        self._options = options = source.options
        self._limit_s = options.limit_ns / 1e9
        self._refuse_slow(services)
        self._rates = RateSearch(
            1 - options.percentile / 100,
            self._limit_s,
            lambda found: QueueModel(
                options.replicas, options.max_batch, options.max_delay_ms / 1e3, {**services, **found}
            ),
            start=self._first_rate(services),
            seconds=options.search_s,
            precision=options.precision,
        )
        self.replications: list[Replication] = []
        self.late: list[Replication] = []

    def made(self) -> tuple[float, float, float] | None:
        """Make the replications; return the rate with its interval, None if the generator was late too often.

        Raises:
            Saturated: no rate keeps the limit.
        """
        for replication in self._kept.all():
            self._add(replication)
        while (wanted := self._rates.next()) and not self._too_often_late:
            replication = self._made(wanted)
            self._kept.keep(replication)
            self._add(replication)
        if self._too_often_late:
            return None
        lowest = min(self.replications, key=lambda one: one.rate)
        found = self._rates.found()
        self._refuse_few(found[0] if found else lowest.rate)
        if found:
            return found
        share, _, _ = figures([lowest], self._options).attainment or (0.0, None, None)
        raise Saturated(
            f"no rate keeps {significant(1e3 * self._limit_s)} ms for {self._options.percentile:g} % of the "
            f"requests: at {significant(lowest.rate)}/s {share:.1%} were within it: raise scenario.slo_ms, "
            "or lower scenario.percentile"
        )

    @property
    def _too_often_late(self) -> bool:
        return len(self.late) > max(_MOST_LATE, len(self.replications))

    def _refuse_few(self, rate: float) -> None:
        """Late answers have to be seen: the model of the queue alone is no measurement."""
        latencies = np.concatenate([one.seen.latencies_s[one.counted] for one in self.replications])
        if (seen := int((latencies > self._limit_s).sum())) < _LEAST_SEEN:
            raise Incompatible(
                f"scenario.search_s={self._options.search_s:g} is too short to see a queue at its limit: of "
                f"{len(latencies)} requests, at about {significant(rate)}/s, {seen} were late: raise it"
            )

    @property
    def confirming(self) -> list[Replication]:
        """Those that the result stands on: with other arrivals than those that found it."""
        return [one for one in self.replications if one.confirms] or self.replications[-1:]

    def _made(self, wanted: Next) -> Replication:
        seconds, confirms = self._rates.replication_s, wanted.role == "confirm"
        number = len(self.replications) + len(self.late)
        requests = self._source.requests(wanted.rate, seconds, number, confirming=confirms)
        return Replication(wanted.rate, seconds, WARMUP * seconds, self._run(requests), confirms)

    def _add(self, replication: Replication) -> None:
        if is_late(replication, self._options):
            self.late.append(replication)
            return
        self.replications.append(replication)
        seen = replication.seen
        self._rates.add(
            Trial(
                rate=replication.rate,
                role="confirm" if replication.confirms else "search",
                spent_s=replication.length_s,
                counted_from_s=min(replication.counted_from_s, WARMUP * replication.length_s),
                arrivals=seen.scheduled / 1e9,
                latencies=seen.latencies_s,
                services=seen.services,
            )
        )

    def _first_rate(self, services: Mapping[int, np.ndarray]) -> float:
        """Where the search begins: the limit of a queue whose calls all take the median."""
        options = self._options
        medians = {room: float(np.median(seconds)) for room, seconds in services.items()}
        capacity = options.replicas * max(room / seconds for room, seconds in medians.items())
        if options.max_batch > 1:
            return _BATCHED_LOAD * capacity
        load = highest_load(options.replicas, round(self._limit_s / medians[1], 2), options.percentile)
        return max(_LEAST_LOAD, load) * capacity

    def _refuse_slow(self, services: Mapping[int, np.ndarray]) -> None:
        """A request that waits for nothing takes too long: no load is needed to see that."""
        alone_ms = 1e3 * float(np.median(services[1])) + self._options.max_delay_ms * (
            self._options.max_batch > 1
        )
        limit_ms = 1e3 * self._limit_s
        if alone_ms > limit_ms:
            waits = (
                f", of it {self._options.max_delay_ms:g} ms scenario.max_delay_ms"
                if self._options.max_batch > 1
                else ""
            )
            raise Saturated(
                f"no rate keeps {significant(limit_ms)} ms: one call alone takes {significant(alone_ms)} ms"
                f"{waits}: raise scenario.slo_ms, or use a faster compiler or model"
            )


def served(  # noqa: PLR0913 - all that a run has
    options: ServingOptions,
    row: Sequence[Replication],
    every: Sequence[Replication],
    transport_ms: float,
    found: tuple[float, float, float] | None,
    *,
    late: bool,
) -> Served:
    """What a run found: `row` are the replications that it is about, `every` all that were made."""
    by_rate: dict[float, list[Replication]] = {}
    for one in every:
        by_rate.setdefault(one.rate, []).append(one)
    load = figures(row, options)
    return Served(
        load=replace(load, late=True, latency_ms=(), attainment=None) if late else load,
        transport_ms=transport_ms,
        curve=tuple(figures(by_rate[rate], options) for rate in sorted(by_rate)),
        found=found,
        replications=len(row),
    )
