"""Importing is cheap: heavy libraries load in child processes, never on the way to a plan."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "benchmark"
PLUGINS = [
    f"benchmark.{folder.replace('/', '.')}.{path.stem}"
    for folder in ("compilers", "datasets", "devices", "tasks", "scenarios", "importers", "report/render")
    for path in sorted((PACKAGE / folder).glob("[!_]*.py"))
]
WAY_TO_A_PLAN = ["hydra_plugins.benchmark_launchers.staged", "benchmark.cli.app", "benchmark.__main__"]

IMPORT = """
import importlib, json, sys
HEAVY = {"torch", "transformers", "diffusers", "onnxruntime", "openvino", "torch_neuronx", "torch_neuron"}
seen, loaded = set(), {}
for name in sys.argv[1:]:
    importlib.import_module(name)
    loaded[name] = sorted(HEAVY.intersection(sys.modules) - seen)
    seen.update(loaded[name])
print(json.dumps(loaded))
"""


@pytest.fixture(scope="module")
def loaded():
    command = [sys.executable, "-c", IMPORT, *PLUGINS, *WAY_TO_A_PLAN]
    return json.loads(subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout)


@pytest.mark.parametrize("module", [*PLUGINS, *WAY_TO_A_PLAN])
def test_a_module_loads_no_heavy_library(loaded, module):
    assert loaded[module] == []


CHILD = [
    *(f"benchmark.stages.{stage}" for stage in ("build", "compile", "measure", "peak")),
    *("benchmark.scenarios.latency", "benchmark.timing.interleaved", "benchmark.execution.worker"),
]
STORE = ("pandas", "pyarrow", "benchmark.stats.regression_detector")
"""What rows are stored and judged with: seconds of imports, and absent from other interpreters."""


def test_a_child_loads_nothing_that_rows_are_stored_with():
    code = f"import sys, {', '.join(CHILD)}; print([name for name in {STORE} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "[]\n"
