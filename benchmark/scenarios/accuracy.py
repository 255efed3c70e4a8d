"""Accuracy: a closed loop over the items of a labelled data set, one batch a call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from benchmark.measurement import Timing
from benchmark.protocols import Asking, ScenarioDefaults
from benchmark.records import Sampling, Session, frozen
from benchmark.stats.steady_state import drift
from benchmark.timing.harness import replace_inputs

_LEAST_DRIFT = 0.05


@frozen
class Accuracy(ScenarioDefaults):
    """Each item is answered once, by what `scenario=latency` times. Preparing the items isn't timed."""

    name: ClassVar[str] = "accuracy"
    replicas: ClassVar[int] = 1
    workers: ClassVar[int] = 1

    @property
    def labelled(self) -> bool:
        """It answers a data set."""
        return True

    def measure(
        self, sessions: Sequence[Session], sampling: Sampling, asking: Asking | None = None
    ) -> Timing:
        """Warm up with the first batch, then answer the items that have no answer yet."""
        assert asking is not None  # noqa: S101 - a labelled scenario gets it
        (session,) = sessions
        clock, began = session.clock, session.clock()
        replace_inputs(session, asking.first_inputs())
        calls = 0
        while calls < sampling.warmup_calls or clock() - began < sampling.warmup_s * 1e9:
            session.run()
            calls += 1
        warmup_s = (clock() - began) / 1e9
        asking.ask(session, replace_inputs)
        calls_ns, wall_s, cpu_s = asking.times()
        return Timing(
            nanoseconds=tuple(calls_ns),
            warmup_calls=calls,
            warmup_s=warmup_s,
            wall_s=wall_s,
            cpu_s=cpu_s,
            steady=drift(calls_ns) <= max(_LEAST_DRIFT, sampling.repeat_precision or 0),
            stop_reason="enough",
        )
