"""What runs in another interpreter runs in Python 3.9 too, where inf1's libraries end."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.execution.forkserver import ChildLimits
from benchmark.execution.interpreters import Interpreters

ROOT = Path(__file__).parents[2]
OLD = os.environ.get("BENCHMARK_OLD_PYTHON")
"""An interpreter of 3.9 with the libraries that `libraries.fit` wants, to run children in."""


@pytest.mark.parametrize("file", sorted((ROOT / "benchmark").rglob("*.py")), ids=lambda file: file.stem)
def test_every_module_is_python_3_9(file):
    ast.parse(file.read_text(encoding="utf-8"), filename=str(file), feature_version=(3, 9))


PAIRS = """
import sys
sys.version_info = (3, 9, 18)
import benchmark.execution.python39
from itertools import pairwise
assert list(pairwise("abc")) == [("a", "b"), ("b", "c")]
assert list(zip("abc", "de")) == [("a", "d"), ("b", "e")]
assert list(zip("ab", "cd", strict=True)) == [("a", "c"), ("b", "d")]
try:
    zip("ab", "c", strict=True)
except ValueError as error:
    print(error)
"""


def test_what_python_3_9_lacks_does_as_later_ones_do():
    ran = subprocess.run([sys.executable, "-c", PAIRS], capture_output=True, text=True, check=False, cwd=ROOT)
    assert (ran.stderr, ran.stdout) == ("", "zip() arguments have different lengths\n")


def _oldest():
    """The oldest interpreter at hand that a worker may have: named, on the path, or this one."""
    names = [OLD, *(shutil.which(f"python3.{minor}") for minor in range(9, sys.version_info.minor))]
    for python in filter(None, names):
        probe = "import filelock, numpy, omegaconf, psutil, pydantic, scipy"
        if subprocess.run([python, "-c", probe], capture_output=True, check=False).returncode == 0:
            return python
    return sys.executable


LOAD = """
from importlib import import_module
for name in ("records", "measurement", "execution.interpreters",
             "stages.build", "stages.compile", "stages.measure",
             "compilers.neuron", "devices.neuron", "scenarios.latency", "tasks.text_classification"):
    import_module("benchmark." + name)
"""


def test_a_worker_runs_in_the_oldest_interpreter_at_hand(tmp_path):
    """The stages, and the plug-ins of inf1, load there; a child computes and answers."""
    python = _oldest()
    with Interpreters((), {python: ()}) as opened:
        limits = ChildLimits(log=tmp_path / "run.log", timeout_s=60)
        call = opened.call_in(python)
        assert call(limits, exec, LOAD) is None, limits.log.read_text()
        assert call(limits, eval, "[list(pair) for pair in zip('ab', 'cd', strict=True)]") == [
            ["a", "c"],
            ["b", "d"],
        ]
