"""Write what a run found as a row of the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

import numpy as np
from pydantic import Field

from benchmark.cell import Cell, PlannedRun, stated_parameters
from benchmark.config.experiment import Experiment
from benchmark.host import machine
from benchmark.identity import options_of
from benchmark.labelled.exam import Exam
from benchmark.labelled.scores import Score
from benchmark.measurement import Measurement
from benchmark.records import Artifact, DeviceFacts, Failure, Quality, Row, Workload, frozen
from benchmark.redaction import without_secrets
from benchmark.serving import load_columns
from benchmark.store.schema import SCHEMA_VERSION
from benchmark.timing import roofline, token_times
from benchmark.timing.roofline import Peak
from benchmark.training_records import Answered, Trained, TrainingOptions


@frozen
class Attempt:
    """What the stages of one run have made so far; the stages that weren't reached are null."""

    planned: PlannedRun
    started_at: datetime
    finished_at: datetime | None = None
    """Null while it runs."""
    stage_seconds: Mapping[str, float] = Field(default_factory=dict)
    workload: Workload | None = None
    artifact: Artifact | None = None
    peak: Peak | None = None
    chosen: Cell | None = None
    """The cell that was measured, where a search chose its replicas, workers and batch."""
    measured: Measurement | None = None
    quality: Quality | None = None
    exam: Exam | None = None
    score: Score | None = None
    failure: Failure | None = None

    @property
    def cell(self) -> Cell:
        """The cell that was measured."""
        return self.chosen or self.planned.cell

    @property
    def status(self) -> str:
        """Of its row."""
        return self.failure.status if self.failure else "ok"

    @property
    def p50_ms(self) -> float | None:
        """Median latency; null where it was not measured."""
        return self.measured.summary.p50[0] if self.measured else None


def row(attempt: Attempt) -> Row:
    """Write an attempt in the columns of the store; what wasn't reached stays null.

    A run that failed keeps what its stages found, but no latency: only rows with right answers have one.
    """
    trusted, e = (attempt.measured if attempt.failure is None else None), attempt.planned.cell.experiment
    values = {
        **_identity(attempt),
        **_model(attempt),
        **_axes(attempt),
        **_compile(attempt),
        **(_latency(trusted) if trusted and trusted.timing.nanoseconds else {}),
        **({"attempts": trusted.attempts} if trusted else {}),
        **(token_times.columns(trusted, attempt.cell.shape) if trusted else {}),
        **(_throughput(trusted, attempt.cell) if trusted else {}),
        **(asdict(attempt.measured.arithmetic) if attempt.measured else {}),
        **(_noise(attempt.measured, e.sampling.inputs) if attempt.measured else {}),
        **(asdict(attempt.quality) if attempt.quality else {}),
        **_labelled(attempt),
        **(load_columns.columns(attempt.measured.served, e.scenario.serving) if attempt.measured else {}),
        **_resources(attempt),
        **_roofline(attempt, trusted),
        **(_trained(trusted, trusted.trained, attempt) if trusted and trusted.trained else {}),
        **_provenance(attempt),
        "config": e.resolved,
    }
    return Row(values=without_secrets(values))


def _identity(attempt: Attempt) -> dict[str, Any]:
    cell, failure = attempt.planned.cell, attempt.failure
    return {
        "schema_version": SCHEMA_VERSION,
        "run_id": attempt.planned.run_id,
        "campaign": cell.experiment.campaign,
        "cell_id": cell.cell_id,
        "environment_id": attempt.planned.environment.environment_id,
        "family_id": cell.family_id,
        "repeat": attempt.planned.repeat,
        "started_at": attempt.started_at,
        "finished_at": attempt.finished_at,
        "status": attempt.status,
        "stage": failure.stage if failure else None,
        "error": failure.error if failure else None,
        "error_class": failure.error_class if failure else None,
        "picture_path": str(attempt.measured.picture)
        if attempt.measured and attempt.measured.picture
        else None,
        "log_path": str(attempt.planned.log) if attempt.planned.log.exists() else None,
        "simulated": cell.experiment.hardware.simulated or attempt.planned.environment.stands_in,
    }


def _model(attempt: Attempt) -> dict[str, Any]:
    e = attempt.planned.cell.experiment
    return {
        "model": e.model.name,
        "model_id": e.model.hub_id,
        "revision": (e.model.revision or "main") if e.weights == "pretrained" else None,
        "weights": e.weights,
        "task": e.task.name,
        "parameters": attempt.workload.parameters if attempt.workload else stated_parameters(e),
        "parameters_checked": stated_parameters(e) is not None,
        "untrained_weights": (attempt.workload.untrained or None) if attempt.workload else None,
    }


def _axes(attempt: Attempt) -> dict[str, Any]:
    cell, facts = attempt.cell, attempt.planned.environment.facts
    e = cell.experiment
    training = e.scenario.training
    quantization = options_of(e.compiler).get("quantization", "none")
    return {
        "hardware": e.hardware.name,
        "instance_type": facts.instance_type,
        "compiler": e.compiler.name,
        "fast_math": e.compiler.fast_math,
        "quantization": None if quantization == "none" else quantization,
        **asdict(cell.shape),
        "input_source": e.inputs,
        "padding_share": attempt.workload.padding_share if attempt.workload else None,
        "scenario": e.scenario.name,
        "replicas": e.scenario.replicas,
        "workers": e.scenario.workers,
        "threads": _threads(e, facts),
        **_training(training),
        "seed": e.seed,
        "pipeline_cores": e.compiler.pipeline_cores,
        **(_placement(attempt.measured) if attempt.measured else {}),
    }


def _threads(e: Experiment, facts: DeviceFacts) -> int | None:
    """Threads of one process: ranks divide the CPU's cores, and so do copies of the model on a CPU."""
    if training := e.scenario.training:
        return training.rank_threads(facts.threads, facts.cores)
    if facts.threads is None or e.hardware.torch_device != "cpu" or e.scenario.replicas == 1:
        return facts.threads
    return min(facts.threads, max(1, facts.cores // e.scenario.replicas))


def _training(options: TrainingOptions | None) -> dict[str, Any]:
    """How a model is trained; nothing for other scenarios."""
    if options is None:
        return {}
    return {
        "data_parallel": options.ranks,
        "strategy": options.strategy if options.ranks > 1 else None,
        "scaling": options.scaling if options.ranks > 1 else None,
        "accumulation": options.accumulation,
        "checkpointing": options.checkpointing,
        "optimizer": options.optimizer,
        "learning_rate": options.lr,
    }


def _placement(measured: Measurement) -> dict[str, Any]:
    return {"placement": list(measured.placement.items()) or None, "kv_cache": measured.kv_cache}


def _compile(attempt: Attempt) -> dict[str, Any]:
    artifact = attempt.artifact
    load_s = attempt.measured.load_s if attempt.measured else None
    if artifact is None:
        unknown = attempt.failure.unsupported_ops if attempt.failure else ()
        return {"load_s": load_s, "unsupported_ops": unknown or None}
    return {
        "artifact_key": artifact.key,
        "cache_hit": artifact.cache_hit,
        "compile_s": artifact.compile_s,
        "part_compile_s": list(artifact.part_compile_s.items()),
        "compile_workers": artifact.compile_workers,
        "artifact_bytes": artifact.artifact_bytes,
        "load_s": load_s,
        "subgraphs": artifact.report.subgraphs,
        "graph_breaks": artifact.report.graph_breaks,
        "ops_on_device_fraction": artifact.report.ops_on_device_fraction,
        "unsupported_ops": artifact.report.unsupported_ops,
        "compiler_flags": artifact.report.flags,
        "narrowed_types": artifact.report.narrowed,
        "script_modules": artifact.report.script_modules,
        "neff_bytes": artifact.report.neff_bytes,
    }


def _latency(measured: Measurement) -> dict[str, Any]:
    timing = measured.timing
    ms = np.asarray(timing.nanoseconds) / 1e6
    bounded = {name: getattr(measured.summary, name) for name in ("mean", "p50", "p90", "p95", "p99")}
    return {
        "samples": len(ms),
        "latency_min_ms": float(ms.min()),
        "latency_std_ms": float(ms.std(ddof=1)) if len(ms) > 1 else None,
        "latency_max_ms": float(ms.max()),
        **{
            f"latency_{name}_ms{bound}": value
            for name, values in bounded.items()
            for bound, value in zip(("", "_lo", "_hi"), values, strict=True)
        },
        "latency_ns": timing.nanoseconds,
        "first_call_ms": measured.first_call_ns / 1e6,
        "warmup_calls": timing.warmup_calls,
        "steady": timing.steady,
        "effective_samples": measured.summary.effective_samples,
        "stop_reason": timing.stop_reason,
        "device_time_p50_ms": float(np.median(timing.device_nanoseconds)) / 1e6
        if timing.device_nanoseconds
        else measured.noise.device.latency_p50_ms,
    }


def _labelled(attempt: Attempt) -> dict[str, Any]:
    """Columns about the answers to a data set; empty for other scenarios."""
    e = attempt.planned.cell.experiment
    if not e.scenario.labelled or e.dataset is None:
        return {}
    exam, timing = attempt.exam, attempt.measured and attempt.measured.timing
    return {
        "dataset": e.dataset.name,
        "head": None if e.head == "none" else e.head,
        "items_hash": exam.digest if exam else None,
        "items_skipped": exam.skipped if exam else None,
        "accuracy_s": timing.wall_s if timing else None,
        **(attempt.score.columns if attempt.score else {}),
    }


def _throughput(measured: Measurement, cell: Cell) -> dict[str, Any]:
    """Units per second of the timed calls; the bounds follow from those of the mean latency."""
    timing, (mean, lo, hi) = measured.timing, measured.summary.mean
    shape, unit = cell.shape, cell.experiment.task.unit_of(cell.experiment.model)
    prompt, output = float(shape.input_length or 0), float(shape.output_length or 0)
    if measured.served and (tokens := measured.served.load.tokens):
        prompt, output = tokens.prompt, tokens.output
    made = shape.batch_size * output
    # As in the Neuron SDK's tables: input tokens and output tokens.
    units = made + shape.batch_size * prompt if unit == "tokens" else shape.batch_size
    if measured.trained:
        units, unit = measured.trained.step_items, "items" if unit == "tokens" else unit
    if not timing.wall_s or not timing.nanoseconds:
        return {"throughput_per_s": None, "throughput_unit": unit}
    calls_per_s = len(timing.nanoseconds) / timing.wall_s
    per_s = units * calls_per_s
    if measured.served:  # a latency with its wait says nothing about the rate
        mean = None
    return {
        "output_tokens_per_s": made * calls_per_s if unit == "tokens" else None,
        "throughput_per_s": per_s,
        "throughput_per_s_lo": per_s * mean / hi if mean and hi else None,
        "throughput_per_s_hi": per_s * mean / lo if mean and lo and lo > 0 else None,
        "throughput_unit": unit,
    }


def _trained(measured: Measurement, trained: Trained, attempt: Attempt) -> dict[str, Any]:
    """Results of a training; a step is what a call is elsewhere."""
    cell, peak, timing = attempt.planned.cell, attempt.peak, measured.timing
    options = cell.experiment.scenario.training
    assert options is not None  # noqa: S101 - it has trained
    first_s, p50 = measured.first_call_ns / 1e9, measured.summary.p50[0]
    steps_per_s = len(timing.nanoseconds) / timing.wall_s
    dtype, devices = (
        measured.arithmetic.matmul_dtype,
        options.ranks if cell.experiment.hardware.kind != "cpu" else 1,
    )
    rate = trained.flops and trained.flops * steps_per_s
    report = trained.report
    return {
        "global_batch_size": trained.step_items,
        "tokens_per_s": cell.shape.sequence_length
        and trained.step_items * cell.shape.sequence_length * steps_per_s,
        "losses": trained.losses,
        **(_answered(trained.answered) if trained.answered else {}),
        "training_s": trained.training_s,
        "data_loading_share": trained.loading_share,
        "replica_error": trained.replica_error,
        "checkpoint_path": trained.checkpoint,
        "flops_per_call": trained.flops,
        "peak_flops_per_s": peak and peak.flops_at(dtype),
        "mfu": rate / (devices * peak.flops_at(dtype)) if rate and peak else None,
        "roofline_fraction": None,
        "compile_s": first_s - p50 / 1e3 if report.subgraphs is not None and p50 else None,
        "subgraphs": report.subgraphs,
        "graph_breaks": report.graph_breaks,
        "compiler_flags": report.flags or None,
    }


def _answered(answered: Answered) -> dict[str, Any]:
    """How a trained model answers the items that it wasn't trained on."""
    share, lo, hi = answered.accuracy
    return {
        "dataset": answered.dataset,
        "items_hash": answered.items_hash,
        "accuracy": share,
        "accuracy_lo": lo,
        "accuracy_hi": hi,
        "accuracy_n": answered.count,
        "metric": answered.metric,
        "metrics": sorted(answered.metrics.items()),
        "metric_value": answered.metrics.get(answered.metric),
        **({"metric_value_lo": lo, "metric_value_hi": hi} if answered.metric == "accuracy" else {}),
    }


def _flags(measured: Measurement) -> tuple[str, ...]:
    late = measured.served is not None and measured.served.load.late
    return (*measured.noise.flags, *(("generator_late",) if late else ()))


def _noise(measured: Measurement, inputs: str) -> dict[str, Any]:
    noise, harness = measured.noise, measured.harness
    return {
        **asdict(harness),
        "noise_flags": _flags(measured),
        "inputs": inputs,
        "on_cpu": noise.on_cpu,
        "involuntary_switches_per_s": noise.involuntary_switches_per_s,
        "steal": noise.steal,
        "others_cores": noise.others_cores,
        "load_average": noise.load,
        "governor": noise.governor,
        "boost": noise.boost,
        "clock_mhz": noise.device.clock_mhz,
        "temperature_c": noise.device.temperature_c,
        "throttle_reasons": noise.device.throttle_reasons,
        "device_processes": noise.device.other_processes,
        "device_errors": noise.device.errors,
        "device_utilisation": noise.device.utilisation,
        "peak_device_bytes": noise.device.memory_bytes,
        "cpu_percent": None if noise.host_cpu is None else 100 * noise.host_cpu,
    }


def _resources(attempt: Attempt) -> dict[str, Any]:
    seconds = dict(attempt.stage_seconds)
    values: dict[str, Any] = {}
    if measured := attempt.measured:
        timing = measured.timing
        items = len(timing.nanoseconds) * attempt.cell.shape.batch_size
        seconds |= {
            "measure.start": max(0.0, seconds.get("measure", 0.0) - measured.process_s),
            "measure.load": measured.load_s,
            "measure.first_call": measured.first_call_ns / 1e9,
            **({"measure.retries": measured.retries_s} if measured.attempts > 1 else {}),
            "measure.warmup": timing.warmup_s,
            "measure.calls": timing.wall_s,
            "measure.analysis": timing.analysis_s,
        }
        values |= {
            "peak_host_bytes": measured.peak_host_bytes,
            "energy_j_per_inference": None if timing.energy_j is None else timing.energy_j / items,
            "cpu_share": timing.cpu_s / timing.wall_s if timing.wall_s else None,
        }
    return {**values, "stage_seconds": list(seconds.items())}


def _roofline(attempt: Attempt, trusted: Measurement | None) -> dict[str, Any]:
    workload, peak = attempt.workload, attempt.peak
    if workload is None:
        return {}
    counted = {"flops_per_call": workload.flops_per_call, "weight_bytes": workload.weight_bytes}
    scenario = attempt.cell.experiment.scenario
    alone = scenario.replicas * scenario.workers == 1  # else a latency includes the calls of other callers
    if trusted is None or peak is None or not alone or not (p50 := trusted.summary.p50[0]):
        return counted
    dtype = trusted.arithmetic.matmul_dtype
    reached = roofline.fraction(workload.flops_per_call, workload.weight_bytes, p50 / 1e3, dtype, peak)
    tokens = token_times.columns(trusted, workload.shape).get("tpot_mean_ms")
    return {
        **counted,
        "peak_flops_per_s": peak.flops_at(dtype),
        "roofline_fraction": reached,
        "decode_roofline_fraction": token_times.decode_roofline(workload, trusted, tokens, peak),
    }


def _provenance(attempt: Attempt) -> dict[str, Any]:
    here, environment = machine.provenance(), attempt.planned.environment
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
