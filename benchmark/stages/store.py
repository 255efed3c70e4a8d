"""Turn what a run found into its row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from benchmark import host
from benchmark.cell import PlannedRun
from benchmark.records import Artifact, Failure, Measured, Quality, Row, Timing, Workload, frozen
from benchmark.schema import SCHEMA_VERSION
from benchmark.statistics import percentiles


@frozen
class Attempt:
    """One run from its first stage to its last, however far it came."""

    planned: PlannedRun
    started_at: datetime
    finished_at: datetime
    stage_seconds: Mapping[str, float]
    log: Path
    workload: Workload | None = None
    artifact: Artifact | None = None
    measured: Measured | None = None
    quality: Quality | None = None
    failure: Failure | None = None


def row(attempt: Attempt, config: str) -> Row:
    """Spell the attempt in the columns of the store; what wasn't reached stays null.

    A run that failed keeps what it found on the way, but no latency: that is for rows one may trust.
    """
    trusted = attempt.measured if attempt.failure is None else None
    values = {
        **_identity(attempt),
        **_model(attempt),
        **_axes(attempt),
        **_compile(attempt),
        **(_latency(trusted.timing, trusted.first_call_ns) if trusted else {}),
        **(_throughput(trusted.timing, attempt.planned.cell.experiment.batch) if trusted else {}),
        **(asdict(attempt.measured.arithmetic) if attempt.measured else {}),
        **(asdict(attempt.quality) if attempt.quality else {}),
        **_resources(attempt),
        **_provenance(attempt),
        "config": config,
    }
    return Row(values=values)


def _identity(attempt: Attempt) -> dict[str, Any]:
    cell, failure = attempt.planned.cell, attempt.failure
    return {
        "schema_version": SCHEMA_VERSION,
        "run_id": attempt.planned.run_id,
        "campaign": cell.experiment.campaign,
        "cell_id": cell.cell_id,
        "environment_id": attempt.planned.environment.environment_id,
        "family_id": cell.family_id,
        "repeat": 0,
        "started_at": attempt.started_at,
        "finished_at": attempt.finished_at,
        "status": failure.status if failure else "ok",
        "stage": failure.stage if failure else None,
        "error": failure.error if failure else None,
        "log_path": str(attempt.log) if attempt.log.exists() else None,
        "simulated": cell.experiment.hardware.simulated,
    }


def _model(attempt: Attempt) -> dict[str, Any]:
    e = attempt.planned.cell.experiment
    return {
        "model": e.model.name,
        "model_id": e.model.hub_id,
        "revision": (e.model.revision or "main") if e.weights == "pretrained" else None,
        "weights": e.weights,
        "task": e.task.name,
        "parameters": attempt.workload.parameters if attempt.workload else e.model.parameters,
    }


def _axes(attempt: Attempt) -> dict[str, Any]:
    cell, facts = attempt.planned.cell, attempt.planned.environment.facts
    e = cell.experiment
    pixels = attempt.workload.input_shapes.get("pixel_values") if attempt.workload else None
    return {
        "hardware": e.hardware.name,
        "instance_type": facts.instance_type,
        "compiler": e.compiler.name,
        "fast_math": e.compiler.fast_math,
        "batch_size": e.batch,
        "sequence_length": cell.sequence_length,
        "image_size": pixels[-1] if pixels else None,
        "scenario": e.scenario.name,
        "replicas": 1,
        "workers": 1,
        "threads": facts.threads,
    }


def _compile(attempt: Attempt) -> dict[str, Any]:
    artifact = attempt.artifact
    load_s = attempt.measured.load_s if attempt.measured else None
    if artifact is None:
        return {"load_s": load_s}
    return {
        "cache_hit": artifact.cache_hit,
        "compile_s": artifact.compile_s,
        "compile_workers": artifact.compile_workers,
        "artifact_bytes": artifact.artifact_bytes,
        "load_s": load_s,
        "subgraphs": artifact.report.subgraphs,
        "graph_breaks": artifact.report.graph_breaks,
        "ops_on_device_fraction": artifact.report.ops_on_device_fraction,
        "unsupported_ops": artifact.report.unsupported_ops,
        "compiler_flags": artifact.report.flags,
    }


def _latency(timing: Timing, first_call_ns: int) -> dict[str, Any]:
    ms = np.asarray(timing.nanoseconds) / 1e6
    p50, p90, p95, p99 = percentiles(ms, (0.5, 0.9, 0.95, 0.99))
    return {
        "samples": len(ms),
        "latency_min_ms": float(ms.min()),
        "latency_mean_ms": float(ms.mean()),
        "latency_std_ms": float(ms.std(ddof=1)) if len(ms) > 1 else None,
        "latency_p50_ms": p50,
        "latency_p90_ms": p90,
        "latency_p95_ms": p95,
        "latency_p99_ms": p99,
        "latency_max_ms": float(ms.max()),
        "latency_ns": timing.nanoseconds,
        "first_call_ms": first_call_ns / 1e6,
        "warmup_calls": timing.warmup_calls,
    }


def _throughput(timing: Timing, batch: int) -> dict[str, Any]:
    items = batch * len(timing.nanoseconds)
    return {
        "throughput_per_s": items / timing.wall_s if timing.wall_s else None,
        "throughput_unit": "items",
    }


def _resources(attempt: Attempt) -> dict[str, Any]:
    seconds = dict(attempt.stage_seconds)
    values: dict[str, Any] = {}
    if measured := attempt.measured:
        timing = measured.timing
        seconds |= {
            "measure.load": measured.load_s,
            "measure.warmup": timing.warmup_s,
            "measure.calls": timing.wall_s,
        }
        values |= {
            "peak_host_bytes": measured.peak_host_bytes,
            "peak_device_bytes": measured.peak_device_bytes,
            "cpu_share": timing.cpu_s / timing.wall_s if timing.wall_s else None,
        }
    return {**values, "stage_seconds": list(seconds.items())}


def _provenance(attempt: Attempt) -> dict[str, Any]:
    here, environment = host.provenance(), attempt.planned.environment
    return {
        "git_commit": here.git_commit,
        "git_dirty": here.git_dirty,
        "command": here.command,
        "hostname": here.hostname,
        "cpu_model": here.cpu_model,
        "cores": environment.facts.cores,
        "memory_gib": here.memory_gib,
        "device_name": environment.facts.device_name,
        "driver_version": environment.facts.driver_version,
        "framework_versions": sorted({"python": here.python, **environment.versions}.items()),
        "environment_variables": sorted(environment.settings.items()),
        "os": here.os,
        "overrides": attempt.planned.cell.experiment.overrides,
    }
