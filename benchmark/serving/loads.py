"""Which loads a run makes: one rate, or a search for the highest rate within the limits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from benchmark.errors import Incompatible, Saturated
from benchmark.formatting import limits_in_words, significant
from benchmark.serving.figures import Replication, figures, is_late, transport_ms
from benchmark.serving.replications import Kept
from benchmark.serving.requests import Source
from benchmark.serving_records import CallTimes, Observed, Requests, Served, ServingOptions
from benchmark.stats.queue_model import Calls, QueueModel
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

    def __init__(self, source: Source, alone: Mapping[int, CallTimes], run: Run, kept: Kept) -> None:
        """`alone` are calls in a closed loop, by the requests that a call has room for.

        Raises:
            Saturated: a call alone takes longer than the limits.
        """
        self._source, self._run, self._kept = source, run, kept
        self._options = options = source.options
        self._refuse_slow(alone[1])
        known = self._calls(alone)
        self._rates = RateSearch(
            1 - options.percentile / 100,
            lambda found: QueueModel(
                options.replicas, options.max_batch, options.max_delay_ms / 1e3, {**known, **found}
            ),
            start=self._first_rate(known),
            seconds=options.search_s,
            precision=options.precision,
        )
        self.replications: list[Replication] = []
        self.late: list[Replication] = []

    def made(self) -> tuple[float, float, float] | None:
        """Make the replications; return the rate with its interval, None if the generator was late too often.

        Raises:
            Saturated: no rate keeps the limits.
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
        limits = limits_in_words(self._options.slo_ms, self._options.ttft_ms, self._options.tpot_ms)
        raise Saturated(
            f"no rate keeps {limits} for {self._options.percentile:g} % of the "
            f"requests: at {significant(lowest.rate)}/s {share:.1%} were within: raise the limits, or lower "
            "scenario.percentile"
        )

    @property
    def _too_often_late(self) -> bool:
        return len(self.late) > max(_MOST_LATE, len(self.replications))

    def _refuse_few(self, rate: float) -> None:
        """Late answers have to be seen: the model of the queue alone is no measurement."""
        within = np.concatenate([one.seen.within(self._options)[one.counted] for one in self.replications])
        if (seen := int((~within).sum())) < _LEAST_SEEN:
            raise Incompatible(
                f"scenario.search_s={self._options.search_s:g} is too short to see a queue at its limit: of "
                f"{len(within)} requests, at about {significant(rate)}/s, {seen} were late: raise it"
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
                late=~seen.within(self._options),
                calls=self._calls(seen.calls),
            )
        )

    def _calls(self, found: Mapping[int, CallTimes]) -> dict[int, Calls]:
        return {room: Calls(times.seconds, times.slack_s(self._options)) for room, times in found.items()}

    def _first_rate(self, alone: Mapping[int, Calls]) -> float:
        """Where the search begins: the limit of a queue whose calls all take the median."""
        options = self._options
        medians = {room: float(np.median(calls.seconds)) for room, calls in alone.items()}
        capacity = options.replicas * max(room / seconds for room, seconds in medians.items())
        if options.max_batch > 1:
            return _BATCHED_LOAD * capacity
        limit = max(0.0, 1 + float(np.median(alone[1].slack)) / medians[1])
        load = highest_load(options.replicas, round(limit, 2), options.percentile)
        return max(_LEAST_LOAD, load) * capacity

    def _refuse_slow(self, alone: CallTimes) -> None:
        """A request that waits for nothing takes too long: no load is needed to see that."""
        options = self._options
        if options.mixed:  # `alone` are the longest requests: others may keep the limits
            return
        delay_ms = options.max_delay_ms if options.max_batch > 1 else 0.0
        waits = f", of it {delay_ms:g} ms scenario.max_delay_ms" if delay_ms else ""
        for name, limit_ms, what, seconds, delayed in (
            ("slo_ms", options.slo_ms, "one call alone takes", alone.seconds, True),
            ("ttft_ms", options.ttft_ms, "the first token of a call alone takes", alone.first_token, True),
            ("tpot_ms", options.tpot_ms, "a call alone takes, per token,", alone.per_token, False),
        ):
            alone_ms = 1e3 * float(np.median(seconds)) + delay_ms * delayed
            if limit_ms is not None and alone_ms > limit_ms:
                raise Saturated(
                    f"no rate keeps {significant(limit_ms)} ms: {what} {significant(alone_ms)} ms"
                    f"{waits if delayed else ''}: raise scenario.{name}, or use a faster compiler or model"
                )


def served(  # noqa: PLR0913 - all that a run has
    options: ServingOptions,
    row: Sequence[Replication],
    every: Sequence[Replication],
    null_ms: float,
    found: tuple[float, float, float] | None,
    *,
    late: bool,
) -> Served:
    """What a run found: `row` are the replications that it is about, `every` all that were made.

    `null_ms` is what the transport took before calls that did nothing.
    """
    seen_ms = transport_ms(row) if options.max_batch == 1 else None  # a batch waits to be filled
    by_rate: dict[float, list[Replication]] = {}
    for one in every:
        by_rate.setdefault(one.rate, []).append(one)
    load = figures(row, options)
    return Served(
        load=replace(load, late=True, latency_ms=(), attainment=None) if late else load,
        transport_ms=null_ms if seen_ms is None else seen_ms,
        curve=tuple(figures(by_rate[rate], options) for rate in sorted(by_rate)),
        found=found,
        replications=len(row),
    )
