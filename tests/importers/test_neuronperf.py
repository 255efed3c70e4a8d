"""NeuronPerf's CSV and JSON."""

from __future__ import annotations

import json

import pytest

from benchmark.errors import ConfigError
from benchmark.importers.neuronperf import NeuronPerf

REPORT = {
    "model_name": "bert-base-cased",
    "n_models": 4,
    "workers_per_model": 2,
    "pipeline_size": 1,
    "batch_size": 8,
    "throughput_avg": 1102.7,
    "throughput_peak": 1200.0,
    "latency_ms_p0": 50.1,
    "latency_ms_p50": 57.9,
    "latency_ms_p90": 60.0,
    "latency_ms_p95": 61.0,
    "latency_ms_p99": 62.2,
    "latency_ms_p100": 70.0,
    "cpu_avg_percent": 30.5,
    "cpu_percent_p50": 30.0,
    "mem_avg_percent": 10.0,
    "mem_percent_p50": 10.0,
    "e2e_avg_ms": 58.0,
    "infer_avg_ms": 57.0,
    "total_infs": 80000,
    "total_s": 72.5,
    "performance_level": 3,
    "model_filename": "bert.pt",
    "device_type": "neuron",
    "instance_type": "inf1.xlarge",
    "cost_per_1m_inf": 0.057,
}
"""The 26 columns of `CSV_COLS`, in their order."""


@pytest.fixture
def write(tmp_path):
    def write(name, text):
        file = tmp_path / name
        file.write_text(text, encoding="utf-8")
        return file

    return write


def as_csv(*reports):
    return "\n".join([",".join(REPORT), *(",".join(map(str, one.values())) for one in reports)])


@pytest.mark.parametrize(("name", "text"), [("a.csv", as_csv(REPORT)), ("a.json", json.dumps([REPORT]))])
def test_a_report_becomes_a_row_from_csv_and_from_json(write, name, text):
    reading = NeuronPerf().read(write(name, text))
    assert (reading.lines, reading.rejected) == (1, ())
    values = reading.figures[0].values
    assert (values["replicas"], values["workers"], values["pipeline_cores"]) == (4, 2, 1)
    assert (values["throughput_per_s"], values["throughput_peak_per_s"]) == (1102.7, 1200.0)
    assert (values["latency_min_ms"], values["latency_p95_ms"], values["latency_max_ms"]) == (
        50.1,
        61.0,
        70.0,
    )
    assert (values["model"], values["hardware"], values["compiler"]) == ("bert_cased", "inf1", "neuron")
    assert (values["fast_math"], values["samples"], values["cpu_percent"]) == ("all", 10_000, 30.5)
    assert reading.figures[0].as_printed["cost_per_1m_inf"] == "0.057"


@pytest.mark.parametrize(("level", "cast"), [(0, "none"), (1, "matmult"), (2, "matmult"), (3, "all")])
def test_the_performance_level_is_fast_math(write, level, cast):
    file = write("a.csv", as_csv({**REPORT, "performance_level": level}))
    assert NeuronPerf().read(file).figures[0].values["fast_math"] == cast


@pytest.mark.parametrize(("kind", "hardware"), [("cpu", "cpu"), ("cuda", "cuda"), ("gpu", "cuda")])
def test_it_measures_other_devices_too(write, kind, hardware):
    file = write("a.csv", as_csv({**REPORT, "device_type": kind, "instance_type": "g5.xlarge"}))
    values = NeuronPerf().read(file).figures[0].values
    assert (values["hardware"], values["compiler"]) == (hardware, "eager")


def test_too_short_a_run_has_no_throughput_but_its_latency(write):
    values = NeuronPerf().read(write("a.json", json.dumps([{**REPORT, "throughput_avg": float("nan")}])))
    assert "throughput_per_s" not in values.figures[0].values
    assert values.figures[0].values["latency_p50_ms"] == 57.9


def test_broken_reports_are_rejected_with_their_number(write):
    broken = [{"status": "error"}, {**REPORT, "batch_size": "many"}, {**REPORT, "instance_type": ""}, REPORT]
    reading = NeuronPerf().read(write("a.json", json.dumps(broken)))
    assert len(reading.figures) == 1
    assert [(one.line, one.reason) for one in reading.rejected] == [
        (1, "report without figures, status error"),
        (2, "batch_size: 'many' is no figure"),
        (3, "no instance type: give `hardware`"),
    ]


@pytest.mark.parametrize(("name", "text"), [("a.csv", "a,b\n1,2\n"), ("a.json", "{"), ("a.csv", "")])
def test_a_file_that_is_none_of_its_own_is_refused(write, name, text):
    with pytest.raises(ConfigError, match=r"a\.(csv|json)"):
        NeuronPerf().read(write(name, text))


def test_json_is_recognised_by_its_content_not_by_its_name(write):
    assert len(NeuronPerf().read(write("a.txt", f"\ufeff{json.dumps([REPORT], indent=1)}")).figures) == 1


def test_json_without_any_report_of_it_is_refused(write):
    with pytest.raises(ConfigError, match=r"no report of NeuronPerf"):
        NeuronPerf().read(write("a.json", json.dumps({"report": {"forward": {}}}, indent=1)))


def test_levels_that_are_one_fast_math_are_said_apart(write):
    flags = [
        NeuronPerf().read(write("a.csv", as_csv({**REPORT, "performance_level": level}))).figures[0].values
        for level in (1, 2)
    ]
    assert [one["compiler_flags"] for one in flags] == [["performance_level=1"], ["performance_level=2"]]
