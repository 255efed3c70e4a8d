"""With the packages that PyPI has under Neuron's names: rows say `unavailable` and why, nothing is raised.

Seen on PyPI on 2026-11-24, the only versions there: torch-neuronx 1.0, torch-neuron 1.0, neuronx-cc
1.0.post1, neuron-cc 1.0.post1, neuronperf 1.0, neuronx-distributed 0.1, libneuronxla 1.0. Each installs a
package whose `__init__` is one line, `raise ImportError("WRONG PACKAGE. …")`;
find_spec and importlib.metadata find them.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass

import pytest

STUBS = {
    "torch-neuronx": "1.0",
    "torch-neuron": "1.0",
    "neuronx-cc": "1.0.post1",
    "neuron-cc": "1.0.post1",
    "neuronperf": "1.0",
    "neuronx-distributed": "0.1",
    "libneuronxla": "1.0",
}
SOURCE = (
    'raise ImportError("WRONG PACKAGE. Please install the package from Neuron Repository - '
    'pip.repos.neuron.amazonaws.com")\n'
)
OPTIMUM = "0.4.5"
"""PyPI has the real optimum-neuron: beside the stubs it still can't compile."""


@pytest.fixture
def stubs(tmp_path):
    """A folder as pip would fill it, for PYTHONPATH."""
    folder = tmp_path / "site"
    for name, version in (*STUBS.items(), ("optimum-neuron", OPTIMUM)):
        module = name.replace("-", "_")
        if name != "optimum-neuron":
            (folder / module).mkdir(parents=True)
            (folder / module / "__init__.py").write_text(SOURCE)
        described = folder / f"{module}-{version}.dist-info"
        described.mkdir(parents=True)
        (described / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    return {"PYTHONPATH": str(folder)}


@dataclass(frozen=True)
class Told:
    """A command that has ended."""

    text: str
    code: int


@pytest.fixture
def message(command, stubs):
    def ran(*words):
        done = command(*words, env=stubs, timeout=120)
        return Told(done.stdout + done.stderr, done.returncode)

    return ran


def test_the_stubs_are_as_pypi_has_them(stubs):
    asked = (
        "import importlib.util, importlib.metadata as m; "
        "print(bool(importlib.util.find_spec('torch_neuronx')), m.version('neuronx-cc')); "
        "import torch_neuronx"
    )
    done = subprocess.run(
        [sys.executable, "-c", asked], env=stubs, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.split() == ["True", "1.0.post1"]
    assert done.stderr.strip().splitlines()[-1].startswith("ImportError: WRONG PACKAGE.")


@pytest.mark.parametrize(
    ("choices", "named"),
    [
        (["hardware=inf2"], "torch-neuronx"),
        (["hardware=inf1"], "torch-neuron"),
        (["hardware=inf2", "compiler=optimum_neuron"], "neuronx-cc"),
    ],
    ids=["neuronx", "neuron", "optimum_neuron"],
)
def test_a_row_says_that_the_library_is_a_stub(message, choices, named):
    run = message("-m", "model=bert_tiny", *choices)
    (line,) = [line for line in run.text.splitlines() if line.startswith("[1/1]")]
    assert "unavailable at plan" in line
    assert named in line
    assert "PyPI" in line
    assert "pip.repos.neuron.amazonaws.com" in line
    assert "Traceback" not in run.text
    assert "Please install the package" not in run.text  # it was not imported
    assert run.code == 2
