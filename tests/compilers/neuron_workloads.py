"""A workload small enough to be compiled in the test's own process, and the libraries that stand in."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from benchmark.records import Shape, Workload

FAKES = Path(__file__).parents[1] / "fakes"


def small_workload(folder, target=None, name="model"):
    """Two layers, with their inputs and answers in `folder`."""
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Linear(8, 3)).eval()
    x = torch.rand(2, 4)
    save_file({"x": x}, folder / "inputs.safetensors")
    return Workload(
        name=name,
        load_module=lambda: module,
        input_names=("x",),
        input_shapes={"x": (2, 4)},
        input_dtypes={"x": "float32"},
        reference=folder,
        weights_digest="0",
        parameters=67,
        flops_per_call=None,
        weight_bytes=None,
        padding_share=None,
        shape=Shape(batch_size=2),
        threads=None,
        torch_device="cpu",
        target=target,
    )


@pytest.fixture
def fakes(monkeypatch):
    """The stand-ins can be imported; afterwards threads are as many as before.

    They stay imported: an operator can be registered once in a process.
    """
    import torch

    monkeypatch.syspath_prepend(str(FAKES))
    monkeypatch.setenv("PATH", f"{FAKES / 'environment_bin'}{os.pathsep}{os.environ['PATH']}")
    threads = torch.get_num_threads()
    yield
    os.environ.pop("NEURON_PLATFORM_TARGET_OVERRIDE", None)
    torch.set_num_threads(threads)


def stub(tmp_path, module, distribution):
    """A package as PyPI has it under the library's name: importing it raises."""
    (tmp_path / module).mkdir()
    (tmp_path / module / "__init__.py").write_text('raise ImportError("WRONG PACKAGE. Please install …")\n')
    folder = tmp_path / f"{distribution.replace('-', '_')}-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")


def forget(monkeypatch, module):
    """Let the next import look for the module again."""
    for name in [name for name in sys.modules if name.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
