"""Imports point one way: the contracts of pyproject.toml hold, and a breach of each is seen."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")

LINT = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
PLUGINS_STAND_ON = {
    "axes",
    "formatting",
    "frames",
    "errors",
    "items",
    "records",
    "measurement",
    "precision",
    "protocols",
    "redaction",
    "request_trace",
    "spelling",
    "serving_records",
    "training_records",
} | {
    *("host", "cloud", "labelled", "neuron", "nvidia", "models", "stats", "timing"),
}
PLUGINS = {"compilers", "datasets", "devices", "importers", "tasks", "scenarios"}


def lint(root):
    environment = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{root / 'benchmark'}", "NO_COLOR": "1"}
    return subprocess.run(
        [sys.executable, "-c", LINT],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


BREACHES = {
    "benchmark.cell -> benchmark.devices.cpu": ("cell.py", "from benchmark.devices import cpu"),
    "benchmark.stages.measure -> torch": ("stages/measure.py", "def f(): import torch"),
    "benchmark.stages.verify -> benchmark.stages.row": (
        "stages/verify.py",
        "import benchmark.stages.row",
    ),
    "benchmark.devices.cpu -> benchmark.models.networks": (
        "devices/cpu.py",
        "import benchmark.models.networks",
    ),
    "benchmark.devices.cpu -> benchmark.devices.cuda": ("devices/cpu.py", "import benchmark.devices.cuda"),
    "benchmark.compilers.eager -> benchmark.paths": ("compilers/eager.py", "import benchmark.paths"),
    "benchmark.pipeline.runner -> omegaconf": ("pipeline/runner.py", "import omegaconf"),
    "The following modules are not listed as layers:\n\n- benchmark.drawer": ("drawer.py", ""),
}
"""What the linter says, and the line that makes it say so."""


@pytest.fixture(scope="module")
def breached(tmp_path_factory):
    copy = tmp_path_factory.mktemp("breached")
    shutil.copytree(ROOT / "benchmark", copy / "benchmark", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    for module, line in BREACHES.values():
        with (copy / "benchmark" / module).open("a", encoding="utf-8") as file:
            file.write(f"\n{line}\n")
    return lint(copy)


def test_every_import_contract_is_kept():
    linted = lint(ROOT)
    assert linted.returncode == 0, linted.stdout


@pytest.mark.parametrize("message", BREACHES)
def test_a_breach_is_seen(breached, message):
    assert breached.returncode == 1
    assert message in breached.stdout


def test_every_module_is_either_open_or_closed_to_plugins():
    """Contracts know no allow-list: this is what makes theirs one."""
    contract = PYPROJECT.partition('name = "A plug-in stands on nouns and seams alone"')[2].partition("[[")[0]
    closed = set(re.findall(r'"benchmark\.(\w+)"', contract.partition("forbidden_modules")[2]))
    found = (ROOT / "benchmark").iterdir()
    modules = {path.stem for path in found if path.suffix == ".py" or (path / "__init__.py").exists()} - {
        "__init__"
    }
    assert closed | PLUGINS_STAND_ON | PLUGINS == modules
    assert not closed & (PLUGINS_STAND_ON | PLUGINS)
