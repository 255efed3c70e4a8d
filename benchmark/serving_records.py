"""How a model is loaded with requests, and what that found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple, Optional

import numpy as np
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, Strict

from benchmark.records import frozen

Arrivals = Literal["poisson", "constant", "gamma"]
Lengths = Literal["fixed", "uniform", "lognormal"]
Interval = tuple[float, Optional[float], Optional[float]]  # noqa: UP045 - evaluated, in Python 3.9 too
"""A figure with its 95 % interval; the bounds are null where there are too few samples."""


@frozen
class ServingOptions:
    """How requests arrive and are answered: the fields of conf/scenario/server.yaml."""

    rate: PositiveFloat | None = None
    """Requests per second of one load; null: those of `trace`, or the highest rate within the limits."""
    slo_ms: PositiveFloat | None = None
    """Limit of a request's latency, from its scheduled time to its answer."""
    percentile: Annotated[float, Field(ge=50, lt=100)] = 99.0
    """Percent of the requests that have to keep the limits."""
    ttft_ms: PositiveFloat | None = None
    """Limit of the time from a request's schedule to its first token."""
    tpot_ms: PositiveFloat | None = None
    """Limit of a request's mean time per token after the first."""
    preset: str | None = None
    """Whose limits they are: a YAML of conf/scenario/preset."""
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
    lengths: Lengths = "fixed"
    """How many tokens requests of a generation have: those of the cell; uniform: from 1 to those of the cell;
    lognormal: most are short, and few nearly as long as those of the cell, where the distribution ends."""
    prompt_median: PositiveInt | None = None
    """Of lognormal prompts before the distribution is cut off; null: a quarter of the longest."""
    output_median: PositiveInt | None = None
    """Of lognormal outputs, likewise."""
    length_sigma: PositiveFloat = 1.0
    """Standard deviation of the logarithm of lognormal lengths."""
    trace: str | None = None
    """CSV file whose requests are issued again, when and as long as they were; with a rate: with lengths of
    its requests, drawn."""
    prompt_lengths: Annotated[tuple[PositiveInt, ...], Strict(False)] = ()  # noqa: FBT003 - YAML knows lists only
    """Lengths below that of the cell that prompts are padded to: each is compiled beforehand."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """Requests that a compiled call has room for: powers of two up to `max_batch`."""
        return tuple(2**power for power in range(self.max_batch.bit_length()))

    @property
    def replays(self) -> bool:
        """Whether requests come when those of the trace did."""
        return self.trace is not None and self.rate is None

    @property
    def searches(self) -> bool:
        """Whether the highest rate within the limits is looked for."""
        return self.rate is None and not self.replays

    @property
    def mixed(self) -> bool:
        """Whether requests have different lengths."""
        return self.trace is not None or self.lengths != "fixed"

    @property
    def limits(self) -> tuple[float, float, float]:
        """Seconds that latency, first token and time per token may take; infinite without a limit."""
        given = (self.slo_ms, self.ttft_ms, self.tpot_ms)
        return tuple(float("inf") if limit is None else limit / 1e3 for limit in given)  # type: ignore[return-value]


class Requests(NamedTuple):
    """The requests of one load, in order of arrival."""

    scheduled: np.ndarray
    """Nanoseconds from the start of the load, int64."""
    lengths: np.ndarray | None = None
    """Tokens of (prompt, output), a row for each request; None: they are no generations."""


class CallSize(NamedTuple):
    """What a compiled call has room for."""

    room: int
    """Requests."""
    prompt: int = 0
    """Tokens of their prompts; 0: as many as the cell has, if any."""


class CallTimes(NamedTuple):
    """How long calls took, from their start."""

    seconds: np.ndarray
    first_token: np.ndarray
    """Seconds to the first token; without meaning where it is no generation."""
    per_token: np.ndarray
    """Mean seconds per token after the first; not a number where there is none."""

    def slack_s(self, options: ServingOptions) -> np.ndarray:
        """Seconds that a request may wait for each call and still be within all limits; negative: none."""
        latency, first_token, per_token = options.limits
        slack = np.minimum(latency - self.seconds, first_token - self.first_token)
        return np.where(self.per_token > per_token, -np.inf, slack)

    def those(self, which: np.ndarray) -> CallTimes:
        """Some of them."""
        return CallTimes(*(times[which] for times in self))

    @staticmethod
    def joined(parts: Sequence[CallTimes]) -> CallTimes:
        """All of several."""
        return CallTimes(*map(np.concatenate, zip(*parts, strict=True)))


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
    prompt: np.ndarray
    """Tokens of its prompt; 0 where it is no generation, likewise below."""
    output: np.ndarray
    """Tokens of its answer."""
    padded: np.ndarray
    """Tokens of the prompt that the call read: a compiled length."""
    first_token: np.ndarray
    """When it had its first token."""
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
    def first_token_s(self) -> np.ndarray:
        """Seconds from the scheduled time to the first token; infinite without one."""
        return np.where(self.answered, (self.first_token - self.scheduled) / 1e9, np.inf)

    @property
    def per_token_s(self) -> np.ndarray:
        """Mean seconds per token after the first; not a number where there is no other."""
        several = self.answered & (self.output > 1)
        took = (self.ended - self.first_token) / 1e9 / np.maximum(1, self.output - 1)
        return np.where(several, took, np.nan)

    def within(self, options: ServingOptions) -> np.ndarray:
        """Which requests were answered within all limits."""
        seconds, first_token = map(self._since_start_s, (self.ended, self.first_token))
        slack = CallTimes(seconds, first_token, self.per_token_s).slack_s(options)
        waited = -self._since_start_s(self.scheduled)
        return np.asarray(self.answered & (waited <= slack))

    @property
    def calls(self) -> dict[int, CallTimes]:
        """The calls, by their room, in order; a call's tokens are those of its first request."""
        begins = np.flatnonzero(self.first & self.answered)
        if not len(begins):
            return {}
        seconds = (np.maximum.reduceat(self.ended, begins) - self.started[begins]) / 1e9
        first_token, room = self._since_start_s(self.first_token)[begins], self.room[begins]
        all_calls = CallTimes(seconds, first_token, self.per_token_s[begins])
        return {int(size): all_calls.those(room == size) for size in np.unique(room)}

    def _since_start_s(self, moments: np.ndarray) -> np.ndarray:
        return np.asarray((moments - self.started) / 1e9)


@frozen
class TokenFigures:
    """Tokens of the requests of one load."""

    first_token_ms: tuple[float, ...] = ()
    """Mean, p50, p95 and p99 from the scheduled time to the first token; empty as `Load.latency_ms`."""
    per_token_ms: tuple[float, ...] = ()
    """Mean, p50, p95 and p99 over the requests of the time per token after the first; likewise."""
    prompt: NonNegativeFloat
    """Mean tokens of a prompt."""
    output: NonNegativeFloat
    """Mean tokens of an answer."""
    padding_share: Annotated[float, Field(ge=0, lt=1)]
    """Share of the prompts' tokens that are padding."""


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
    """Share of the requests answered within the limits; null without a limit."""
    tokens: TokenFigures | None = None
    """Null where requests are no generations."""
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
    """Median time from a request's issue to the start of its call, where a copy waits for it: in the load
    itself, else before calls that do nothing."""
    curve: tuple[Load, ...]
    """Every load point, by rate."""
    found: tuple[float, float, float] | None = None
    """Highest rate within the limits and its interval; null: no search, or none was found."""
    replications: PositiveInt = 1
