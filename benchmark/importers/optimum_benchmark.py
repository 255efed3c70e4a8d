"""Importer of optimum-benchmark's files: benchmark.json, or benchmark_report.json with benchmark_config.json.

Layout of huggingface/optimum-benchmark 0.2 to 0.7: `config` and `report`; a report has a target for each
method (forward, call, generate, prefill, decode, per_token), each with latency in seconds and all samples,
throughput, memory in MB, energy in kWh and efficiency in units per kWh. Of a generation, prefill is the first
token and per_token the others. Where tokens are timed one by one, `generate` writes samples/s for tokens/s
(scenarios/inference/scenario.py of 0.6.0), so its rate is computed from batch and mean latency.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmark.errors import ConfigError
from benchmark.published import printed_figures
from benchmark.published.documents import Figures, Reading, whole_line
from benchmark.published.printed_figures import Line, Rejected
from benchmark.records import frozen

_MAIN: Final = ("forward", "call", "generate")
"""Targets whose call is a whole inference; the row's latency is that of the first one in the report."""
_TARGETS: Final = (*_MAIN, "prefill", "decode", "per_token")
_UNITS: Final = {"forward": "items", "call": "images", "generate": "items"}
_TYPES: Final = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}
_BYTES, _JOULES, _NS, _MS = 1e6, 3.6e6, 1e9, 1e3
"""Bytes of a MB (trackers/memory.py divides by 1e6), joules of a kWh, ns and ms of a second."""


@frozen
class OptimumBenchmark:
    """Reports of optimum-benchmark's inference scenario."""

    def read(self, file: Path) -> Reading:
        """One row.

        Raises:
            ConfigError: optimum-benchmark didn't write the file.
        """
        whole = _json(file)
        report = whole.get("report", whole)
        beside = file.with_name(file.name.replace("report", "config"))
        config = whole.get("config") or (_json(beside) if beside != file and beside.is_file() else {})
        if not isinstance(report, dict) or not any(isinstance(report.get(name), dict) for name in _TARGETS):
            raise ConfigError(
                f"{file} is no report of optimum-benchmark's inference scenario: it has none of the targets "
                f"{', '.join(_TARGETS)}"
            )
        try:
            figures = (_figures(config, report),)
        except (ValueError, TypeError, KeyError) as error:
            rejected = Rejected(file=file.name, line=0, reason=f"{type(error).__name__}: {error}")
            return Reading(lines=1, figures=(), rejected=(rejected,))
        return Reading(lines=1, figures=figures, rejected=())


def _json(file: Path) -> dict[str, Any]:
    whole = printed_figures.read_json(file)
    if not isinstance(whole, dict):
        raise ConfigError(f"{file} is no report of optimum-benchmark: it isn't a JSON object")
    return whole


def _figures(config: Mapping[str, Any], report: Mapping[str, Any]) -> Figures:
    main = next((name for name in _MAIN if _part(report, name, "latency")), "")
    cell = _cell(config)
    values = {
        **cell,
        **_latency(_part(report, main, "latency")),
        **_throughput(report, main, cell.get("batch_size")),
        **_tokens(report),
        **_resources(report),
    }
    if not any(name.endswith(("_ms", "_per_s")) for name, value in values.items() if value is not None):
        raise ValueError("neither latency nor throughput in any target")
    texts = dict(_flat({"config": config, "report": report}))
    rate = texts.get(f"report.{main}.throughput.value")
    return whole_line(Line(number=0, texts=texts), values, {"throughput_per_s": rate} if rate else {})


def _part(report: Mapping[str, Any], target: str, measure: str) -> Mapping[str, Any]:
    return (report.get(target) or {}).get(measure) or {}


def _cell(config: Mapping[str, Any]) -> dict[str, Any]:
    backend, scenario = config.get("backend") or {}, config.get("scenario") or {}
    inputs, generated = scenario.get("input_shapes") or {}, scenario.get("generate_kwargs") or {}
    environment = config.get("environment") or {}
    called, name = scenario.get("call_kwargs") or {}, backend.get("model") or ""
    generates = bool(generated.get("max_new_tokens")) and "generation" in str(backend.get("task"))
    length = inputs.get("sequence_length")
    library = backend.get("name")
    compiled = "inductor" if backend.get("torch_compile") else "eager"
    hardware = printed_figures.DEVICES.get(str(backend.get("device") or "").lower())
    dtype = backend.get("torch_dtype") or backend.get("dtype")
    gpus = environment.get("gpu") or []
    return {
        "model": printed_figures.model(name) if name else None,
        "model_id": name or None,
        "task": backend.get("task"),
        "weights": "random" if backend.get("no_weights") else "pretrained" if name else None,
        "hardware": hardware,
        "compiler": compiled if library == "pytorch" else library,
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
        "device_name": ", ".join(dict.fromkeys(map(str, gpus))) if hardware == "cuda" and gpus else None,
        "os": environment.get("platform"),
        "framework_versions": _versions(backend, environment),
    }


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
    memories = [_part(report, name, "memory") for name in _TARGETS]
    host = [one["max_ram"] for one in memories if one.get("max_ram")]
    kinds = ("max_process_vram", "max_global_vram", "max_allocated")
    on_device = [next((one[kind] for kind in kinds if one.get(kind)), 0) for one in memories]
    efficiency = next((found for name in _MAIN if (found := _part(report, name, "efficiency"))), {})
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
