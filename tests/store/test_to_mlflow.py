"""MLflow's own client reads back what was exported, from a folder on disk."""

from __future__ import annotations

import sys

import pytest
from mlflow import MlflowClient

from benchmark.errors import ConfigError, LibraryMissing
from benchmark.store.results import ResultsStore
from benchmark.store.to_mlflow import export
from tests.store.test_results import row

FULL = {
    "model": "bert_tiny",
    "hardware": "cpu",
    "compiler": "openvino",
    "fast_math": "none",
    "batch_size": 4,
    "sequence_length": 128,
    "latency_p50_ms": 1.5,
    "latency_ns": (1, 2, 3),
    "cosine": float("nan"),
    "noise_flags": ("stolen", "contended"),
    "simulated": False,
    "command": "x" * 20_000,
}


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # a server isn't needed to see what arrives
    return (tmp_path / "mlruns").as_uri()


@pytest.fixture
def store(tmp_path):
    made = ResultsStore(tmp_path / "results")
    made.prepare()
    return made


def runs(place):
    client = MlflowClient(place)
    found = client.search_runs([client.get_experiment_by_name("lab").experiment_id])
    return {run.data.tags["benchmark.run_id"]: run for run in found}


def test_a_row_is_a_run_with_parameters_metrics_and_tags(store, place):
    store.append(row(1, **FULL, error="out of memory"))
    assert export(store.table(), "lab", place) == (1, 0, 0)
    (run,) = runs(place).values()
    assert run.info.run_name == "bert_tiny cpu openvino none b4 s128"
    assert (run.info.status, run.info.start_time) == ("FINISHED", 1767225600000)
    assert run.info.end_time == 1767225600000 + 60_000
    shown = {"model": "bert_tiny", "batch_size": "4", "sequence_length": "128"}
    assert shown.items() <= run.data.params.items()
    assert run.data.metrics["latency_p50_ms"] == 1.5
    assert not {"cosine", "latency_ns", "batch_size"} & set(run.data.metrics)
    assert run.data.tags["noise_flags"] == "stolen, contended"
    assert (run.data.tags["cell_id"], run.data.tags["simulated"]) == ("x", "False")
    assert run.data.tags["repeat"] == "0"
    assert "repeat" not in run.data.metrics
    assert len(run.data.tags["command"]) == 5_000


@pytest.mark.parametrize(
    ("status", "ended"), [("ok", "FINISHED"), ("interrupted", "KILLED"), ("crashed", "FAILED")]
)
def test_an_outcome_is_a_status_of_mlflow(store, place, status, ended):
    store.append(row(1, status=status))
    export(store.table(), "lab", place)
    assert runs(place)["r1"].info.status == ended


def test_a_second_export_adds_what_is_new_and_replaces_what_was_measured_again(store, place):
    store.append(row(1), row(2))
    export(store.table(), "lab", place)
    store.append(row(2, attempt=1, latency_p50_ms=7.0), row(3))
    assert export(store.table(), "lab", place) == (1, 1, 1)
    assert export(store.table(), "lab", place) == (0, 0, 3)
    found = runs(place)
    assert sorted(found) == ["r1", "r2", "r3"]
    assert found["r2"].data.metrics["latency_p50_ms"] == 7.0


def test_without_mlflow_or_its_server_one_line_says_what_to_do(store, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(
        ConfigError, match=r"MLflow refused: .*127.0.0.1:9.*: name a server that runs with --tr"
    ):
        export(store.table(), "lab", "http://127.0.0.1:9")
    with pytest.raises(ConfigError, match=r"MLflow refused: .*nowhere"):
        export(store.table(), "lab", "nowhere://x")
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(LibraryMissing, match=r"MLflow is not installed: pip install .*mlflow"):
        export(store.table(), "lab")
