"""Source digests: an artefact is made again when any file that made it changes, and only then."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import benchmark

PACKAGE = Path(benchmark.__file__).parent

DIGEST = """
import sys
from benchmark.compilers.{compiler} import {kind}
from benchmark.identity import code_digest
from benchmark.tasks.text_classification import TextClassification
print(code_digest({kind}(), TextClassification()))
"""


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    """The program in a folder of its own, to change it there."""
    folder = tmp_path_factory.mktemp("program")
    shutil.copytree(PACKAGE, folder / "benchmark", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def digest(folder, compiler="eager", kind="Eager"):
    program = DIGEST.format(compiler=compiler, kind=kind)
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, timeout=60, check=True
    )
    return ran.stdout


@pytest.fixture(scope="module")
def before(copied):
    return digest(copied)


@pytest.mark.parametrize(
    "file",
    [
        "compilers/eager.py",
        "tasks/text_classification.py",
        "models/networks.py",
        "models/real_inputs.py",
        "models/sentences.txt",
        "records.py",
    ],
)
def test_every_file_that_makes_an_artefact_counts(copied, before, file):
    source = copied / "benchmark" / file
    kept = source.read_bytes()
    source.write_bytes(kept + b"\n")
    assert digest(copied) != before
    source.write_bytes(kept)


@pytest.mark.parametrize("file", ["timing/torch_peak.py", "compilers/openvino.py", "report/build.py"])
def test_no_other_file_does(copied, before, file):
    source = copied / "benchmark" / file
    kept = source.read_bytes()
    source.write_bytes(kept + b"\n")
    assert digest(copied) == before
    source.write_bytes(kept)


def test_a_table_that_a_module_reads_counts(copied):
    before = digest(copied, "optimum_neuron", "OptimumNeuron")
    with (copied / "benchmark" / "neuron" / "optimum_registry.csv").open("a") as table:
        table.write("\n")
    assert digest(copied, "optimum_neuron", "OptimumNeuron") != before
