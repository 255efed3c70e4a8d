"""The requests of a load: when they arrive, and how many tokens they have."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from benchmark import request_trace
from benchmark.records import Shape
from benchmark.serving.arrivals import schedule, stream
from benchmark.serving_records import Requests, ServingOptions

_MEDIAN_SHARE: Final = 0.25
"""Of the longest, where no median is given."""


class Source(NamedTuple):
    """Makes the requests of each replication: the same for the same seed."""

    options: ServingOptions
    shape: Shape
    """Of the cell: its lengths are the longest."""

    def requests(self, rate: float, seconds: float, number: int, *, confirming: bool = False) -> Requests:
        """Requests at this rate, for so many seconds; `number` is that of the replication."""
        options = self.options
        rng = stream(options.arrival_seed, number, confirming=confirming)
        times = schedule(options.arrivals, rate, seconds, rng, options.burstiness)
        if self.shape.output_length is None:
            return Requests(times)
        own = stream(options.arrival_seed, number, confirming=confirming, of_lengths=True)
        return Requests(times, self._lengths(len(times), own))

    def replay(self) -> tuple[Requests, float]:
        """The requests of the trace, and their seconds: up to the last of them, at most `duration_s`."""
        assert self.options.trace is not None  # noqa: S101 - asked for replays only
        trace = request_trace.read(self.options.trace).first(self.options.duration_s)
        times = (trace.arrival_s * 1e9).astype(np.int64)
        return Requests(times, trace.lengths), float(trace.arrival_s[-1])

    def _lengths(self, count: int, rng: np.random.Generator) -> np.ndarray:
        if self.options.trace is not None:
            known = request_trace.read(self.options.trace).lengths
            return known[rng.integers(len(known), size=count)]
        options = self.options
        longest = (self.shape.input_length or 0, self.shape.output_length or 1)
        columns = [
            self._drawn(most, median, rng.uniform(size=count))
            for most, median in zip(longest, (options.prompt_median, options.output_median), strict=True)
        ]
        return np.stack(columns, axis=1)

    def _drawn(self, most: int, median: int | None, chance: np.ndarray) -> np.ndarray:
        """Tokens from 1 to `most`, from numbers between 0 and 1; 0 for a model without a prompt of tokens."""
        if not most or self.options.lengths == "fixed":
            return np.full(len(chance), most)
        if self.options.lengths == "uniform":
            return 1 + (chance * most).astype(np.int64)
        from scipy.special import ndtr, ndtri

        centre, sigma = np.log(median or max(1.0, _MEDIAN_SHARE * most)), self.options.length_sigma
        lowest, highest = ndtr((np.log([0.5, most + 0.5]) - centre) / sigma)
        drawn = np.exp(centre + sigma * ndtri(lowest + chance * (highest - lowest)))
        tokens: np.ndarray = np.clip(np.rint(drawn), 1, most).astype(np.int64)
        return tokens
