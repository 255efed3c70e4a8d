"""Server: an open loop, in which requests arrive when they are scheduled, whatever the model does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from benchmark.measurement import Timing
from benchmark.protocols import Asking, Compiler, Dataset, Device, Task
from benchmark.records import Sampling, Session, Shape, frozen
from benchmark.serving_records import ServingOptions

_LEAST_REQUESTS: Final = 20


@frozen
class Server(ServingOptions):
    """One load at `rate`, or the highest rate at which so many percent of the requests keep `slo_ms`."""

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
        task: Task,  # noqa: ARG002 - the same for all
        compiler: Compiler,  # noqa: ARG002
        device: Device,  # noqa: ARG002
        shape: Shape,  # noqa: ARG002
        dataset: Dataset | None = None,  # noqa: ARG002
    ) -> str | None:
        """Refuse options that contradict each other, say too little or have no effect."""
        return self._refuse_load() or self._refuse_batches()

    def _refuse_load(self) -> str | None:
        if self.rate is None and self.slo_ms is None:
            return (
                "scenario=server: give scenario.rate= for one load, or scenario.slo_ms= or scenario.preset= "
                "for the highest rate within it"
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
