"""Tidy tables by their headers."""

from __future__ import annotations

import pytest

from benchmark.errors import ConfigError
from benchmark.importers.tidy import Tidy


@pytest.fixture
def read(tmp_path):
    def read(text, **options):
        file = tmp_path / "a.csv"
        file.write_text(text, encoding="utf-8")
        return Tidy(**options).read(file)

    return read


def test_a_line_is_a_row_by_its_headers(read):
    reading = read(
        "net,type,n,ms,right\nbert-base-uncased,C6i.2xlarge,4,1.5ms,76.87%\n",
        columns={"net": "model", "n": "batch_size", "ms": "latency_p50_ms", "right": "accuracy"},
        instance="type",
        factors={"accuracy": 0.01},
        along={"accuracy": {"dataset": "ImageNet"}},
    )
    (one,) = reading.figures
    assert one.values == {
        "model": "bert",
        "batch_size": 4,
        "latency_p50_ms": 1.5,
        "accuracy": 0.7687,
        "dataset": "ImageNet",
        "instance_type": "c6i.2xlarge",
        "hardware": "cpu",
        "compiler": "eager",
    }
    assert one.as_printed["printed latency_p50_ms"] == "1.5ms"


def test_lines_of_one_cell_are_one_row_and_shared_ones_belong_to_all_that_agree(read):
    text = "net,n,what,figure\na,1,p50,2\na,1,rate,500\nb,1,p50,3\na,,os,Linux\n"
    options = {"cell": ("net", "n"), "metric": "what", "value": "figure", "shared": ("os",)}
    metrics = {"p50": "latency_p50_ms", "rate": "throughput_per_s", "os": "os"}
    reading = read(text, columns={"net": "model", "n": "batch_size"}, metrics=metrics, **options)
    assert [one.values for one in reading.figures] == [
        {"model": "a", "batch_size": 1, "latency_p50_ms": 2.0, "throughput_per_s": 500.0, "os": "Linux"},
        {"model": "b", "batch_size": 1, "latency_p50_ms": 3.0},
    ]


def test_a_series_takes_unrounded_figures_only_if_most_of_its_own_can_be_them(read):
    text = "net,p,raw\na,1.2,1.234\na,9.9,9.871\nb,1.2,5.5\nb,2.2,6.6\n"
    options = {"columns": {"net": "model", "p": "latency_p95_ms"}, "raw": {"latency_p95_ms": "raw"}}
    reading = read(text, series=("net",), **options)
    assert [one.values["latency_p95_ms"] for one in reading.figures] == [1.234, 9.871, 1.2, 2.2]


def test_lines_that_cannot_be_mapped_are_rejected(read):
    text = "net,what,figure\na,p50,2\na,speed,2\nb,p50,slow\nc,os,Linux\n"
    options = {"cell": ("net",), "metric": "what", "value": "figure", "shared": ("os",)}
    metrics = {"p50": "latency_p50_ms", "os": "os"}
    reading = read(text, columns={"net": "model"}, metrics=metrics, **options)
    assert len(reading.figures) == 1
    assert sorted((one.line, one.reason) for one in reading.rejected) == [
        (3, "what 'speed' is not known: name it in `metrics`"),
        (4, "'slow' is no figure"),
        (5, "matches no cell that has a figure of its own"),
    ]


def test_a_line_without_a_figure_is_rejected_or_unavailable(read):
    options = {"columns": {"net": "model", "p": "latency_p95_ms"}}
    assert [one.reason for one in read("net,p\na,\n", **options).rejected] == ["no figure"]
    (one,) = read("net,p\na,\n", **options, blank="left blank").figures
    assert (one.values["status"], one.values["error"]) == ("unavailable", "left blank")


def test_a_header_that_is_missing_and_a_column_that_there_is_none_of_are_refused(read):
    with pytest.raises(ConfigError, match=r"a\.csv lacks p: correct"):
        read("net\na\n", columns={"p": "latency_p95_ms"})
    with pytest.raises(ConfigError, match="there is no column speed"):
        read("net\na\n", columns={"net": "speed"})
