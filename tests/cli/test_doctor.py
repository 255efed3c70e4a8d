"""`doctor` sees the YAMLs that a run sees."""

from __future__ import annotations

import importlib
import json

from typer.testing import CliRunner

from benchmark.cli.app import app
from benchmark.errors import ConfigError
from tests.buckets import use, without_conditions

doctor = importlib.import_module("benchmark.cli.doctor")
COMPILER = "_target_: benchmark.compilers.simulated.Simulated\nfast_math: none\n"


def test_doctor_takes_the_search_path_of_a_run(tmp_path):
    for place, name in (("a", "mine"), ("b", "ours")):
        (tmp_path / place / "compiler").mkdir(parents=True)
        (tmp_path / place / "compiler" / f"{name}.yaml").write_text(COMPILER)
    words = ["--json", "--config-dir", str(tmp_path / "a"), f"hydra.searchpath=[file://{tmp_path}/b]"]
    ran = CliRunner().invoke(app, ["doctor", *words], catch_exceptions=False)
    found = {row["name"]: row["ready"] for row in json.loads(ran.stdout)["compiler"]}
    assert ran.exit_code == 0
    assert found["mine"]
    assert found["ours"]
    assert {"eager", "openvino", "neuronx"} <= {*found}


def test_a_key_without_the_name_that_has_it_is_refused():
    outcome = CliRunner().invoke(app, ["doctor", "compiler.python=/x"])
    assert isinstance(outcome.exception, ConfigError)
    assert "compiler=NAME compiler.python=/x" in str(outcome.exception)


def test_a_bucket_is_tested_before_it_is_trusted(bucket, bucket_server, monkeypatch, tmp_path):
    good = doctor._place("results", f"{bucket}/team/results")
    assert good["ready"]
    assert "put if absent, compare and swap, listing and deletion work" in good["detail"]
    with without_conditions(bucket_server.endpoint) as endpoint:
        use(monkeypatch, endpoint, tmp_path)
        bad = doctor._place("results", f"{bucket}/team/results")
    assert not bad["ready"]
    assert "ignores If-None-Match (put if absent): choose another storage" in bad["detail"]


def test_an_unusable_bucket_is_an_exit_code(bucket, monkeypatch):
    monkeypatch.setattr(doctor, "_composed", lambda *_: ())
    for address, code in ((f"{bucket}/team/results", 0), ("s3://not-there/results", 1)):
        ran = CliRunner().invoke(app, ["doctor", "--json", "--store", address])
        assert ran.exit_code == code
        (place,) = [one for one in json.loads(ran.stdout)["places"] if one["name"] == "results"]
        assert place["ready"] == (not code)
    assert "there is no bucket not-there: create it" in place["detail"]
