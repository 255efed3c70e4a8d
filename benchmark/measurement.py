"""Results of one measuring process: samples, statistics, noise."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Optional

import numpy as np
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from benchmark.records import Arithmetic, Names, frozen
from benchmark.serving_records import Served
from benchmark.training_records import Trained

StopReason = Literal["enough", "precision", "max_calls", "max_s"]
Bounds = tuple[Optional[float], Optional[float], Optional[float]]  # noqa: UP045 - evaluated, in Python 3.9 too
"""A statistic in ms and its 95 % interval; null where there are too few samples."""


@frozen
class DeviceState:
    """State of the device at one moment; null is what it doesn't report."""

    clock_mhz: float | None = None
    """Mean clock of its compute units."""
    temperature_c: float | None = None
    throttle_reasons: Names = ()
    """Reasons of heat or power that lower its clock, by the driver's names; idleness is none."""
    throttle_count: int | None = None
    """Times that heat slowed it since the host started."""
    other_processes: NonNegativeInt | None = None
    """Other processes that use it."""
    memory_bytes: NonNegativeInt | None = None
    """Peak of this process so far."""
    utilisation: Annotated[float, Field(ge=0, le=1)] | None = None
    """Share of the time in which its cores computed."""
    latency_p50_ms: NonNegativeFloat | None = None
    """Median of its latest executions, by its own clock."""
    errors: Names = ()
    """Its latest errors, by the driver's names."""


@frozen
class Timing:
    """Raw samples of one measurement, before any statistics."""

    nanoseconds: tuple[int, ...]
    """One sample per timed call, in order, without the warm-up."""
    warmup_calls: NonNegativeInt
    """Calls before the first sample: the configured ones, and those until the series was steady, if ever."""
    warmup_s: NonNegativeFloat
    """Seconds of the warm-up."""
    wall_s: NonNegativeFloat
    """Seconds of the timed calls, without the analysis between them."""
    cpu_s: NonNegativeFloat
    """CPU seconds of this process, all threads, over the same time."""
    steady: bool
    """Whether the medians of the samples' quarters differ by 5 % at most, or by `repeat_precision`."""
    stop_reason: StopReason
    """The rule that ended the sampling: the minima (enough), the precision, or a maximum."""
    analysis_s: NonNegativeFloat = 0.0
    """Seconds of analysis between the calls."""
    energy_j: NonNegativeFloat | None = None
    """Energy that the device used in the timed calls."""
    device_nanoseconds: tuple[int, ...] = ()
    """Durations by the device's own clock; empty where it has none."""
    token_nanoseconds: tuple[tuple[NonNegativeInt, ...], ...] = ()
    """For each call the time from its start to each of its tokens; empty for tasks without tokens."""


@frozen
class Summary:
    """Statistics of the samples of one process, in ms; `stats.intervals` says when one is refused."""

    mean: Bounds
    p50: Bounds
    p90: Bounds
    p95: Bounds
    p99: Bounds
    effective_samples: float | None
    """Number of independent samples that would give the same interval of the median."""


@frozen
class Noise:
    """Disturbances during the measurement; null is what the host doesn't report."""

    on_cpu: float | None = None
    """Share of the needed CPU time that its threads got; the rest they waited for a core."""
    involuntary_switches_per_s: NonNegativeFloat | None = None
    steal: float | None = None
    """Share of the host's CPU time that other virtual machines took."""
    host_cpu: float | None = None
    """Share of the host's cores in use, by all processes."""
    others_cores: float | None = None
    """Cores in use by other processes."""
    load: float | None = None
    """Load average of the minute before."""
    governor: str | None = None
    boost: bool | None = None
    device: DeviceState = DeviceState()
    """At the end of the calls."""
    flags: Names = ()
    """Reasons to doubt the samples."""


@frozen
class Harness:
    """Conditions in the measuring process."""

    timer_ns: NonNegativeInt
    """Duration that the loop measures for an empty call."""
    affinity: tuple[NonNegativeInt, ...]
    """Logical CPUs that the process may use."""
    allocator: str
    """Memory allocator."""
    denormals: Literal["kept", "flushed"]
    """Whether the CPU computes with numbers below 1e-38 (slow on many CPUs) or treats them as zero."""


@frozen
class Measurement:
    """Results of one measuring process."""

    timing: Timing
    summary: Summary
    first_call_ns: NonNegativeInt
    """Duration of the call before the warm-up, which includes lazy initialisation."""
    answers: tuple[np.ndarray, ...]
    """Outputs of the first call, as float32 on the host."""
    second_answers: tuple[np.ndarray, ...] = ()
    """Outputs of one more call after the timing, with the second inputs; empty where they weren't given."""
    arithmetic: Arithmetic
    noise: Noise
    attempts: PositiveInt
    """Times that it was timed: more than once if noisy."""
    retries_s: NonNegativeFloat
    """Seconds of the times that don't count."""
    harness: Harness
    load_s: NonNegativeFloat
    process_s: NonNegativeFloat
    """Seconds from the first line of the measuring process's work to its last."""
    peak_host_bytes: NonNegativeInt
    picture: Path | None = None
    """File of the image that the model made."""
    trained: Trained | None = None
    """Of a training: then a call is one step."""
    served: Served | None = None
    """Of requests under load: then a call is a request, and counts from its scheduled time."""
    placement: Mapping[str, str] = Field(default_factory=dict)
    """Device cores of each part of each copy, see `benchmark.placement`; empty where they have none."""
    kv_cache: Literal["device", "host"] | None = None
    """Where keys and values are between the tokens of a generation; null for other models."""
    kv_bytes_per_token: float | None = None
    """Bytes of keys and values of one token of one item, as the run kept them; null for other models."""
