"""Importer of the Neuron documentation's benchmark CSVs: inf1, inf2 and trn1, inference and training.

Headers differ between tables and years: `_HEADERS` has each header in the history of
aws-neuron/aws-neuron-sdk up to 81ce03ae (2026-08-21). A file of prices has no figures and is refused. Where
throughput counts tokens, latency is that of one token, by its header or by 1 / rate.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from benchmark.cloud import instances
from benchmark.errors import ConfigError
from benchmark.published import concurrency, documents, printed_figures
from benchmark.published.documents import Figures, Reading, read_lines, whole_line
from benchmark.published.printed_figures import Line
from benchmark.records import frozen

_HEADERS: Final = {
    r"(avg )?throughput \((inference|/)?/?s(ec|econd)?\)": "throughput_per_s",
    r"throughput \(tokens/sec(ond)?\)": "throughput_per_s",
    r"output token throughput \(tokens/sec(ond)?\)": "output_tokens_per_s",
    r"performance \[seq/sec\]": "throughput_per_s",
    r"max throughput": "throughput_peak_per_s",
    r"latency p(50|90|95|99) \(ms\)": r"latency_p\1_ms",
    r"latency p100 \(ms\)": "latency_max_ms",
    r"(?:tpot latency|latency per token) p(50|99) \(ms\)": r"token_latency_p\1_ms",
    r"ttft latency p(50|99) \(ms\)": r"first_token_p\1_ms",
    r"batch size|microbatch": "batch_size",
    r"seq(uence|\.) length": "sequence_length",
    r"input length": "input_length",
    r"output length": "output_length",
    r"tp degree": "tensor_parallel",
    r"dp degree": "data_parallel",
    r"n models": "replicas",
    r"workers per model": "workers",
    r"num\.? cores": "cores",
}
"""Header to the column of its figure; other headers are read by name below."""
_FIGURES: Final = ("throughput_per_s", "output_tokens_per_s", "latency_p50_ms", "token_latency_p50_ms")
_INSTANCE: Final = ("inst. type", "instance-type")
_CASTS: Final = {"matmult": "matmult", "all": "all", "none": "none"}
_SYSTEMS: Final = {"U20": "Ubuntu 20.04", "U22": "Ubuntu 22.04", "AL2": "Amazon Linux 2"}
_SCENARIOS: Final = {"real time": "latency", "batch": "throughput"}
_TASKS: Final = {
    "raw output (automodel)": "feature-extraction",
    "raw output (automodelformaskedlm)": "fill-mask",
    "sequence classification": "text-classification",
    "text generation": "text-generation",
    "image classification": "image-classification",
    "image segmentation": "image-segmentation",
    "image generation": "text-to-image",
    "multimodal autoencoding": "multimodal-autoencoding",
}
_PICTURES: Final = frozenset({"image-classification", "image-segmentation", "text-to-image", "cv"})
_SCRIPTS: Final = Path(documents.__file__).with_name("neuron_scripts.csv")
_LIBRARIES: Final = {"pytorch": "torch", "tensorflow": "tensorflow"}


@frozen
class NeuronDocs:
    """Tables of the Neuron documentation."""

    hardware: str = ""
    """Hardware of tables without an instance type; empty: the name of the file's folder, such as trn1."""

    def read(self, file: Path) -> Reading:
        """A row for each line.

        Raises:
            ConfigError: the file is no table of figures.
        """
        headers, lines, rejected = printed_figures.table(file)
        columns = {header: column for header in headers if (column := _column(header))}
        if not ("Model" in headers and set(columns.values()) & set(_FIGURES)):
            raise ConfigError(
                f"{file} is no benchmark table of the Neuron documentation: it needs a column Model and one "
                "of throughput or latency"
            )
        figures, wrong = read_lines(file, lines, lambda line: self._figures(line, columns, file))
        return Reading(lines=len(lines) + len(rejected), figures=tuple(figures), rejected=(*rejected, *wrong))

    def _figures(self, line: Line, columns: Mapping[str, str], file: Path) -> Figures:
        texts = {header.lower(): text for header, text in line.texts.items()}
        found = _measured(line, columns)
        if not any(name in found for name in _FIGURES):
            raise ValueError("neither throughput nor latency")
        if not line.texts["Model"]:
            raise ValueError("no model")
        values = {
            **self._machine(texts, file),
            **_model(texts),
            **_arithmetic(texts),
            **_software(texts),
            **_of_script(texts),
            **found,
        }
        values["throughput_unit"], values["scenario"] = (
            _unit(texts, columns, values),
            _scenario(texts, columns),
        )
        counted = values["throughput_unit"] == "tokens"
        if counted:
            values = {_of_a_token(name): value for name, value in values.items()}
        elif values["scenario"] in _SCENARIOS.values() and not found.keys() & {"replicas", "workers"}:
            values |= _calls(values)
        printed = {
            _of_a_token(column) if counted else column: line.texts[header]
            for header, column in columns.items()
            if column in found and column.endswith(("_ms", "_per_s"))
        }
        return whole_line(line, values, printed, environment=texts.get("neuron version", ""))

    def _machine(self, texts: Mapping[str, str], file: Path) -> dict[str, Any]:
        named = next((texts[name] for name in _INSTANCE if texts.get(name)), "")
        if named:
            return printed_figures.machine(named)
        family = self.hardware or file.resolve().parent.name
        if not printed_figures.is_neuron(family):
            raise ValueError("no instance type, and the file's folder is no Neuron family: give `hardware`")
        return printed_figures.device(family)


def _column(header: str) -> str | None:
    name = header.lower()
    for pattern, column in _HEADERS.items():
        if found := re.fullmatch(pattern, name):
            return found.expand(column)
    return None


def _measured(line: Line, columns: Mapping[str, str]) -> dict[str, Any]:
    found = {}
    for header, column in columns.items():
        try:
            value = printed_figures.typed(column, line.texts[header])
        except ValueError as error:
            raise ValueError(f"{header}: {error}") from None
        if value is not None:
            found[column] = value
    return found


def _model(texts: Mapping[str, str]) -> dict[str, Any]:
    """`Model details` of inf1 tables may have the checkpoint, and the length, which has no column there."""
    details = [part.strip() for part in texts.get("model details", "").split(",")]
    known = printed_figures.known_models()
    checkpoint = next((part for part in details if part.lower() in known), texts["model"])
    length = next((part.partition("=")[2] for part in details if part.startswith("sequence-length=")), "")
    size = re.fullmatch(r"(?:\d+x)?(\d+)x(\d+)", texts.get("image size", ""))
    return {
        "model": printed_figures.model(checkpoint),
        "model_id": texts["model"],
        "weights": "pretrained",
        "task": _task(texts, printed_figures.model(checkpoint)),
        "sequence_length": int(length) if length.isdigit() else None,
        "image_size": int(size[1]) if size and size[1] == size[2] else None,
    }


def _task(texts: Mapping[str, str], model: str) -> str | None:
    """The table's task; that of our model where none is printed, and for Text Generation.

    Tables call generation by encoder and decoder Text Generation too.
    """
    printed = _TASKS.get(texts.get("task", "").lower())
    return printed_figures.task(model) or printed if printed in {None, "text-generation"} else printed


def _arithmetic(texts: Mapping[str, str]) -> dict[str, Any]:
    """`Compilation Autocast Data Type` has the values of `--auto-cast` and `--auto-cast-type`."""
    details = [part.strip().lower() for part in texts.get("model details", "").split(",")]
    details_type = next((part for part in details if part in {"fp32", "fp16", "bf16"}), "")
    stored = next((texts[name] for name in ("model data type", "model data-type") if texts.get(name)), "")
    cast, _, kind = texts.get("compilation autocast data type", "").lower().partition("-")
    if cast and cast not in _CASTS:
        raise ValueError(f"Compilation Autocast Data Type: {cast!r} is none of {', '.join(_CASTS)}")
    return {
        "model_dtype": stored.strip('"').lower() or details_type or None,
        "fast_math": _CASTS.get(cast),
        "autocast": _CASTS.get(cast),
        "matmul_dtype": kind or None,
    }


def _software(texts: Mapping[str, str]) -> dict[str, Any]:
    versions = {"neuron-sdk": texts.get("neuron version", "")}
    versions["torch-neuronx"] = texts.get("pytorch neuron(torch-neuronx) version", "")
    name, _, number = texts.get("framework", "").rpartition(" ")
    if name.lower() in _LIBRARIES:
        versions[_LIBRARIES[name.lower()]] = number
    system = texts.get("os type", texts.get("os type.", ""))
    return {
        "framework_versions": [(library, version) for library, version in versions.items() if version]
        or None,
        "os": _SYSTEMS.get(system, system) or None,
    }


def _of_script(texts: Mapping[str, str]) -> dict[str, Any]:
    """What the table leaves out: a diffusion's steps, and that the authors replaced parts of the network."""
    of = (printed_figures.model(texts["model"]), texts.get("framework", "").lower())
    script = next((_scripts()[name] for name in of if name in _scripts()), None)
    if script is None:
        return {}
    return {"graph": "patched", "steps": int(script["steps"]) if script["steps"] else None}


@lru_cache(maxsize=1)
def _scripts() -> Mapping[str, Mapping[str, str]]:
    """Lines of `neuron_scripts.csv` by our model, or by framework."""
    with _SCRIPTS.open(encoding="utf-8", newline="") as file:
        return {line["model"] or line["framework"]: line for line in csv.DictReader(file)}


def _calls(values: Mapping[str, Any]) -> dict[str, Any]:
    """Copies and callers by the row's own figures, or why they explain nothing."""
    try:
        instance = instances.find(values.get("instance_type") or "")
    except ValueError:  # a type that the catalogue lacks
        return {}
    return concurrency.derived(values, instance)


def _unit(texts: Mapping[str, str], columns: Mapping[str, str], values: Mapping[str, Any]) -> str | None:
    """Unit of the throughput; None for old tables that write `/sec` of language models without a unit."""
    rates = [header.lower() for header, column in columns.items() if column.endswith("_per_s")]
    if any("token" in header for header in rates):
        return "tokens"
    task = values.get("task") or texts.get("application", "").lower()
    if "image size" in texts or task in _PICTURES:
        return "images"
    if rates == ["throughput (/sec)"] and texts.get("run mode") == "Tensor Parallel":
        return None
    return "items"


def _scenario(texts: Mapping[str, str], columns: Mapping[str, str]) -> str | None:
    if any(header.lower().startswith("performance") for header in columns):
        return "training"
    kind = texts.get("application type", "")
    if kind and kind.lower() not in _SCENARIOS:
        raise ValueError(f"Application Type: {kind!r} is neither Real Time nor Batch")
    return _SCENARIOS.get(kind.lower())


def _of_a_token(column: str) -> str:
    return {"latency_p50_ms": "token_latency_p50_ms", "latency_p99_ms": "token_latency_p99_ms"}.get(
        column, column
    )
