"""What a measuring child brings home: samples, what they tell, and what went on beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Optional

import numpy as np
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from benchmark.records import Arithmetic, Names, frozen

StopReason = Literal["enough", "precision", "max_calls", "max_s"]
Bounds = tuple[Optional[float], Optional[float], Optional[float]]  # noqa: UP045 - evaluated, in Python 3.9 too
"""A statistic in ms and its 95 % interval; null where it is refused."""


@frozen
class DeviceState:
    """How the device is just now, as far as it tells."""

    clock_mhz: float | None = None
    """Of its compute units: their mean."""
    temperature_c: float | None = None
    throttle_reasons: Names = ()
    """What keeps its clock down, by the driver's names; heat and power, not idleness."""
    throttle_count: int | None = None
    """How often heat slowed it since the host started."""
    other_processes: NonNegativeInt | None = None
    """Processes that use it beside this one."""
    memory_bytes: NonNegativeInt | None = None
    """Most of its memory that this process has held so far."""
    utilisation: Annotated[float, Field(ge=0, le=1)] | None = None
    """Share of the time in which its cores computed."""
    energy_j: NonNegativeFloat | None = None
    """Spent since some moment in the past: two readings tell what went between them."""
    latency_p50_ms: NonNegativeFloat | None = None
    """Median time of what it executed lately, by its own clock."""
    errors: Names = ()
    """What went wrong on it lately, by its driver's names."""


@frozen
class Timing:
    """What the clock said, unsummarised: statistics belong to reports."""

    nanoseconds: tuple[int, ...]
    """One per timed call, in order; warm-ups excluded."""
    warmup_calls: NonNegativeInt
    """Calls before the first sample: those that were asked for, and those until the series was steady."""
    warmup_s: NonNegativeFloat
    """Seconds that the warm-up took."""
    wall_s: NonNegativeFloat
    """Seconds in which the timed calls ran, back to back: looking at the samples in between is left out."""
    cpu_s: NonNegativeFloat
    """CPU seconds of this process, all threads, over the same time."""
    steady: bool
    """Whether the series comes to rest: if not, every call after the warm-up asked for is a sample."""
    stop_reason: StopReason
    """The minima or the precision that were asked for, or the maximum that was met before."""
    analysis_s: NonNegativeFloat = 0.0
    """Seconds for looking at the samples, while none was taken."""
    device_nanoseconds: tuple[int, ...] = ()
    """What the device itself took for the calls; empty where only the host's clock tells."""
    token_nanoseconds: tuple[tuple[NonNegativeInt, ...], ...] = ()
    """For each call the time from its start to each of its tokens; empty for what makes none."""


@frozen
class Summary:
    """What the samples of one process tell, in ms; see `intervals` for when they don't."""

    mean: Bounds
    p50: Bounds
    p90: Bounds
    p95: Bounds
    p99: Bounds
    effective_samples: float | None
    """Independent samples that would tell as much about the median."""


@frozen
class Noise:
    """What went on beside the samples while they were taken; null where the host doesn't tell."""

    on_cpu: float | None = None
    """Share of the CPU time its threads wanted that they had: the rest they queued for a core."""
    involuntary_switches_per_s: NonNegativeFloat | None = None
    steal: float | None = None
    """Share of the host's CPU time that other virtual machines took."""
    host_cpu: float | None = None
    """Share of the host's cores in use, by anyone."""
    others_cores: float | None = None
    """Cores in use by other processes."""
    load: float | None = None
    """Load average of the minute before."""
    governor: str | None = None
    boost: bool | None = None
    device: DeviceState = DeviceState()
    """As the calls ended."""
    energy_j: NonNegativeFloat | None = None
    """That the device spent meanwhile."""
    flags: Names = ()
    """Reasons to doubt the samples."""


@frozen
class Harness:
    """How the calls were made, as it was found in the process that made them."""

    timer_ns: NonNegativeInt
    """What the loop reads for a call that does nothing."""
    affinity: tuple[NonNegativeInt, ...]
    """Logical CPUs the process may use."""
    allocator: str
    """Who hands out memory."""
    denormals: Literal["kept", "flushed"]
    """Whether the CPU computes with numbers below 1e-38 (slow on many), or takes them for zero."""


@frozen
class Measurement:
    """What a measuring child brings home."""

    timing: Timing
    summary: Summary
    first_call_ns: NonNegativeInt
    """The call before the warm-up: lazy initialisation shows here."""
    answers: tuple[np.ndarray, ...]
    """Outputs of the first call, as float32 on the host."""
    arithmetic: Arithmetic
    noise: Noise
    attempts: PositiveInt
    """How often it was timed: again where the first was noisy."""
    harness: Harness
    load_s: NonNegativeFloat
    peak_host_bytes: NonNegativeInt
    picture: Path | None = None
    """What it drew, for people to look at."""
