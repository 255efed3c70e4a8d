"""Server: an open loop, in which requests arrive when they are scheduled, whatever the model does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

import numpy as np

from benchmark import request_trace
from benchmark.measurement import Timing
from benchmark.protocols import Asking, Compiler, Dataset, Device, Task
from benchmark.records import Sampling, Session, Shape, frozen
from benchmark.serving_records import ServingOptions

_LEAST_REQUESTS: Final = 20


@frozen
class Server(ServingOptions):
    """One load at `rate` or of a trace, or the highest rate at which enough requests keep the limits."""

    name: ClassVar[str] = "server"
    labelled: ClassVar[bool] = False
    training: ClassVar[None] = None
    workers: ClassVar[int] = 1

    @property
    def serving(self) -> ServingOptions:
        """These options."""
        return self

    def variants(self, cores: int) -> tuple[()]:  # noqa: ARG002 - whatever their number
        """None: its replicas are as asked for."""
        return ()

    def refuse(
        self,
        task: Task,
        compiler: Compiler,  # noqa: ARG002 - the same for all
        device: Device,  # noqa: ARG002
        shape: Shape,
        dataset: Dataset | None = None,  # noqa: ARG002
    ) -> str | None:
        """Refuse options that contradict each other, say too little or have no effect."""
        return (
            self._refuse_tokens(task, shape)
            or (self._refuse_trace(shape) if self.trace is not None else None)
            or self._refuse_load()
            or self._refuse_batches()
        )

    def _refuse_load(self) -> str | None:
        if self.searches and not np.isfinite(self.limits[:2]).any():
            return (
                "a search needs a limit that a waiting request exceeds: give scenario.ttft_ms= or "
                "scenario.slo_ms= besides scenario.tpot_ms, or scenario.rate= for one load"
                if self.tpot_ms is not None
                else "scenario=server: give scenario.rate= for one load, or scenario.slo_ms=, "
                "scenario.ttft_ms= or scenario.preset= for the highest rate within it"
            )
        if self.rate is not None and (requests := self.rate * self.duration_s) < _LEAST_REQUESTS:
            return (
                f"scenario.rate={self.rate:g} gives {requests:.3g} requests in scenario.duration_s="
                f"{self.duration_s:g}: use at least {_LEAST_REQUESTS / self.rate:g} s"
            )
        if self.arrivals != "gamma" and self.burstiness != 1:
            return (
                f"scenario.burstiness={self.burstiness:g} has no effect with scenario.arrivals="
                f"{self.arrivals}: use scenario.arrivals=gamma"
            )
        return None

    def _refuse_tokens(self, task: Task, shape: Shape) -> str | None:
        """Refuse options about tokens where there are none, or where they have no effect."""
        if shape.output_length is None:
            names = ("ttft_ms", "tpot_ms", "trace", "prompt_median", "output_median")
            given = [name for name in names if getattr(self, name) is not None]
            given += ["lengths"] * (self.lengths != "fixed") + ["prompt_lengths"] * bool(self.prompt_lengths)
            return f"scenario.{given[0]} is about tokens, and {task.name} makes none" if given else None
        if self.trace is not None and self.lengths != "fixed":
            return f"scenario.lengths={self.lengths} has no effect with scenario.trace, which has lengths"
        if self.lengths != "lognormal" and (
            self.prompt_median or self.output_median or self.length_sigma != 1
        ):
            return (
                "scenario.prompt_median, output_median and length_sigma are those of a distribution: use "
                "scenario.lengths=lognormal"
            )
        return self._refuse_prompts(task, shape)

    def _refuse_prompts(self, task: Task, shape: Shape) -> str | None:
        if shape.input_length is None:
            unfit = self.prompt_lengths or self.trace or self.prompt_median
            return f"prompts of {task.name} have one length: leave out its other ones" if unfit else None
        if self.prompt_lengths and not self.mixed:
            return (
                "scenario.prompt_lengths has no effect where all prompts have input_length: use "
                "scenario.lengths=uniform or lognormal, or scenario.trace="
            )
        given = list(self.prompt_lengths)
        if given != sorted(set(given)) or (given and given[-1] >= shape.input_length):
            return (
                f"scenario.prompt_lengths={given} must ascend and stay below input_length="
                f"{shape.input_length}, which is compiled anyway"
            )
        return None

    def _refuse_trace(self, shape: Shape) -> str | None:
        """Refuse a trace that can't be read, is too short, or has requests that don't fit."""
        assert self.trace is not None  # noqa: S101 - asked for those only
        try:
            trace = request_trace.read(self.trace)
        except request_trace.TraceError as error:
            return f"scenario.trace={self.trace} {error}"
        if self.replays:
            if self.arrivals != "poisson" or self.burstiness != 1:
                return (
                    "scenario.arrivals and burstiness have no effect on a trace, which has its times: give "
                    "scenario.rate= to draw lengths from it, or leave them out"
                )
            if len(used := trace.first(self.duration_s).lengths) < _LEAST_REQUESTS:
                return (
                    f"scenario.trace={self.trace} has {len(used)} requests in its first "
                    f"scenario.duration_s={self.duration_s:g}: use at least {_LEAST_REQUESTS}"
                )
            trace = trace.first(self.duration_s)
        for tokens, axis in zip(trace.lengths.max(axis=0), ("input_length", "output_length"), strict=True):
            if tokens > (most := getattr(shape, axis)):
                what = "a prompt" if axis == "input_length" else "an output"
                return (
                    f"scenario.trace={self.trace} has {what} of {tokens} tokens, above the longest that is "
                    f"compiled, {axis}={most}: raise it, or shorten the trace"
                )
        return None

    def _refuse_batches(self) -> str | None:
        if self.max_batch & (self.max_batch - 1):
            nearest = 2 ** (self.max_batch.bit_length() - 1)
            return f"scenario.max_batch={self.max_batch} is no power of two: use {nearest} or {2 * nearest}"
        if self.max_batch == 1 and self.max_delay_ms:
            return (
                f"scenario.max_delay_ms={self.max_delay_ms:g} has no effect with scenario.max_batch=1: a "
                "request waits for others to be answered together with it"
            )
        return None

    def measure(
        self, sessions: Sequence[Session], sampling: Sampling, asking: Asking | None = None
    ) -> Timing:
        """Not asked: the stage `serve` runs loads."""
        raise NotImplementedError
