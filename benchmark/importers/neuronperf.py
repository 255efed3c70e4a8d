"""Importer of NeuronPerf's files: a CSV of 26 columns, or JSON, a list of reports with more columns.

Columns as in src/neuronperf/src/neuronperf/reporting.py, aws-neuron/aws-neuron-sdk 81ce03ae (2026-08-21).
Latency is of a whole call with pre- and postprocessing; throughput is the mean of whole seconds without the
first and the last. Cost stays as printed: it follows from a price that the file doesn't have.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from benchmark.errors import ConfigError
from benchmark.published import printed_figures
from benchmark.published.documents import Figures, Reading, read_lines, whole_line
from benchmark.published.printed_figures import Line, Rejected, Table
from benchmark.records import frozen

_COLUMNS: Final = {
    "n_models": "replicas",
    "workers_per_model": "workers",
    "pipeline_size": "pipeline_cores",
    "batch_size": "batch_size",
    "throughput_avg": "throughput_per_s",
    "throughput_peak": "throughput_peak_per_s",
    "latency_ms_p0": "latency_min_ms",
    "latency_ms_p50": "latency_p50_ms",
    "latency_ms_p90": "latency_p90_ms",
    "latency_ms_p95": "latency_p95_ms",
    "latency_ms_p99": "latency_p99_ms",
    "latency_ms_p100": "latency_max_ms",
    "cpu_avg_percent": "cpu_percent",
}
_SETTINGS: Final = ("performance_level", "compiler_args", "multiprocess", "multiinterpreter")
"""Columns that distinguish configurations, and have none in the store; only JSON has the last three."""
_NEEDED: Final = ("model_name", "batch_size", "throughput_avg", "latency_ms_p50")
_CASTS: Final = {"0": "none", "1": "matmult", "2": "matmult", "3": "all"}
"""performance_level 0 to 3: --fast-math none, fp32-cast-matmult no-fast-relayout, fp32-cast-matmult, all."""


@frozen
class NeuronPerf:
    """Reports of `neuronperf.write_csv` and `neuronperf.write_json`."""

    hardware: str = ""
    """Hardware of Neuron reports without an instance type, such as inf1; empty: such a report is rejected."""

    def read(self, file: Path) -> Reading:
        """A row for each report.

        Raises:
            ConfigError: NeuronPerf didn't write the file.
        """
        read = _reports if printed_figures.is_json(file) else printed_figures.table
        headers, lines, rejected = read(file)
        if lacking := printed_figures.missing(headers, _NEEDED):
            raise ConfigError(f"{file} is no report of NeuronPerf: it lacks {', '.join(lacking)}")
        figures, wrong = read_lines(file, lines, self._figures)
        return Reading(lines=len(lines) + len(rejected), figures=tuple(figures), rejected=(*rejected, *wrong))

    def _figures(self, line: Line) -> Figures:
        texts = line.texts
        found = {column: _typed(column, texts.get(name, "")) for name, column in _COLUMNS.items()}
        if found["throughput_per_s"] is None and found["latency_p50_ms"] is None:
            raise ValueError("neither throughput_avg nor latency_ms_p50")
        level = texts.get("performance_level", "")
        if level.lower() not in {*_CASTS, *printed_figures.BLANK}:
            raise ValueError(f"performance_level {level} is none of {', '.join(_CASTS)}")
        calls = printed_figures.number(texts.get("total_infs", ""))
        values = {
            "model": printed_figures.model(texts["model_name"]),
            "model_id": texts["model_name"],
            "fast_math": _CASTS.get(level),
            "compiler_flags": [f"{name}={texts[name]}" for name in _SETTINGS if texts.get(name)] or None,
            "scenario": "throughput",
            "throughput_unit": "items",
            "samples": int(calls / found["batch_size"]) if calls and found["batch_size"] else None,
            "warmup_calls": 1,
            **self._machine(texts),
            **found,
        }
        return whole_line(
            line, values, {column: texts[name] for name, column in _COLUMNS.items() if texts.get(name)}
        )

    def _machine(self, texts: Mapping[str, str]) -> dict[str, Any]:
        instance, kind = texts.get("instance_type", ""), texts.get("device_type", "").lower()
        known = (
            printed_figures.machine(instance)
            if instance.lower() not in {*printed_figures.BLANK, "unknown"}
            else {}
        )
        if kind in printed_figures.DEVICES:
            return {**known, **printed_figures.device(printed_figures.DEVICES[kind])}
        if not known and not self.hardware:
            raise ValueError("no instance type: give `hardware`")
        return known or printed_figures.device(self.hardware)


def _typed(column: str, text: str) -> Any:
    try:
        return printed_figures.typed(column, text)
    except ValueError as error:
        raise ValueError(f"{column}: {error}") from None


def _reports(file: Path) -> Table:
    """Reports of a JSON file, numbered from 1; nested values as JSON."""
    reports = printed_figures.read_json(file)
    reports = reports if isinstance(reports, list) else [reports]
    lines, rejected = [], []
    for number, report in enumerate(reports, start=1):
        if isinstance(report, dict) and "throughput_avg" in report:
            texts = {str(name): _text(value) for name, value in report.items()}
            lines.append(Line(number=number, texts=texts))
        else:
            status = report.get("status") if isinstance(report, dict) else None
            reason = f"report without figures{f', status {status}' if status else ''}"
            rejected.append(Rejected(file=file.name, line=number, reason=reason))
    return Table([*lines[0].texts] if lines else [], lines, rejected)


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)
