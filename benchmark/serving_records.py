"""How a model is loaded with requests, and what that found."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple, Optional

import numpy as np
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from benchmark.records import frozen

Arrivals = Literal["poisson", "constant", "gamma"]
Interval = tuple[float, Optional[float], Optional[float]]  # noqa: UP045 - evaluated, in Python 3.9 too
"""A figure with its 95 % interval; the bounds are null where there are too few samples."""


@frozen
class ServingOptions:
    """How requests arrive and are answered: the fields of conf/scenario/server.yaml."""

    rate: PositiveFloat | None = None
    """Requests per second of one load; null: the highest rate within `slo_ms` is searched."""
    slo_ms: PositiveFloat | None = None
    """Limit of a request's latency, from its scheduled time to its answer."""
    percentile: Annotated[float, Field(ge=50, lt=100)] = 99.0
    """Percent of the requests that have to keep the limit."""
    preset: str | None = None
    """Whose limit `slo_ms` and `percentile` are: a YAML of conf/scenario/preset."""
    arrivals: Arrivals = "poisson"
    """poisson: independent of each other; constant: equal gaps; gamma: gaps as `burstiness` has them."""
    burstiness: PositiveFloat = 1.0
    """Shape of the gamma distribution: below 1 requests come in bursts, 1 is Poisson, above is more even."""
    arrival_seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Seed of the arrivals: each replication has a stream of its own."""
    duration_s: PositiveFloat = 30.0
    """Seconds of one load."""
    search_s: PositiveFloat = 75.0
    """Seconds of all loads of a search."""
    precision: Annotated[float, Field(gt=0, lt=1)] = 0.03
    """Half width of the found rate's 95 % interval, as a share, at which a search ends."""
    replicas: PositiveInt = 1
    """Copies of the model behind the one queue, each a process."""
    max_batch: PositiveInt = 1
    """Most requests that one call answers together; powers of two are compiled beforehand."""
    max_delay_ms: NonNegativeFloat = 0.0
    """How long a request waits for others to fill its batch."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """Requests that a compiled call has room for: powers of two up to `max_batch`."""
        return tuple(2**power for power in range(self.max_batch.bit_length()))

    @property
    def limit_ns(self) -> float:
        """The limit in nanoseconds; infinite without one."""
        return float("inf") if self.slo_ms is None else self.slo_ms * 1e6


class Observed(NamedTuple):
    """Times of the requests of one load, in order of arrival: ns from its start, 0 where it didn't happen."""

    scheduled: np.ndarray
    """From the start of the load."""
    issued: np.ndarray
    """When the generator put it into the queue."""
    started: np.ndarray
    """When a copy of the model began the call that answers it."""
    ended: np.ndarray
    """When that call ended."""
    room: np.ndarray
    """Requests that the call had room for."""
    first: np.ndarray
    """Whether it is the first request of its call."""
    growing: float | None
    """Requests by which the queue grew in a second, where the load was stopped for that."""

    @property
    def answered(self) -> np.ndarray:
        """Which requests have an answer."""
        return self.ended > 0

    @property
    def latencies_s(self) -> np.ndarray:
        """Seconds from the scheduled time to the answer; infinite without one."""
        return np.where(self.answered, (self.ended - self.scheduled) / 1e9, np.inf)

    @property
    def services(self) -> dict[int, np.ndarray]:
        """Seconds of the calls, by their room, in order."""
        of_calls = self.answered & self.first
        took = (self.ended - self.started) / 1e9
        return {int(size): took[of_calls & (self.room == size)] for size in np.unique(self.room[of_calls])}


@frozen
class Load:
    """Figures of one load: at one rate, over one or several replications."""

    offered_per_s: PositiveFloat
    """Requests that the schedule asks for in a second."""
    achieved_per_s: NonNegativeFloat
    """Requests that the generator issued in a second."""
    requests: NonNegativeInt
    """Requests that count."""
    latency_ms: tuple[float, ...] = ()
    """p50, p95 and p99 from the scheduled time; empty where the queue grew or the generator was late."""
    queueing_ms: tuple[float, ...]
    """p50 and p99 from the scheduled time to the start of the call."""
    service_ms: tuple[float, ...]
    """p50 and p99 of the calls."""
    lateness_ms: tuple[float, ...]
    """p50, p99 and greatest delay of the generator behind its schedule."""
    outstanding: tuple[float, ...]
    """Mean and greatest number of requests without an answer."""
    attainment: Interval | None = None
    """Share of the requests answered within the limit; null without a limit."""
    batch: NonNegativeFloat
    """Mean number of requests in a call."""
    growing: float | None = None
    """Requests by which the queue grew in a second, where it grew."""
    late: bool = False
    """Whether the generator couldn't keep to its schedule."""


@frozen
class Served:
    """What a serving run found."""

    load: Load
    """The load that the row is about: of a search the confirming one."""
    transport_ms: NonNegativeFloat
    """Median time from a request's issue to the start of its call, where a copy waits for it."""
    curve: tuple[Load, ...]
    """Every load point, by rate."""
    found: tuple[float, float, float] | None = None
    """Highest rate within the limit and its interval; null: no search, or none was found."""
    replications: PositiveInt = 1
