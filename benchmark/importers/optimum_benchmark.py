"""Importer of optimum-benchmark's files: benchmark.json, or benchmark_report.json with benchmark_config.json.

Layout of huggingface/optimum-benchmark 0.2 to 0.7: `config` and `report`; a report has a target for each
method (forward, call, generate, prefill, decode, per_token), each with latency in seconds and all samples,
throughput, memory in MB, energy in kWh and efficiency in units per kWh. Of a generation, prefill is the first
token and per_token the others; where a report has no target `generate`, a generation is prefill and decode of
the same repetition. Where tokens are timed one by one, `generate` writes samples/s for tokens/s
(scenarios/inference/scenario.py of 0.6.0), so its rate is computed from batch and mean latency; that of a
training is corrected too, see `published.optimum_training`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmark.errors import ConfigError
from benchmark.published import optimum_training, printed_figures
from benchmark.published.documents import Figures, Reading, whole_line
from benchmark.published.optimum_training import Training
from benchmark.published.printed_figures import Line, Rejected
from benchmark.records import frozen

_MAIN: Final = ("forward", "call", "generate")
"""Targets whose call is a whole inference; the row's latency is that of the first one in the report."""
_TARGETS: Final = (*_MAIN, "prefill", "decode", "per_token")
_UNITS: Final = {"forward": "items", "call": "images", "generate": "items"}
_TYPES: Final = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}
_WITH_COLUMN: Final = frozenset(
    {
        *("name", "version", "model", "task", "library", "model_type", "device", "device_ids"),
        *("no_weights", "torch_dtype", "dtype", "torch_compile", "intra_op_num_threads"),
        "seed",
        *("input_shapes.batch_size", "input_shapes.sequence_length", "generate_kwargs.max_new_tokens"),
        *("generate_kwargs.min_new_tokens", "call_kwargs.num_inference_steps"),
    }
)
"""Settings that have a column, or that follow from one."""
_UNQUANTISED: Final[tuple[Any, ...]] = (None, False, "", "none", {}, [])
_UNSET: Final = frozenset({"", "false", "null", "[]", "{}"})
_BYTES, _JOULES, _NS, _MS = 1e6, 3.6e6, 1e9, 1e3
"""Bytes of a MB (trackers/memory.py divides by 1e6), joules of a kWh, ns and ms of a second."""


@frozen
class OptimumBenchmark:
    """Reports of optimum-benchmark's scenarios inference and training."""

    def read(self, file: Path) -> Reading:
        """One row.

        Raises:
            ConfigError: optimum-benchmark didn't write the file.
        """
        whole = _json(file)
        report = whole.get("report", whole)
        beside = file.with_name(file.name.replace("report", "config"))
        config = whole.get("config") or (_json(beside) if beside != file and beside.is_file() else {})
        targets = (*_TARGETS, *optimum_training.TARGETS)
        if not isinstance(report, dict) or not any(isinstance(report.get(name), dict) for name in targets):
            raise ConfigError(
                f"{file} is no report of optimum-benchmark's scenarios inference or training: it has none "
                f"of the targets {', '.join(targets)}"
            )
        try:
            trained = optimum_training.read(config, report) if optimum_training.target_of(report) else None
            figures = (_figures(config, report, trained),)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            rejected = Rejected(file=file.name, line=0, reason=f"{type(error).__name__}: {error}")
            return Reading(lines=1, figures=(), rejected=(rejected,))
        corrections = (trained.correction,) if trained and trained.correction else ()
        return Reading(lines=1, figures=figures, rejected=(), corrections=corrections)


def _json(file: Path) -> dict[str, Any]:
    whole = printed_figures.read_json(file)
    if not isinstance(whole, dict):
        raise ConfigError(f"{file} is no report of optimum-benchmark: it isn't a JSON object")
    return whole


def _figures(config: Mapping[str, Any], report: Mapping[str, Any], trained: Training | None) -> Figures:
    texts = dict(_flat({"config": config, "report": report}))
    main = next((name for name in _MAIN if _part(report, name, "latency")), trained.target if trained else "")
    if not main and (whole := _generation(report)):
        main, report = "generate", {**report, "generate": {"latency": whole}}
    cell = _cell(config)
    values = {
        **cell,
        **_latency(_part(report, main, "latency")),
        **({} if trained else _throughput(report, main, cell.get("batch_size"))),
        **_tokens(report),
        **_resources(report),
        **(trained.values if trained else {}),
    }
    if not any(name.endswith(("_ms", "_per_s")) for name, value in values.items() if value is not None):
        raise ValueError("neither latency nor throughput in any target")
    rate = texts.get(f"report.{main}.throughput.value")
    return whole_line(Line(number=0, texts=texts), values, {"throughput_per_s": rate} if rate else {})


def _part(report: Mapping[str, Any], target: str, measure: str) -> Mapping[str, Any]:
    return (report.get(target) or {}).get(measure) or {}


def _generation(report: Mapping[str, Any]) -> dict[str, Any]:
    """Latency of whole generations, from those of their two parts; empty where a part is missing."""
    first, rest = _part(report, "prefill", "latency"), _part(report, "decode", "latency")
    samples = first.get("values") or [], rest.get("values") or []
    if len(samples[0]) != len(samples[1]) or not samples[0] or first.get("unit") != rest.get("unit"):
        return {}
    values = [sum(pair) for pair in zip(*samples, strict=True)]
    return {"unit": first.get("unit", "s"), "values": values, "mean": sum(values) / len(values)}


def _cell(config: Mapping[str, Any]) -> dict[str, Any]:
    backend, scenario = config.get("backend") or {}, config.get("scenario") or {}
    inputs, generated = scenario.get("input_shapes") or {}, scenario.get("generate_kwargs") or {}
    environment = config.get("environment") or {}
    called, name = scenario.get("call_kwargs") or {}, backend.get("model") or ""
    generates = bool(generated.get("max_new_tokens")) and "generation" in str(backend.get("task"))
    length = inputs.get("sequence_length")
    library = backend.get("name")
    compiled = "inductor" if backend.get("torch_compile") else "eager"
    kind, _, index = str(backend.get("device") or "").lower().partition(":")
    hardware = printed_figures.DEVICES.get(kind)
    dtype = backend.get("torch_dtype") or backend.get("dtype")
    cards = environment.get("gpu") or []
    gpus = [cards] if isinstance(cards, str) else [*map(str, cards)]
    return {
        "model": printed_figures.model(name) if name else None,
        "model_id": name or None,
        "task": backend.get("task"),
        "weights": "random" if backend.get("no_weights") else "pretrained" if name else None,
        "hardware": hardware,
        "compiler": compiled if library == "pytorch" else library,
        "quantization": _quantization(backend),
        "model_dtype": _TYPES.get(str(dtype), dtype),
        "scenario": scenario.get("name") and "latency",
        "batch_size": inputs.get("batch_size"),
        "sequence_length": None if generates else length,
        "input_length": length if generates else None,
        "output_length": generated.get("max_new_tokens") if generates else None,
        "steps": called.get("num_inference_steps"),
        "threads": backend.get("intra_op_num_threads"),
        "warmup_calls": scenario.get("warmup_runs"),
        "cpu_model": str(environment["cpu"]).strip() if environment.get("cpu") else None,
        "device_name": _device_name(gpus, backend.get("device_ids"), index) if hardware == "cuda" else None,
        "compiler_flags": [*_flags(backend, scenario)] or None,
        "os": environment.get("platform"),
        "framework_versions": _versions(backend, environment),
    }


def _quantization(backend: Mapping[str, Any]) -> str | None:
    """Scheme and settings, such as `gptq bits=2`; None without quantisation."""
    found = {
        name: value
        for name, value in sorted(backend.items())
        if _is_quantization(name) and value not in _UNQUANTISED
    }
    schemes = [value for value in found.values() if isinstance(value, str)]
    settings = [f"{name}={text}" for value in found.values() for name, text in sorted(_flat(value)) if name]
    return " ".join([*(schemes or ["quantized"]), *settings]) if found else None


def _is_quantization(setting: str) -> bool:
    """Whether a backend's setting says how weights are quantised; each backend names it otherwise."""
    return "quantiz" in setting


def _device_name(gpus: Sequence[str], ids: Any, index: str) -> str | None:
    """Cards that were used: those of the indices in `device_ids`, or in a device such as cuda:1; else all."""
    chosen = [part.strip() for part in str(index if ids is None else ids).split(",")]
    if all(part.isdecimal() and int(part) < len(gpus) for part in chosen):
        gpus = [gpus[int(part)] for part in chosen]
    counts = Counter(gpus)
    return ", ".join(f"{count} x {name}" if count > 1 else name for name, count in counts.items()) or None


def _flags(backend: Mapping[str, Any], scenario: Mapping[str, Any]) -> Iterator[str]:
    """Settings without a column of their own, such as `attn_implementation=sdpa`; unset ones are left out."""
    calls = ("input_shapes", "generate_kwargs", "call_kwargs", "forward_kwargs")
    settings = {**backend, **{name: scenario.get(name) or {} for name in calls}}
    for path, text in _flat(settings):
        if path not in _WITH_COLUMN and not _is_quantization(path) and text not in _UNSET:
            yield f"{path}={text}"


def _versions(backend: Mapping[str, Any], environment: Mapping[str, Any]) -> list[tuple[str, str]] | None:
    found = {
        name.removesuffix("_version"): str(version)
        for name, version in environment.items()
        if name.endswith("_version") and version
    }
    if backend.get("version"):
        found[str(backend.get("name"))] = str(backend["version"])
    return list(found.items()) or None


def _latency(latency: Mapping[str, Any]) -> dict[str, Any]:
    if not latency:
        return {}
    if latency.get("unit", "s") != "s":
        raise ValueError(f"latency is in {latency['unit']}, not in seconds")
    samples = np.asarray(latency.get("values") or [], float)
    found = {f"latency_{name}_ms": latency.get(name) for name in ("mean", "p50", "p90", "p95", "p99")}
    found["latency_std_ms"] = latency.get("stdev")
    if len(samples):
        qs = np.percentile(samples, [50, 90, 95, 99])
        found |= dict(zip((f"latency_p{q}_ms" for q in (50, 90, 95, 99)), qs.tolist(), strict=True))
        found |= {"latency_mean_ms": float(samples.mean()), "latency_min_ms": float(samples.min())}
        found["latency_max_ms"] = float(samples.max())
    return {
        **{name: value * _MS for name, value in found.items() if value is not None},
        "samples": len(samples) or latency.get("count"),
        "latency_ns": [round(sample * _NS) for sample in samples.tolist()] or None,
    }


def _throughput(report: Mapping[str, Any], main: str, batch: int | None) -> dict[str, Any]:
    """Throughput of whole inferences; a generation with only prefill and decode has none."""
    if not main:
        return {"throughput_unit": "tokens" if _part(report, "decode", "throughput") else None}
    rate = _part(report, main, "throughput").get("value")
    if main == "generate":
        mean = _part(report, main, "latency").get("mean")
        rate = batch / mean if batch and mean else None
    return {"throughput_per_s": rate, "throughput_unit": _UNITS[main]}


def _tokens(report: Mapping[str, Any]) -> dict[str, Any]:
    first, token = _part(report, "prefill", "latency"), _part(report, "per_token", "latency")
    found = {f"first_token_{name}_ms": first.get(name) for name in ("p50", "p95", "p99")}
    found |= {f"token_latency_{name}_ms": token.get(name) for name in ("p50", "p99")}
    rate = _part(report, "decode", "throughput")
    made = rate.get("value") if rate.get("unit") == "tokens/s" else None
    return {name: value and value * _MS for name, value in found.items()} | {"output_tokens_per_s": made}


def _resources(report: Mapping[str, Any]) -> dict[str, Any]:
    """Largest memory of any target; energy is 1 / efficiency, which counts the right unit."""
    memories = [_part(report, name, "memory") for name in (*_TARGETS, *optimum_training.TARGETS)]
    host = [one["max_ram"] for one in memories if one.get("max_ram")]
    kinds = ("max_process_vram", "max_global_vram", "max_allocated")
    on_device = [next((one[kind] for kind in kinds if one.get(kind)), 0) for one in memories]
    efficiency = next(
        (found for name in (*_MAIN, "overall") if (found := _part(report, name, "efficiency"))), {}
    )
    rate = efficiency.get("value")
    return {
        "peak_host_bytes": round(max(host) * _BYTES) if host else None,
        "peak_device_bytes": round(max(on_device) * _BYTES) if any(on_device) else None,
        "energy_j_per_inference": _JOULES / rate if rate else None,
    }


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every leaf with its path; lists as JSON."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _flat(inner, f"{path}.{name}" if path else str(name))
    elif value is not None and path:
        yield path, value if isinstance(value, str) else json.dumps(value)
