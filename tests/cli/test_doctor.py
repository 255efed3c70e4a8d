"""`doctor` sees the YAMLs that a run sees."""

from __future__ import annotations

import json

from typer.testing import CliRunner

from benchmark.cli.app import app
from benchmark.errors import ConfigError

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
